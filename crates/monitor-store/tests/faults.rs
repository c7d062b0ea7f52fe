//! Each statement of each change fails once, in the embedded store.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "tests panic")]

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use common::Place;
use monitor_model::Store;
use monitor_model::conformance::{Breakable, all_or_nothing};
use monitor_store::SqliteStore;
use monitor_testkit::sqlite;

struct File {
    place: Place,
    store: Arc<SqliteStore>,
}

#[async_trait]
impl Breakable for File {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }

    async fn trace(&self) {
        sqlite::trace(&self.place.sql()).unwrap();
    }

    async fn traced(&self) -> Vec<String> {
        sqlite::traced(&self.place.sql()).unwrap()
    }

    async fn fail(&self, change: Option<&str>) {
        sqlite::fail(&self.place.sql(), change).unwrap();
    }
}

/// OPS-18, OPS-19: status, history, counts, incident and notice are one transaction, whichever of
/// their statements fails.
#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_change_or_nothing() {
    let place = Place::new();
    let store = Arc::new(SqliteStore::open(place.keeping_all()).unwrap());
    all_or_nothing(&File { place, store }).await;
}
