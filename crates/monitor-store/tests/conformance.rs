//! The behaviour that every store must show.

#![cfg(feature = "sqlite")]

mod common;

use std::sync::Arc;
use std::sync::Mutex;

use common::Place;
use monitor_model::{Store, conformance};

/// OPS-16, OPS-17, OPS-18, OPS-19, OPS-28, OPS-30, OPS-31, OPS-32: the embedded store shows
/// every behaviour.
#[tokio::test(flavor = "multi_thread")]
async fn inv_store_1_inv_store_2_the_sqlite_store_conforms() {
    let places = Mutex::new(Vec::new());
    conformance::all(async || {
        let place = Place::new();
        let store = Arc::new(place.open()) as Arc<dyn Store>;
        places.lock().unwrap().push(place);
        store
    })
    .await;
}
