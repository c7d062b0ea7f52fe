//! Models of the real registry, gate and operations. Only the waking of futures is left out, which
//! is tokio's: a model asks again instead of waiting.

use std::sync::Arc;

use loom::{cell::UnsafeCell, thread};

use crate::{Cause, CommitError, Epoch, Fence, Operation, Operations};

/// The row that commits write and fences take over. Loom fails when two who touch it are not
/// ordered, one after the other.
struct Row(UnsafeCell<()>);

impl Row {
    fn new() -> Arc<Self> {
        Arc::new(Self(UnsafeCell::new(())))
    }

    fn write(&self) {
        self.0.with_mut(|_| ());
    }
}

fn one_operation() -> (Operations<u8>, Operation<u8>) {
    let operations = Operations::with_seed(1);
    operations.register(0, Epoch::default()).unwrap();
    let operation = operations.begin(&0).unwrap();
    (operations, operation)
}

/// Writes the row if the fence has settled: it is ours then. A model does not wait for it.
fn take_over(fence: &Fence, row: &Row) {
    if fence.is_settled() {
        row.write();
    }
}

/// An operation that commits, a fence, a deadline and a second fence, in every order: no commit
/// touches the row after a fence has settled, none is lost, and there is exactly one outcome.
///
/// Breaks when `Gate::enter` does not look for the cause: make its update `Some(word + 1)`. Breaks
/// as well when `Gate::leave` does not release: make its ordering `Relaxed`.
#[test]
fn loom_inv_operation_1_2_commit_fence_deadline_fence() {
    loom::model(|| {
        let (operations, operation) = one_operation();
        let row = Row::new();
        let canceller = operation.canceller();
        let deadline = thread::spawn(move || canceller.cancel(Cause::Deadline));
        let commits = {
            let row = Arc::clone(&row);
            thread::spawn(move || {
                let outcome = operation.commit(|| row.write());
                let second = operation.commit(|| row.write());
                assert!(
                    second.is_err(),
                    "INV-OPERATION-6: an operation committed twice"
                );
                outcome
            })
        };
        let deletes = {
            let (operations, row) = (operations.clone(), Arc::clone(&row));
            thread::spawn(move || {
                let fence = operations.fence(&0, Cause::Deleted).unwrap();
                // Whoever fences last owns the row.
                if fence.epoch() == Epoch::new(2) {
                    take_over(&fence, &row);
                }
                fence
            })
        };
        let fence = operations.fence(&0, Cause::Paused).unwrap();
        if fence.epoch() == Epoch::new(2) {
            take_over(&fence, &row);
        }
        deadline.join().unwrap();
        let other = deletes.join().unwrap();
        let outcome = commits.join().unwrap();
        assert!(
            fence.is_settled() && other.is_settled(),
            "INV-OPERATION-2: a fence that hangs"
        );
        match outcome {
            Ok(()) => {}
            Err(CommitError::Fenced { epoch, cause }) => {
                assert_eq!(epoch, Epoch::default());
                assert!(matches!(cause, Cause::Paused | Cause::Deleted), "{cause:?}");
            }
            Err(other) => panic!("{other}"),
        }
        assert_eq!(operations.epoch(&0), Some(Epoch::new(2)), "INV-OPERATION-3");
        assert_eq!(operations.open(), 0);
    });
}

/// A commit that a first fence left under way is waited for by a second one.
///
/// Breaks when a fence knows of the epoch before it only: in `KeyState::retire`, put
/// `self.draining.clear()` in front of the push.
#[test]
fn loom_inv_operation_4_a_second_fence_waits_as_well() {
    loom::model(|| {
        let (operations, operation) = one_operation();
        let row = Row::new();
        let commits = {
            let row = Arc::clone(&row);
            thread::spawn(move || operation.commit(|| row.write()).is_ok())
        };
        drop(operations.fence(&0, Cause::Edited));
        let fence = operations.fence(&0, Cause::Deleted).unwrap();
        take_over(&fence, &row);
        commits.join().unwrap();
        assert!(fence.is_settled());
    });
}

/// Two threads that share an operation: one of them commits.
///
/// Breaks when `begin_commit` does not look at the state: ignore the error of its
/// `compare_exchange`.
#[test]
fn loom_inv_operation_6_commits_once() {
    loom::model(|| {
        let (_operations, operation) = one_operation();
        let operation = Arc::new(operation);
        let row = Row::new();
        let commits = {
            let (operation, row) = (Arc::clone(&operation), Arc::clone(&row));
            thread::spawn(move || operation.commit(|| row.write()).is_ok())
        };
        let here = operation.commit(|| row.write()).is_ok();
        let there = commits.join().unwrap();
        assert!(here != there, "INV-OPERATION-6: {here} and {there}");
    });
}

/// A key that is forgotten and registered again while an operation of it commits: the old one
/// cannot be taken for one of the new life.
///
/// Breaks when a forgotten key starts anew: in `Registry::forget`, remove the key from the map.
#[test]
fn loom_inv_operation_3_a_new_life_has_a_new_epoch() {
    loom::model(|| {
        let (operations, operation) = one_operation();
        let row = Row::new();
        let commits = {
            let row = Arc::clone(&row);
            thread::spawn(move || {
                let epoch = operation.epoch();
                let committed = operation.commit(|| row.write()).is_ok();
                (epoch, committed)
            })
        };
        let fence = operations.forget(&0).unwrap();
        take_over(&fence, &row);
        let epoch = operations.register(0, Epoch::default()).unwrap();
        let (old, _) = commits.join().unwrap();
        assert!(epoch > old, "INV-OPERATION-3: {epoch} was used before");
        assert!(operations.begin(&0).unwrap().commit(|| ()).is_ok());
    });
}
