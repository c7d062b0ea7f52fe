//! What is kept and what goes.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Place, applied};
use monitor_model::Store;
use monitor_model::conformance::{id, monitor, up};
use monitor_operation::Epoch;
use monitor_store::SqliteStore;
use tokio::task::JoinSet;

const HOUR_MS: i64 = 3_600_000;

async fn removed(store: &SqliteStore, rows: u64) {
    while store.stats().removed_rows < rows {
        tokio::task::yield_now().await;
    }
}

/// OPS-29: history is bounded by age, and where it ends is known all the same.
#[tokio::test]
async fn history_goes_by_age_and_tallies_stay() {
    let place = Place::new();
    let mut options = place.options();
    options.retain_history = Duration::from_secs(3600);
    let store = Arc::new(SqliteStore::open(options).unwrap());
    for name in ["a", "idle"] {
        store.define(monitor(name), Epoch::new(1)).await.unwrap();
        // More than one slice holds, written together.
        let commit = |second: i64| {
            let store = Arc::clone(&store);
            async move { applied(&*store, up(name, 1, second * 1000)).await }
        };
        let tasks: JoinSet<_> = (0..1200).map(commit).collect();
        tasks.join_all().await;
    }
    applied(&*store, up("a", 1, HOUR_MS + 600_000)).await;
    // The first of each stays: there the verdict changed.
    removed(&store, 1198).await;
    store.close().await.unwrap();
    // Of the others exactly those of the last hour are left: seconds 600 to 1199, and the last one.
    let oldest = "SELECT min(due_unix_ms) || ' ' || count(*) FROM history
        JOIN monitor ON number = monitor WHERE changed = 0 AND id = ";
    assert_eq!(
        place.ask::<String>("SELECT group_concat(due_unix_ms) FROM history WHERE changed"),
        "0,0"
    );
    assert_eq!(place.ask::<String>(&format!("{oldest}'a'")), "600000 601");
    assert_eq!(
        place.ask::<String>(&format!("{oldest}'idle'")),
        "600000 600"
    );
    let store = place.open();
    assert_eq!(
        store.tally(&id("a"), 0).await.unwrap().up,
        1201,
        "counts go on"
    );
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.monitors[1].last_due.unwrap().due_unix_ms, 1_199_000);
}

/// A deleted monitor's history goes in slices, also when the process ended in between.
#[tokio::test]
async fn a_deleted_monitor_leaves_nothing_but_its_grave() {
    let place = Place::new();
    let store = place.open();
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    store.define(monitor("b"), Epoch::new(1)).await.unwrap();
    applied(&store, up("b", 1, 0)).await;
    store.close().await.unwrap();
    // A long history, as if written over days.
    place
        .sql()
        .execute_batch(
            "WITH RECURSIVE series(value) AS
                 (SELECT 1 UNION ALL SELECT value + 1 FROM series WHERE value < 5000)
             INSERT INTO history (monitor, due_unix_ms, sequence, slots, interval_ms, epoch,
                                  outcome, changed, manual, late_ms)
             SELECT (SELECT number FROM monitor WHERE id = 'a'), value, value, 1, 1, 1, 1, 0, 0, 0
             FROM series",
        )
        .unwrap();
    let store = place.open();
    assert!(store.delete(&id("a"), Epoch::new(2)).await.unwrap());
    // A new life of the same id sees nothing of the old one, removed or not yet.
    store.define(monitor("a"), Epoch::new(3)).await.unwrap();
    assert!(store.history(&id("a"), 10).await.unwrap().is_empty());
    store.close().await.unwrap();
    let store = place.open();
    let left = || place.ask::<i64>("SELECT count(*) FROM monitor WHERE ended = 1");
    while left() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        place.ask::<i64>("SELECT count(*) FROM history"),
        1,
        "that of b"
    );
    assert_eq!(store.load().await.unwrap().monitors.len(), 2);
    store.close().await.unwrap();
}

#[tokio::test]
async fn free_pages_go_back_to_the_file_system() {
    let place = Place::new();
    let store = place.open();
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    store.close().await.unwrap();
    place
        .sql()
        .execute_batch(
            "WITH RECURSIVE series(value) AS
                 (SELECT 1 UNION ALL SELECT value + 1 FROM series WHERE value < 2000)
             INSERT INTO history (monitor, due_unix_ms, sequence, slots, interval_ms, epoch,
                                  outcome, changed, manual, late_ms, note)
             SELECT 1, value, value, 1, 1, 1, 1, 0, 0, 0, hex(zeroblob(1000))
             FROM series",
        )
        .unwrap();
    let large: i64 = place.ask("PRAGMA page_count");
    let store = place.open();
    assert!(store.delete(&id("a"), Epoch::new(2)).await.unwrap());
    while place.ask::<i64>("PRAGMA page_count") > large / 2 {
        tokio::task::yield_now().await;
    }
    store.close().await.unwrap();
    assert_eq!(place.ask::<String>("PRAGMA integrity_check"), "ok");
}
