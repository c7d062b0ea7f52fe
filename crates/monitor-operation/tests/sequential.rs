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
}

const LIMIT: usize = 6;

proptest! {
    /// OPS-1, OPS-9, OPS-11, OPS-13, OPS-31, OPS-45, OPS-48: every call answers as the model does.
    #[test]
    fn inv_operation_1_3_5_6_answers_as_the_model(
        calls in prop::collection::vec(call(), 1..100),
    ) {
        let operations = Operations::with_limit(LIMIT);
        let mut model = Model::default();
        for call in calls {
            match call {
                Call::Register { key, epoch } => {
                    let (old, known) = *model.keys.get(&key).unwrap_or(&(0, false));
                    let new = old.max(epoch);
                    if known {
                        model.fence(key, new, Cause::Superseded);
                    }
                    model.keys.insert(key, (new, true));
                    prop_assert_eq!(operations.register(key, Epoch::new(epoch)), Ok(Epoch::new(new)));
                }
                Call::Begin(key) => match (operations.begin(&key), model.keys.get(&key)) {
                    (Ok(operation), Some((epoch, true))) => {
                        prop_assert!(model.open.len() < LIMIT);
                        prop_assert_eq!(operation.epoch(), Epoch::new(*epoch));
                        prop_assert!(model.open.iter().all(|e| e.operation.id() != operation.id()));
                        model.open.push(Entry {
                            operation,
                            key,
                            epoch: *epoch,
                            fenced: None,
                            cancelled: false,
                            committed: false,
                        });
                    }
                    (Err(BeginError::TooManyOpen { limit: LIMIT }), Some((_, true))) => {
                        prop_assert_eq!(model.open.len(), LIMIT);
                    }
                    (Err(BeginError::UnknownKey), None | Some((_, false))) => {}
                    (got, expected) => prop_assert!(false, "{got:?} for {expected:?}"),
                },
                Call::Fence { key, cause } => {
                    let fence = operations.fence(&key, cause);
                    match model.keys.get_mut(&key) {
                        Some((epoch, true)) => {
                            *epoch += 1;
                            let epoch = *epoch;
                            let fence = fence.unwrap();
                            prop_assert_eq!(fence.epoch(), Epoch::new(epoch));
                            prop_assert_eq!(fence.open(), model.fence(key, epoch, cause));
                            prop_assert!(fence.is_settled());
                        }
                        _ => prop_assert!(fence.is_none()),
                    }
                }
                Call::Forget(key) => {
                    let fence = operations.forget(&key);
                    match model.keys.get_mut(&key) {
                        Some((epoch, known @ true)) => {
                            (*epoch, *known) = (*epoch + 1, false);
                            let epoch = *epoch;
                            prop_assert_eq!(fence.unwrap().epoch(), Epoch::new(epoch));
                            model.fence(key, epoch, Cause::Deleted);
                        }
                        _ => prop_assert!(fence.is_none()),
                    }
                }
                Call::Cancel(which) => {
                    if let Some(which) = which.checked_rem(model.open.len()) {
                        model.open[which].operation.cancel(Cause::Deadline);
                        model.open[which].cancelled = true;
                    }
                }
                Call::Commit(which) => {
                    if let Some(which) = which.checked_rem(model.open.len()) {
                        let entry = &mut model.open[which];
                        let expected = match (entry.committed, entry.fenced) {
                            (true, _) => Err(CommitError::AlreadyCommitted),
                            (false, Some(cause)) => {
                                Err(CommitError::Fenced { epoch: Epoch::new(entry.epoch), cause })
                            }
                            (false, None) => Ok(entry.key),
                        };
                        entry.committed |= expected.is_ok();
                        let key = entry.key;
                        prop_assert_eq!(entry.operation.commit(|| key), expected);
                    }
                }
                Call::Abandon(which) => {
                    if let Some(which) = which.checked_rem(model.open.len()) {
                        let entry = &model.open[which];
                        let section = entry.operation.begin_commit();
                        prop_assert_eq!(section.is_ok(), !entry.committed && entry.fenced.is_none());
                        if let Ok(section) = section {
                            section.abandon();
                        }
                    }
                }
                Call::Drop(which) => {
                    if let Some(which) = which.checked_rem(model.open.len()) {
                        drop(model.open.swap_remove(which));
                    }
                }
            }
            prop_assert_eq!(operations.open(), model.open.len());
            for entry in &model.open {
                let own = entry.cancelled.then_some(Cause::Deadline);
                prop_assert_eq!(entry.operation.cancellation().cause(), entry.fenced.or(own));
                prop_assert_eq!(entry.operation.is_current(), entry.fenced.is_none());
            }
        }
    }
}
