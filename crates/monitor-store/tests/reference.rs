//! Random commands, compared answer by answer with the plain store in memory.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "tests panic")]

#[path = "common/commands.rs"]
mod commands;
mod common;

use std::time::Duration;

use commands::{Command, Player, command};
use common::Place;
use monitor_model::{MemoryStore, Store};
use monitor_store::SqliteStore;
use proptest::prelude::*;

async fn compare(commands: Vec<Command>) -> Result<(), TestCaseError> {
    let place = Place::new();
    // Kept for ever, as far as a test goes: the store in memory forgets by number, not by age.
    let mut options = place.options();
    options.retain_history = Duration::MAX;
    options.retain_minutes = Duration::MAX;
    options.retain_hours = Duration::MAX;
    options.retain_days = Duration::MAX;
    let open = || SqliteStore::open(options.clone()).unwrap();
    let mut this = Player::new(open());
    let mut plain = Player::new(MemoryStore::new());
    for command in commands.iter().chain([&Command::Doctor, &Command::Load]) {
        if matches!(command, Command::Reopen) {
            this.store.close().await.unwrap();
            this.store = open();
        }
        let (this, other) = (this.answer(command).await, plain.answer(command).await);
        prop_assert_eq!(this, other, "after {:?}", command);
    }
    this.store.close().await.unwrap();
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
