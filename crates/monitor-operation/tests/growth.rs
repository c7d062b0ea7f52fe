//! Keys that come and go: what is left of them is a number.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use monitor_operation::{BeginError, Cause, Epoch, Operations};

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

/// OPS-31, OPS-48: an epoch that nobody can have counted up to, of a broken row, is its key's alone:
/// when that is forgotten others do not begin where their own could not be registered any more.
#[test]
fn a_far_epoch_moves_no_other_key() {
    let operations = Operations::new();
    let far = operations.register(0, Epoch::MAX_REGISTERED).unwrap();
    let fence = operations.forget(&0).unwrap();
    for key in 1..20_000 {
        drop(operations.hold(key));
    }
    assert!(operations.kept() <= 16 * 64, "{} keys", operations.kept());
    let near = operations.register(20_000, Epoch::default()).unwrap();
    assert!(near < Epoch::new(1 << 32), "it begins at {near}");
    assert!(operations.begin(&0).is_err());
    let again = operations.register(0, Epoch::default()).unwrap();
    assert!(again >= fence.epoch() && fence.epoch() > far);
}

/// OPS-29: a key that is forgotten while somebody has it is still to be had, and begins nothing;
/// registered again it is the same.
#[test]
fn a_forgotten_key_that_somebody_has_begins_nothing() {
    let operations = Operations::new();
    let held = operations.hold("a");
    let fence = operations.forget(&"a").unwrap();
    let found = operations.key(&"a").unwrap();
    assert_eq!((found.epoch(), held.epoch()), (None, None));
    assert_eq!(found.begin().err(), Some(BeginError::UnknownKey));
    assert_eq!(
        operations.register("a", Epoch::default()),
        Ok(fence.epoch())
    );
    assert_eq!(held.epoch(), Some(fence.epoch()));
    drop((held, found));
    assert!(operations.forget(&"a").is_some() && operations.key(&"a").is_none());
}
