//! Tests of the kernel: plain calls with made-up times.

#[cfg(not(monitor_loom))]
mod accounting;
#[cfg(not(monitor_loom))]
mod classes;
#[cfg(not(monitor_loom))]
mod coverage;
#[cfg(not(monitor_loom))]
mod grid;
#[cfg(monitor_loom)]
mod loom;
#[cfg(not(monitor_loom))]
mod newcomers;
#[cfg(not(monitor_loom))]
mod pace;
#[cfg(not(monitor_loom))]
mod presets;
#[cfg(not(monitor_loom))]
mod rules;
#[cfg(not(monitor_loom))]
mod soak;
#[cfg(not(monitor_loom))]
mod timing;
#[cfg(not(monitor_loom))]
mod world;

use std::{cell::Cell, hash::Hash, ops::Deref, sync::Arc};

use monitor_operation::Epoch;

use super::{Core, Keyed, Tick};
use crate::Status;

/// A handler that is nothing but its key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Only<K>(pub(crate) Arc<K>);

std::thread_local! {
    /// The epoch that all keys of the test have come to.
    pub(crate) static EPOCH: Cell<Epoch> = const { Cell::new(Epoch::new(0)) };
}

impl<K> Only<K> {
    pub(crate) fn of(key: K) -> Self {
        Self(Arc::new(key))
    }
}

impl<K> Clone for Only<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Deref for Only<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.0
    }
}

impl<K: Eq + Hash> Keyed for Only<K> {
    type Key = K;

    fn key(&self) -> &K {
        &self.0
    }

    fn epoch(&self) -> Epoch {
        EPOCH.get()
    }

    fn warm(&self) {}
}

/// What became of due times, in order: what the accounting is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// The key was added: its due times begin anew.
    Born,
    Armed(Tick),
    TakenBack(Tick),
    Ran(Tick),
    Missed {
        due: Tick,
        slots: u32,
    },
}

impl<H: Keyed> Core<H> {
    /// The status, as the shell puts it together, with pages of two keys.
    fn status(&mut self, now: Tick) -> Status<H> {
        let whole = self.overview(now);
        let (mut all, mut from) = (Vec::new(), Some(0));
        while let Some(at) = from {
            let (seen, next) = self.page(at, 2, now);
            all.extend(seen);
            from = next;
        }
        Status::of(whole, all)
    }

    /// Lets all that is due by `now` happen.
    #[cfg(not(monitor_loom))]
    fn advance_all(&mut self, now: Tick) {
        self.advance(now);
        while self.next().is_some_and(|next| next <= now) {
            self.advance(now);
        }
    }
}
