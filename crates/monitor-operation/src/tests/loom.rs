//! Models of the real line, keys and operations. Only the waking of futures is left out, which
//! is tokio's: a model asks again instead of waiting.

use std::sync::Arc;

use loom::{cell::UnsafeCell, thread};

use crate::{
    Cause, CommitError, Epoch, Fence, Operation, Operations, cancellation::Token, line::Line,
};

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

/// OPS-1, OPS-45, S2: an operation that commits, a fence, a deadline and a second fence, in every
/// order: no commit touches the row after a fence has settled, none is lost, and there is exactly
/// one outcome.
///
/// Breaks when a commit enters whatever the tag: in `Line::enter`, make the second line
/// `if self.update(self.load().tag(), Word::enter)`. Breaks as well when `Drain::close` does not
/// release: make its ordering `Relaxed`.
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

/// OPS-32, OPS-45: a commit that a first fence left under way is waited for by a second one.
///
/// Breaks when a fence knows of the epoch before it only: in `Past::retire`, put
/// `self.generations.iter_mut().for_each(|g| g.drain = None);` in front.
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

/// OPS-13, OPS-45: two threads that share an operation: one of them commits.
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

/// OPS-45, S2: the same with an operation that finishes: its commit is waited for, and ends with
/// it.
///
/// Breaks when the two are not one: in `Line::leave_and_end`, leave out the second `leave`. Breaks as
/// well when the commit does not enter: in `Operation::finish`, leave out `self.enter()?`.
#[test]
fn loom_inv_operation_1_2_finish_beside_a_fence() {
    loom::model(|| {
        let (operations, operation) = one_operation();
        let row = Row::new();
        let finishes = {
            let row = Arc::clone(&row);
            thread::spawn(move || operation.finish(|| row.write()).is_ok())
        };
        let fence = operations.fence(&0, Cause::Paused).unwrap();
        take_over(&fence, &row);
        finishes.join().unwrap();
        assert!(fence.is_settled(), "INV-OPERATION-2: a fence that hangs");
        assert_eq!(operations.open(), 0, "INV-OPERATION-2: a count went astray");
    });
}

/// OPS-31, OPS-45, S2: a key that is forgotten and registered again while an operation of it
/// commits: the old one cannot be taken for one of the new life.
///
/// Breaks when a forgotten key starts anew: in `Line::reopen`, make the closed branch set
/// `past.epoch = epoch`.
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

/// A key that is forgotten while its epoch is raised keeps the epoch that was promised.
///
/// Breaks when a raise that found the key forgotten is not made again: in `Line::register`, make
/// the last statement of the loop `return raised.map_or(epoch, |fence| fence.epoch());`.
#[test]
fn loom_inv_operation_3_a_raised_epoch_is_not_forgotten() {
    loom::model(|| {
        let (operations, operation) = one_operation();
        let raises = {
            let operations = operations.clone();
            thread::spawn(move || operations.register(0, Epoch::new(5)).unwrap())
        };
        drop(operations.forget(&0));
        let raised = raises.join().unwrap();
        let next = operations.register(0, Epoch::default()).unwrap();
        assert!(next >= raised, "INV-OPERATION-3: {raised}, then {next}");
        assert!(operation.commit(|| ()).is_err(), "INV-OPERATION-1");
        assert_eq!(operations.begin(&0).unwrap().epoch(), next);
    });
}

/// OPS-31, OPS-45, S2: a key that leaves the table while somebody comes to have it is one key all
/// the same: whoever has it now fences what began before, and no epoch comes twice.
///
/// Breaks when a key leaves that somebody has: in `Table::let_go`, make the first statement
/// `let alone = &**known;`. Breaks as well when a key that enters begins anew: in
/// `Table::find_or_enter`, make the floor `Epoch::default()`.
#[test]
fn loom_inv_operation_8_a_key_that_leaves_beside_one_who_comes() {
    loom::model(|| {
        let operations = Operations::with_seed(1);
        operations.register(0, Epoch::default()).unwrap();
        let comes = {
            let operations = operations.clone();
            thread::spawn(move || operations.hold(0).begin().ok())
        };
        let left = operations.forget(&0).unwrap();
        let key = operations.hold(0);
        let epoch = key.epoch();
        assert!(epoch >= Some(left.epoch()), "INV-OPERATION-8: {epoch:?}");
        let fence = key.fence(Cause::Paused).unwrap();
        if let Some(operation) = comes.join().unwrap() {
            let is_new = operation.epoch() == fence.epoch();
            assert_eq!(operation.commit(|| ()).is_ok(), is_new, "INV-OPERATION-8");
        }
        drop(key);
        assert_eq!(operations.open(), 0);
    });
}

