//! Keys that come and go: what is left of them is a number.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use monitor_operation::{Cause, Epoch, Operations};

/// A key that counts how many of it there are.
#[derive(Clone)]
struct Counted(u32, Arc<()>);

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Counted {}

impl std::hash::Hash for Counted {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// OPS-29, OPS-48: half a million keys that come once and go leave a number behind and no memory,
/// whichever way they go, and those that stay notice nothing.
#[test]
fn inv_operation_8_half_a_million_keys_that_go_take_no_memory() {
    let operations = Operations::new();
    let alive = Arc::new(());
    let counted = |key| Counted(key, Arc::clone(&alive));
    assert!(Arc::ptr_eq(&counted(0).1, &alive));
    operations
        .register(counted(u32::MAX), Epoch::new(7))
        .unwrap();
    let stays = operations.begin(&counted(u32::MAX)).unwrap();
    let mut peak = 0;
    for key in 0..250_000 {
        operations.register(counted(key), Epoch::default()).unwrap();
        operations
            .begin(&counted(key))
            .unwrap()
            .commit(|| ())
            .unwrap();
        drop(operations.forget(&counted(key)));
        // Forgotten while an operation of it is open; and never forgotten by anybody.
        let open = operations.begin(&counted(u32::MAX)).unwrap();
        let held = operations.hold(counted(500_000 + key));
        let late = held.begin().unwrap();
        if key % 2 == 0 {
            drop(operations.forget(held.get()));
            assert!(late.commit(|| ()).is_err());
        }
        drop((open, held, late));
        peak = peak.max(operations.kept());
    }
    // Of sixteen parts each keeps room for a few, of which some are still to be found out.
    assert!(peak <= 16 * 64, "{peak} keys were kept at once");
    assert!(Arc::strong_count(&alive) <= 2 + 2 * operations.kept() + 1);
    assert_eq!(stays.commit(|| 7), Ok(7), "who stays is not touched");
    assert_eq!(operations.epoch(&counted(u32::MAX)), Some(Epoch::new(7)));
}

/// OPS-31: however keys are forgotten, one that comes back is above where it was, and a result of
/// its former life is refused; a row that was stored under a higher epoch is believed.
#[test]
fn inv_operation_8_who_comes_back_is_above_where_it_was() {
    let operations = Operations::new();
    let mut last = std::collections::HashMap::new();
    for turn in 0..20_000_u64 {
        let key = turn * turn % 701;
        let held = operations.hold(key);
        let before = last.get(&key).copied();
        assert!(held.epoch() > before, "{key} was at {before:?} before");
        for _ in 0..turn % 3 {
            drop(held.fence(Cause::Edited));
        }
        let operation = held.begin().unwrap();
        last.insert(key, operation.epoch());
        operation.finish(|| ()).unwrap();
        drop(operations.forget(&key));
    }
    let high = Epoch::new(1 << 40);
    assert_eq!(operations.register(9999, high), Ok(high));
    let fence = operations.forget(&9999).unwrap();
    let next = operations.register(9999, Epoch::default()).unwrap();
    assert!(next >= fence.epoch() && fence.epoch() > high);
}
