//! How many of a group of breakers may be open at once.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The rule of a group: at most a percentage of its members, and always one, may be open.
#[derive(Debug)]
pub(crate) struct Quota {
    percent: u64,
    members: AtomicU64,
    /// INV-BREAKER-10: the number of [`Place`]s there are.
    open: AtomicU64,
}

/// The right of one breaker to be open, given back on drop.
#[derive(Debug)]
pub(crate) struct Place {
    quota: Arc<Quota>,
}

impl Quota {
    pub(crate) fn new(percent: u8) -> Quota {
        Quota {
            percent: u64::from(percent),
            members: AtomicU64::new(0),
            open: AtomicU64::new(0),
        }
    }

    pub(crate) fn set_members(&self, members: usize) {
        self.members.store(members as u64, Ordering::Relaxed);
    }

    /// Returns how many breakers hold a place.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Takes a place, if there is one left.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Place> {
        let most = (self.members.load(Ordering::Relaxed) * self.percent / 100).max(1);
        self.open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < most).then_some(open + 1)
            })
            .ok()
            .map(|_| Place {
                quota: Arc::clone(self),
            })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.quota.open.fetch_sub(1, Ordering::Relaxed);
    }
}
