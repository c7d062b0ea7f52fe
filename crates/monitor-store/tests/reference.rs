//! Random commands, compared answer by answer with the plain store in memory.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "tests panic")]

#[path = "common/commands.rs"]
mod commands;
mod common;

use commands::{Command, as_the_plain_store, command};
use common::Place;
use monitor_store::SqliteStore;
use proptest::prelude::*;

async fn compare(commands: Vec<Command>) -> Result<(), TestCaseError> {
    let place = Place::new();
    // Kept for ever, as far as a test goes: the store in memory forgets by number, not by age.
    as_the_plain_store(commands, async || {
        SqliteStore::open(place.keeping_all()).unwrap()
    })
    .await?;
    let check: String = place.ask("PRAGMA integrity_check");
    prop_assert_eq!(check, "ok");
    let broken: i64 = place.ask("SELECT count(*) FROM pragma_foreign_key_check");
    prop_assert_eq!(broken, 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// OPS-16, OPS-17, OPS-18, OPS-31: over any sequence of commands, with the store closed and
    /// opened in between, every answer is that of the plain store.
    #[test]
    fn inv_store_1_inv_store_2_every_answer_is_that_of_the_plain_store(
        commands in proptest::collection::vec(command(), 1..80)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(compare(commands))?;
    }
}
