//! Random commands, compared answer by answer with the plain store in memory.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "tests panic")]

#[path = "common/commands.rs"]
mod commands;
#[path = "common/postgres.rs"]
mod postgres;

use commands::{Command, as_the_plain_store, command};
use monitor_store::PostgresStore;
use postgres::Schema;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

async fn compare(commands: Vec<Command>) -> Result<(), TestCaseError> {
    let schema = Schema::new().await;
    // Kept for ever, as far as a test goes: the store in memory forgets by number, not by age.
    as_the_plain_store(commands, async || {
        PostgresStore::open(schema.keeping_all()).await.unwrap()
    })
    .await
}

/// OPS-16, OPS-17, OPS-18, OPS-31: over any sequence of commands, with the store closed and opened in
/// between, every answer is that of the plain store.
#[test]
fn inv_store_1_inv_store_2_inv_store_5_inv_store_6_postgres_answers_as_the_plain_store() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // One server for all cases.
    let _server = runtime.block_on(Schema::new());
    let config = ProptestConfig {
        cases: 16,
        source_file: Some(file!()),
        ..ProptestConfig::default()
    };
    let commands = proptest::collection::vec(command(), 1..80);
    TestRunner::new(config)
        .run(&commands, |commands| runtime.block_on(compare(commands)))
        .unwrap();
}
