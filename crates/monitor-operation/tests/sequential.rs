//! The registry against a model of a few lines, in any sequence of calls.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;

use monitor_operation::{BeginError, Cause, CommitError, Epoch, Operation, Operations};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Call {
    Register { key: u8, epoch: u64 },
    Begin(u8),
    Fence { key: u8, cause: Cause },
    Forget(u8),
    Cancel(usize),
    Commit(usize),
    Abandon(usize),
    Drop(usize),
    Finish(usize),
}

fn call() -> impl Strategy<Value = Call> {
    let key = || 0_u8..3;
    let cause = prop::sample::select(Cause::ALL.to_vec());
    prop_oneof![
        2 => (key(), 0_u64..6).prop_map(|(key, epoch)| Call::Register { key, epoch }),
        5 => key().prop_map(Call::Begin),
        2 => (key(), cause).prop_map(|(key, cause)| Call::Fence { key, cause }),
        1 => key().prop_map(Call::Forget),
        1 => any::<usize>().prop_map(Call::Cancel),
        3 => any::<usize>().prop_map(Call::Commit),
        1 => any::<usize>().prop_map(Call::Abandon),
        2 => any::<usize>().prop_map(Call::Drop),
        2 => any::<usize>().prop_map(Call::Finish),
    ]
}

#[derive(Default)]
struct Model {
    /// Epoch, and whether the key is known.
    keys: HashMap<u8, (u64, bool)>,
    open: Vec<Entry>,
}

struct Entry {
    operation: Operation<u8>,
    key: u8,
    epoch: u64,
    fenced: Option<Cause>,
    cancelled: bool,
    committed: bool,
}

impl Entry {
    /// What a commit of it comes to.
    fn expected(&self) -> Result<u8, CommitError> {
        match (self.committed, self.fenced) {
            (true, _) => Err(CommitError::AlreadyCommitted),
            (false, Some(cause)) => Err(CommitError::Fenced {
                epoch: Epoch::new(self.epoch),
                cause,
            }),
            (false, None) => Ok(self.key),
        }
    }
}

impl Model {
    /// Fences what is open of a key below `epoch`.
    fn fence(&mut self, key: u8, epoch: u64, cause: Cause) -> usize {
        let current = self
            .open
            .iter_mut()
            .filter(|entry| entry.key == key && entry.epoch < epoch);
        let mut open = 0;
        for entry in current {
            if entry.fenced.is_none() {
                entry.fenced = Some(cause);
                open += 1;
            }
        }
        open
    }

    fn apply(&mut self, operations: &Operations<u8>, call: Call) {
        match call {
            Call::Register { key, epoch } => {
                let (old, known) = *self.keys.get(&key).unwrap_or(&(0, false));
                let new = old.max(epoch);
                if known {
                    self.fence(key, new, Cause::Superseded);
                }
                self.keys.insert(key, (new, true));
                assert_eq!(
                    operations.register(key, Epoch::new(epoch)),
                    Ok(Epoch::new(new))
                );
            }
            Call::Begin(key) => match (operations.begin(&key), self.keys.get(&key)) {
                (Ok(operation), Some((epoch, true))) => {
                    assert!(self.open.len() < LIMIT);
                    assert_eq!(operation.epoch(), Epoch::new(*epoch));
                    assert!(self.open.iter().all(|e| e.operation.id() != operation.id()));
                    self.open.push(Entry {
                        operation,
                        key,
                        epoch: *epoch,
                        fenced: None,
                        cancelled: false,
                        committed: false,
                    });
                }
                (Err(BeginError::TooManyOpen { limit: LIMIT }), Some((_, true))) => {
                    assert_eq!(self.open.len(), LIMIT);
                }
                (Err(BeginError::UnknownKey), None | Some((_, false))) => {}
                (got, expected) => panic!("{got:?} for {expected:?}"),
            },
            Call::Fence { key, cause } => {
                let fence = operations.fence(&key, cause);
                match self.keys.get_mut(&key) {
                    Some((epoch, true)) => {
                        *epoch += 1;
                        let epoch = *epoch;
                        let fence = fence.unwrap();
                        assert_eq!(fence.epoch(), Epoch::new(epoch));
                        assert_eq!(fence.open(), self.fence(key, epoch, cause));
                        assert!(fence.is_settled());
                    }
                    _ => assert!(fence.is_none()),
                }
            }
            Call::Forget(key) => {
                let fence = operations.forget(&key);
                match self.keys.get_mut(&key) {
                    Some((epoch, known @ true)) => {
                        (*epoch, *known) = (*epoch + 1, false);
                        let epoch = *epoch;
                        assert_eq!(fence.unwrap().epoch(), Epoch::new(epoch));
                        self.fence(key, epoch, Cause::Deleted);
                    }
                    _ => assert!(fence.is_none()),
                }
            }
            Call::Cancel(which)
            | Call::Commit(which)
            | Call::Abandon(which)
            | Call::Drop(which)
            | Call::Finish(which) => {
                if let Some(which) = which.checked_rem(self.open.len()) {
                    self.apply_to(which, &call);
                }
            }
        }
    }

    /// A call on one of the open operations.
    fn apply_to(&mut self, which: usize, call: &Call) {
        match call {
            Call::Cancel(_) => {
                self.open[which].operation.cancel(Cause::Deadline);
                self.open[which].cancelled = true;
            }
            Call::Finish(_) => {
                let entry = self.open.swap_remove(which);
                let expected = entry.expected();
                let key = entry.key;
                assert_eq!(entry.operation.finish(|| key), expected);
            }
            Call::Commit(_) => {
                let entry = &mut self.open[which];
                let expected = entry.expected();
                entry.committed |= expected.is_ok();
                let key = entry.key;
                assert_eq!(entry.operation.commit(|| key), expected);
            }
            Call::Abandon(_) => {
                let entry = &self.open[which];
                let section = entry.operation.begin_commit();
                assert_eq!(section.is_ok(), !entry.committed && entry.fenced.is_none());
                if let Ok(section) = section {
                    section.abandon();
                }
            }
            Call::Drop(_) => {
                drop(self.open.swap_remove(which));
            }
            Call::Register { .. } | Call::Begin(_) | Call::Fence { .. } | Call::Forget(_) => {}
        }
    }
}

const LIMIT: usize = 6;

proptest! {
    /// OPS-1, OPS-9, OPS-11, OPS-13, OPS-31, OPS-45, OPS-48, S2: every call answers as the model
    /// does.
    #[test]
    fn inv_operation_1_3_5_6_answers_as_the_model(
        calls in prop::collection::vec(call(), 1..100),
    ) {
        let operations = Operations::with_limit(LIMIT);
        let mut model = Model::default();
        for call in calls {
            model.apply(&operations, call);
            prop_assert_eq!(operations.open(), model.open.len());
            for entry in &model.open {
                let own = entry.cancelled.then_some(Cause::Deadline);
                prop_assert_eq!(entry.operation.cancellation().cause(), entry.fenced.or(own));
                prop_assert_eq!(entry.operation.is_current(), entry.fenced.is_none());
            }
        }
    }
}
