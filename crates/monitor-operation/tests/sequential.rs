//! The registry against a model of a few lines, in any sequence of calls.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;

use monitor_operation::{BeginError, Cause, CommitError, Epoch, Key, Operation, Operations};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Call {
    Register {
        key: u32,
        epoch: u64,
    },
    Hold(u32),
    LetGo(usize),
    Begin(u32),
    Fence {
        key: u32,
        cause: Cause,
    },
    Forget(u32),
    /// So many others come and go that whoever can be forgotten is.
    Crowd,
    Cancel(usize),
    Commit(usize),
    Abandon(usize),
    Drop(usize),
    Finish(usize),
}

fn call() -> impl Strategy<Value = Call> {
    let key = || 0_u32..3;
    let cause = prop::sample::select(Cause::ALL.to_vec());
    prop_oneof![
        2 => (key(), 0_u64..6).prop_map(|(key, epoch)| Call::Register { key, epoch }),
        2 => key().prop_map(Call::Hold),
        2 => any::<usize>().prop_map(Call::LetGo),
        5 => key().prop_map(Call::Begin),
        2 => (key(), cause).prop_map(|(key, cause)| Call::Fence { key, cause }),
        1 => key().prop_map(Call::Forget),
        1 => Just(Call::Crowd),
        1 => any::<usize>().prop_map(Call::Cancel),
        3 => any::<usize>().prop_map(Call::Commit),
        1 => any::<usize>().prop_map(Call::Abandon),
        2 => any::<usize>().prop_map(Call::Drop),
        2 => any::<usize>().prop_map(Call::Finish),
    ]
}

#[derive(Default)]
struct Model {
    keys: HashMap<u32, Known>,
    held: Vec<Key<u32>>,
    open: Vec<Entry>,
    crowd: u32,
}

/// What the model knows of a key that was there once.
#[derive(Clone, Copy, Default)]
struct Known {
    /// The lowest that it can be in.
    epoch: u64,
    /// Whether operations can begin, unless it was forgotten meanwhile because nobody had it.
    is_open: bool,
    is_registered: bool,
}

struct Entry {
    operation: Operation<u32>,
    key: u32,
    epoch: u64,
    fenced: Option<Cause>,
    cancelled: bool,
    committed: bool,
}

impl Entry {
    /// What a commit of it comes to.
    fn expected(&self) -> Result<u32, CommitError> {
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
    fn fence(&mut self, key: u32, epoch: u64, cause: Cause) -> usize {
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

    /// Whether the key is known (`Some(true)`), is not, or may have been forgotten.
    fn knows(&self, key: u32) -> Option<bool> {
        let Some(known) = self.keys.get(&key).filter(|known| known.is_open) else {
            return Some(false);
        };
        let somebody = self.held.iter().any(|held| *held.get() == key)
            || self.open.iter().any(|entry| entry.key == key);
        (known.is_registered || somebody).then_some(true)
    }

    /// Notes whether the registry knew the key.
    fn found(&mut self, key: u32, found: bool) {
        assert_eq!(self.knows(key).unwrap_or(found), found, "key {key}");
        if let Some(known) = self
            .keys
            .get_mut(&key)
            .filter(|known| known.is_open && !found)
        {
            // Forgotten, for nobody had it.
            (known.epoch, known.is_open) = (known.epoch + 1, false);
        }
    }

    /// The key is there, in `epoch`, after somebody asked for `least`.
    fn entered(&mut self, key: u32, least: u64, epoch: Epoch) {
        let epoch = epoch.get();
        let before = self.knows(key);
        let known = *self.keys.entry(key).or_default();
        let least = known.epoch.max(least);
        if before == Some(true) {
            assert_eq!(epoch, least);
            self.fence(key, epoch, Cause::Superseded);
        } else {
            // Where the others were that have been forgotten, or above its own.
            assert!(epoch >= least, "{epoch} after {least}");
        }
        let known = Known {
            epoch,
            is_open: true,
            ..known
        };
        self.keys.insert(key, known);
    }

    fn apply(&mut self, operations: &Operations<u32>, call: Call) {
        match call {
            Call::Register { key, epoch } => {
                let registered = operations.register(key, Epoch::new(epoch)).unwrap();
                self.entered(key, epoch, registered);
                self.keys.entry(key).or_default().is_registered = true;
            }
            Call::Hold(key) => {
                let held = operations.hold(key);
                self.entered(key, 0, held.epoch().unwrap());
                self.held.push(held);
            }
            Call::LetGo(which) => {
                if let Some(which) = which.checked_rem(self.held.len()) {
                    drop(self.held.swap_remove(which));
                }
            }
            Call::Crowd => {
                for _ in 0..300 {
                    drop(operations.hold(1000 + self.crowd));
                    self.crowd += 1;
                }
            }
            Call::Begin(key) => match operations.begin(&key) {
                Ok(operation) => {
                    self.found(key, true);
                    let epoch = self.keys[&key].epoch;
                    assert!(self.open.len() < LIMIT);
                    assert_eq!(operation.epoch(), Epoch::new(epoch));
                    assert!(self.open.iter().all(|e| e.operation.id() != operation.id()));
                    self.open.push(Entry {
                        operation,
                        key,
                        epoch,
                        fenced: None,
                        cancelled: false,
                        committed: false,
                    });
                }
                Err(BeginError::TooManyOpen { limit: LIMIT }) => {
                    self.found(key, true);
                    assert_eq!(self.open.len(), LIMIT);
                }
                Err(BeginError::UnknownKey) => self.found(key, false),
                Err(other) => panic!("{other}"),
            },
            Call::Fence { key, cause } => {
                let fence = operations.fence(&key, cause);
                self.found(key, fence.is_some());
                if let Some(fence) = fence {
                    let epoch = self.keys[&key].epoch + 1;
                    self.keys.entry(key).or_default().epoch = epoch;
                    assert_eq!(fence.epoch(), Epoch::new(epoch));
                    assert_eq!(fence.open(), self.fence(key, epoch, cause));
                    assert!(fence.is_settled());
                }
            }
            Call::Forget(key) => {
                let fence = operations.forget(&key);
                self.found(key, fence.is_some());
                if let Some(fence) = fence {
                    let epoch = self.keys[&key].epoch + 1;
                    let forgotten = Known {
                        epoch,
                        ..Known::default()
                    };
                    self.keys.insert(key, forgotten);
                    assert_eq!(fence.epoch(), Epoch::new(epoch));
                    self.fence(key, epoch, Cause::Deleted);
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
            _ => {}
        }
    }
}

const LIMIT: usize = 6;

proptest! {
    /// OPS-1, OPS-9, OPS-11, OPS-13, OPS-31, OPS-45, OPS-48, S2: every call answers as the model
    /// does, also when keys that nobody has any more are forgotten in between.
    #[test]
    fn inv_operation_1_3_5_6_8_answers_as_the_model(
        calls in prop::collection::vec(call(), 1..100),
    ) {
        let operations = Operations::with_limit(LIMIT);
        let mut model = Model::default();
        for call in calls {
            model.apply(&operations, call);
            prop_assert_eq!(operations.open(), model.open.len());
            prop_assert!(operations.kept() < 3 + 16 * 64, "{} keys", operations.kept());
            for entry in &model.open {
                let own = entry.cancelled.then_some(Cause::Deadline);
                prop_assert_eq!(entry.operation.cancellation().cause(), entry.fenced.or(own));
                prop_assert_eq!(entry.operation.is_current(), entry.fenced.is_none());
            }
        }
    }
}