/// OPS-45, S2: an operation that begins while its key is fenced is of the epoch before and commits
/// nothing after, or of the new one and commits.
///
/// Breaks when `begin` does not look again: in `Line::begin`, return `Ok((tag, epoch))` right after
/// the epoch was read. Breaks as well when a fence does not close the word first: in
/// `Line::retire`, load the word in place of the swap. Breaks as well when the word is opened before
/// the epoch is written: in `Line::open`, swap the two stores.
#[test]
fn loom_inv_operation_1_3_begin_beside_a_fence() {
    loom::model(|| {
        let operations = Operations::with_seed(1);
        operations.register(0, Epoch::default()).unwrap();
        let row = Row::new();
        let begins = {
            let (operations, row) = (operations.clone(), Arc::clone(&row));
            thread::spawn(move || {
                let operation = operations.begin(&0).unwrap();
                let epoch = operation.epoch();
                match operation.commit(|| row.write()) {
                    Ok(()) => {}
                    Err(CommitError::Fenced { epoch: of, cause }) => {
                        assert_eq!((epoch, of), (Epoch::default(), Epoch::default()));
                        assert_eq!(cause, Cause::Edited);
                    }
                    Err(other) => panic!("{other}"),
                }
                operation
            })
        };
        let fence = operations.fence(&0, Cause::Edited).unwrap();
        let open_before = fence.open();
        let settled = fence.is_settled();
        let operation = begins.join().unwrap();
        let epoch = operation.epoch();
        assert_eq!(
            operation.is_current(),
            epoch == fence.epoch(),
            "INV-OPERATION-3: an operation of another epoch than its generation's"
        );
        assert!(open_before <= 1 && fence.is_settled());
        drop(operation);
        // The row of the old epoch is ours once it has settled without one of the new.
        if settled && epoch == Epoch::default() {
            row.write();
        }
        assert_eq!(operations.open(), 0, "INV-OPERATION-2: a count went astray");
    });
}

/// OPS-6, OPS-45: whoever asks to hear of a cancellation while the key is fenced hears of it.
///
/// Breaks when `Line::listen` does not look at the tag under the lock: push the token always.
#[test]
fn loom_inv_operation_7_who_listens_is_told() {
    loom::model(|| {
        let (operations, operation) = one_operation();
        let listens = thread::spawn(move || {
            let cancellation = operation.cancellation();
            (operation, cancellation)
        });
        drop(operations.fence(&0, Cause::Paused));
        let (operation, cancellation) = listens.join().unwrap();
        assert_eq!(cancellation.cause(), Some(Cause::Paused), "INV-OPERATION-7");
        drop(operation);
    });
}

/// An operation that ends while its key is fenced leaves no count behind, and its cancellation,
/// which outlives it, knows of a fence that found it open.
///
/// Breaks when the end takes no notice of the fence: in `Operation::drop`, leave out the last
/// statement.
#[test]
fn loom_inv_operation_7_an_end_beside_a_fence() {
    loom::model(|| {
        let (operations, operation) = one_operation();
        let cancellation = operation.cancellation();
        let ends = thread::spawn(move || drop(operation));
        let fence = operations.fence(&0, Cause::Paused).unwrap();
        let found_open = fence.open() == 1;
        ends.join().unwrap();
        assert_eq!(cancellation.is_cancelled(), found_open, "INV-OPERATION-7");
        assert_eq!(operations.open(), 0, "INV-OPERATION-2: a count went astray");
    });
}

/// Two operations that listen and end at the same time leave nobody on the list: a fence that comes
/// later tells neither.
///
/// Breaks when a token does not learn its new place: in `Line::unlisten`, leave out
/// `moved.list(place)`.
#[test]
fn loom_inv_operation_7_two_ends_leave_nobody_listed() {
    loom::model(|| {
        let (operations, first) = one_operation();
        let second = operations.begin(&0).unwrap();
        let (one, two) = (first.cancellation(), second.cancellation());
        let ends = thread::spawn(move || drop(first));
        drop(second);
        ends.join().unwrap();
        drop(operations.fence(&0, Cause::Paused));
        assert_eq!((one.cause(), two.cause()), (None, None), "INV-OPERATION-7");
    });
}

/// Two threads that both ask to hear of the same operation put it on the list once: when it has
/// ended, it is on it no more, and a later fence does not tell it. On the line itself, for the
/// `OnceLock` that shares the token between them is not loom's.
///
/// Breaks when `Line::listen` does not look under the lock whether it is listed already: leave out
/// its first `if`.
#[test]
fn loom_inv_operation_7_who_listens_is_listed_once() {
    loom::model(|| {
        let line = Arc::new(Line::new(Epoch::default()));
        let (tag, _) = line.begin().unwrap();
        let token = Arc::new(Token::new());
        let listens = {
            let (line, token) = (Arc::clone(&line), Arc::clone(&token));
            thread::spawn(move || line.listen(tag, &token))
        };
        line.listen(tag, &token);
        listens.join().unwrap();
        line.unlisten(tag, &token);
        assert_eq!(line.end(tag), None);
        drop(line.fence(Cause::Paused));
        assert_eq!(token.cause(), None, "INV-OPERATION-7: listed twice");
    });
}
