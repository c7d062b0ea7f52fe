//! What is known of open operations: entered, taken out and cleared, each by its own right.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use monitor_operation::{Cause, CommitError, Epoch, Operation, OperationId, Operations};
use proptest::prelude::*;

const KEYS: [&str; 2] = ["a", "b"];

fn registry() -> Operations<&'static str> {
    let operations = Operations::with_limit(1000);
    for key in KEYS {
        operations.register(key, Epoch::default()).unwrap();
    }
    operations
}

/// OPS-28: what an old operation does at its end, also after a fence that cleared it, and however
/// often it tries, takes no newer operation of its key away, and none of another key.
#[test]
fn an_old_end_takes_no_newer_operation_away() {
    let operations = registry();
    let begin = |key| operations.begin(&key).unwrap();
    let (old, other) = (begin("a"), begin("b"));
    drop(operations.fence(&"a", Cause::Paused));
    let new = begin("a");
    assert!(matches!(old.commit(|| ()), Err(CommitError::Fenced { .. })));
    old.cancel(Cause::Deadline);
    drop(old);
    // Neither does one who comes with the epoch of before.
    assert_eq!(
        operations.register("a", Epoch::default()).unwrap(),
        Epoch::new(1)
    );
    for (operation, key) in [(&new, "a"), (&other, "b")] {
        let record = operations.get(operation.id()).unwrap();
        assert_eq!((record.key, record.cancelled), (key, None));
        assert!(operation.is_current());
    }
    assert_eq!(operations.open(), 2);
    assert_eq!((new.commit(|| 1), other.commit(|| 2)), (Ok(1), Ok(2)));
}

/// OPS-2: an operation says who it is, for whom it works, in which life of that and whether it is
/// called off; whoever looks it up sees the same, and can change none of it.
#[test]
fn an_operation_says_who_it_is() {
    let operations = registry();
    drop(operations.fence(&"a", Cause::Edited));
    let operation = operations.begin(&"a").unwrap();
    let seen = |operation: &Operation<&'static str>| {
        let record = operations.get(operation.id()).unwrap();
        assert_eq!((record.id, record.key), (operation.id(), *operation.key()));
        assert_eq!(record.epoch, operation.epoch());
        (record.epoch, record.cancelled)
    };
    assert_eq!(seen(&operation), (Epoch::new(1), None));
    assert_eq!(operation.cancellation().cause(), None);
    operation.cancel(Cause::Deadline);
    operation.cancel(Cause::Deleted);
    assert_eq!(seen(&operation), (Epoch::new(1), Some(Cause::Deadline)));
    assert_eq!(operation.cancellation().cause(), Some(Cause::Deadline));
    let text = operation.id().to_string();
    assert_eq!(text.parse::<OperationId>(), Ok(operation.id()));
}

/// What one may do about operations.
#[derive(Debug, Clone)]
enum Step {
    Begin(usize),
    End(usize),
    Commit(usize),
    Fence(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0usize..2).prop_map(Step::Begin),
        2 => (0usize..8).prop_map(Step::End),
        2 => (0usize..8).prop_map(Step::Commit),
        1 => (0usize..2).prop_map(Step::Fence),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    /// OPS-28: whatever begins, ends and is fenced in whichever order: what is listed is what is
    /// open, each by its own id.
    #[test]
    fn what_is_listed_is_what_is_open(steps in steps()) {
        let operations = registry();
        let mut open: Vec<Operation<&'static str>> = Vec::new();
        let mut gone: Vec<OperationId> = Vec::new();
        for step in steps {
            match step {
                Step::Begin(key) => open.push(operations.begin(&KEYS[key]).unwrap()),
                Step::End(place) if place < open.len() => {
                    let operation = open.swap_remove(place);
                    gone.push(operation.id());
                }
                Step::Commit(place) => {
                    let _ = open.get(place).map(|operation| operation.commit(|| ()));
                }
                Step::Fence(key) => drop(operations.fence(&KEYS[key], Cause::Edited)),
                Step::End(_) => {}
            }
            prop_assert_eq!(operations.open(), open.len());
            for operation in &open {
                let record = operations.get(operation.id()).unwrap();
                prop_assert_eq!((record.key, record.epoch), (*operation.key(), operation.epoch()));
            }
            prop_assert!(gone.iter().all(|id| operations.get(*id).is_none()));
        }
    }
}

/// OPS-30: a fence that comes twice clears what is open once, and what began after the first is of
/// the second's making.
#[tokio::test(start_paused = true)]
async fn a_fence_again_is_no_harm() {
    let operations = registry();
    let operation = operations.begin(&"a").unwrap();
    let first = operations.fence(&"a", Cause::Paused).unwrap();
    let second = operations.fence(&"a", Cause::Edited).unwrap();
    assert!(first.epoch() < second.epoch());
    assert_eq!(
        operation.cancellation().cause(),
        Some(Cause::Paused),
        "the first stands"
    );
    for fence in [first, second] {
        let settled = tokio::time::timeout(Duration::from_secs(1), fence.settled());
        assert!(settled.await.is_ok(), "nothing is under way");
    }
}
