//! What many keys have in common, kept once.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use hashbrown::HashTable;
use monitor_backoff::Policy;

use super::{policies::Policies, slab::Slab, tick::Tick};
use crate::{Class, Spec};

/// How keys of one kind are to run: all that a spec says but for where the slots lie.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) interval_ms: u32,
    /// At most one day.
    pub(super) timeout_ms: u32,
    pub(super) policy: Arc<Policy>,
    pub(super) class: Class,
    /// A manual trigger ends its backoff.
    pub(super) trigger_resets: bool,
}

/// The kinds of the keys there are, each by a small number.
pub(super) struct Kinds {
    policies: Policies,
    known: Slab<Shared>,
    numbers: HashTable<u32>,
    hasher: RandomState,
    /// The one asked for last: keys are often added alike.
    last: u32,
}

/// A kind, and how many keys are of it.
struct Shared {
    kind: Kind,
    keys: u32,
}

impl Kinds {
    pub(super) fn new() -> Self {
        Self {
            policies: Policies::default(),
            known: Slab::new(),
            numbers: HashTable::new(),
            hasher: RandomState::new(),
            last: 0,
        }
    }

    /// The number of the kind that a spec describes, for one more key. Goes back by
    /// [`release`](Kinds::release).
    pub(super) fn share(&mut self, spec: &Spec) -> u32 {
        let kind = Kind {
            // A spec keeps it below 30 days, and the timeout within one.
            interval_ms: Tick::ceil(spec.interval()).0 as u32,
            timeout_ms: Tick::ceil(spec.timeout()).0 as u32,
            policy: self.policies.share(spec.backoff()),
            class: spec.class(),
            trigger_resets: spec.trigger_resets(),
        };
        let number = self.number_of(kind);
        self.known[number].keys += 1;
        self.last = number;
        number
    }

    /// A key is no longer of this kind.
    pub(super) fn release(&mut self, number: u32) {
        let shared = &mut self.known[number];
        shared.keys -= 1;
        if shared.keys == 0 {
            let hash = shared.kind.hash(&self.hasher);
            if let Ok(found) = self.numbers.find_entry(hash, |at| *at == number) {
                found.remove();
            }
            self.known.remove(number);
        }
    }

    pub(super) fn of(&self, number: u32) -> &Kind {
        &self.known[number].kind
    }

    /// How many keys all kinds have together.
    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        self.known.iter().map(|shared| shared.keys as usize).sum()
    }

    fn number_of(&mut self, kind: Kind) -> u32 {
        let Self {
            known,
            numbers,
            hasher,
            ..
        } = self;
        if known.get(self.last).is_some_and(|last| last.kind == kind) {
            return self.last;
        }
        let hash = kind.hash(hasher);
        let found = numbers.find(hash, |number| known[*number].kind == kind);
        if let Some(number) = found {
            return *number;
        }
        let number = known.insert(Shared { kind, keys: 0 });
        numbers.insert_unique(hash, number, |number| known[*number].kind.hash(hasher));
        number
    }
}

impl Kind {
    /// Equal policies have one place, as far as they are known to be equal.
    fn hash(&self, hasher: &RandomState) -> u64 {
        let policy = Arc::as_ptr(&self.policy) as usize;
        hasher.hash_one((
            self.interval_ms,
            self.timeout_ms,
            policy,
            self.class,
            self.trigger_resets,
        ))
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.policy, &other.policy)
            && self.interval_ms == other.interval_ms
            && self.timeout_ms == other.timeout_ms
            && self.class == other.class
            && self.trigger_resets == other.trigger_resets
    }
}
