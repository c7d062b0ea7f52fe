//! What a fence leaves behind: the new epoch, and old commits that may still be under way.

use std::{fmt, sync::Arc};

use tokio::sync::Notify;

use crate::{
    Cause, Epoch,
    sync::{AtomicU8, Ordering},
};

/// The proof that a key has moved on to a new epoch.
///
/// The fence stands from the moment it is made; this value only tells about it. Dropping it
/// changes nothing.
#[must_use = "commits that had already begun may still be under way: see `settled`"]
pub struct Fence {
    pub(crate) epoch: Epoch,
    pub(crate) cause: Cause,
    pub(crate) open: usize,
    /// INV-OPERATION-4: of every older epoch in which a commit was in progress.
    pub(crate) draining: Vec<Arc<Drain>>,
}

/// The commits of one fenced epoch that were in progress: there until the last has ended.
pub(crate) struct Drain {
    /// 1 once the last commit has ended; with release, for those who take over from it.
    closed: AtomicU8,
    changed: Notify,
}

impl Drain {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            closed: AtomicU8::new(0),
            changed: Notify::new(),
        })
    }

    pub(crate) fn close(&self) {
        self.closed.store(1, Ordering::Release);
    }

    /// Wakes those who wait for it. Never under a lock: a waker is not ours.
    pub(crate) fn ring(&self) {
        self.changed.notify_waiters();
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) != 0
    }

    async fn wait(&self) {
        loop {
            // Enlisted before the look, or a change between the look and the wait would be missed.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.is_closed() {
                return;
            }
            changed.await;
        }
    }
}

impl Fence {
    /// Returns the epoch that is current from now on: the one to store.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns what the key was fenced for.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        self.cause
    }

    /// Returns how many operations of the epoch that just ended were open.
    #[must_use]
    pub const fn open(&self) -> usize {
        self.open
    }

    /// Returns whether every commit of an older epoch has ended. Once true it stays so.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.draining.iter().all(|drain| drain.is_closed())
    }

    /// Waits until no commit of an older epoch is in progress.
    ///
    /// New ones cannot begin since the fence was made, so afterwards the older epochs are silent
    /// for ever. It waits for commits alone, never for work that has not come so far. Bound it
    /// with a timeout where commits may hang.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the knowledge that the commits have ended; the fence stands.
    pub async fn settled(self) {
        for drain in &self.draining {
            drain.wait().await;
        }
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence")
            .field("epoch", &self.epoch)
            .field("cause", &self.cause)
            .field("open", &self.open)
            .field("settled", &self.is_settled())
            .finish()
    }
}
