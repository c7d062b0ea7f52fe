//! The behaviour that every store must show, on PostgreSQL.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "tests panic")]

#[path = "common/postgres.rs"]
mod postgres;

use std::sync::{Arc, Mutex};

use monitor_model::{Store, conformance};
use postgres::Schema;

/// OPS-16, OPS-17, OPS-18, OPS-19, OPS-28, OPS-30, OPS-31, OPS-32: the store on PostgreSQL
/// shows every behaviour.
#[tokio::test(flavor = "multi_thread")]
async fn inv_store_1_inv_store_2_inv_store_5_inv_store_6_the_postgres_store_conforms() {
    let schemas = Mutex::new(Vec::new());
    conformance::all(async || {
        let schema = Schema::new().await;
        let store = Arc::new(schema.open().await) as Arc<dyn Store>;
        schemas.lock().unwrap().push(schema);
        store
    })
    .await;
}
