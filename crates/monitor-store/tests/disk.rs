//! A disk that refuses writes for a while.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "tests panic")]

mod common;

use std::path::Path;

use common::{Place, applied};
use monitor_model::conformance::{id, monitor, up};
use monitor_model::{Store, StoreErrorKind};
use monitor_operation::Epoch;
use monitor_store::{Options, SqliteStore};
use monitor_testkit::disk;

/// OPS-18: a refused write fails its commit and nothing else; when writes succeed again, so do
/// commits, with no line missing and none in part.
#[test]
fn a_disk_that_refuses_for_a_while_costs_no_acknowledged_commit() {
    if let Some(path) = disk::child_path() {
        return refused_for_a_while(&path);
    }
    let place = Place::new();
    let test = "a_disk_that_refuses_for_a_while_costs_no_acknowledged_commit";
    disk::run_child(test, &place.path()).unwrap();
    assert_eq!(place.ask::<String>("PRAGMA integrity_check"), "ok");
    // As many as the child says, which exits well only after it has compared.
    assert_eq!(place.ask::<i64>("SELECT count(*) FROM history"), 60);
}

#[tokio::main(flavor = "current_thread")]
async fn refused_for_a_while(path: &Path) {
    let store = SqliteStore::open(Options::new(path)).unwrap();
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    for due in 0..20 {
        applied(&store, up("a", 1, due)).await;
    }
    for round in 0..2 {
        // Nothing can be written from here on: the log is longer than that already.
        disk::limit_file_size(Some(4096)).unwrap();
        for due in 0..10 {
            let error = store.commit(up("a", 1, 1000 + due)).await.unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::Io, "{error}");
        }
        let rows = store.history(&id("a"), 100).await.unwrap();
        assert_eq!(
            rows.len(),
            20 + round * 20,
            "reads go on, and see what was acknowledged"
        );
        disk::limit_file_size(None).unwrap();
        for due in 0..20 {
            let due = 100 + round as i64 * 20 + due;
            applied(&store, up("a", 1, due)).await;
        }
    }
    let status = store.load().await.unwrap().monitors.remove(0).status;
    assert_eq!(status.streak, 60);
    assert_eq!(store.tally(&id("a"), 0).await.unwrap().up, 60);
    store.close().await.unwrap();
}
