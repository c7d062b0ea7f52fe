//! What a fence leaves behind: the new epoch, and old commits that may still be under way.

use std::{fmt, sync::Arc};

use crate::{Cause, Epoch, generation::Generation};

/// The proof that a key has moved on to a new epoch.
///
/// The fence stands from the moment it is made; this value only tells about it. Dropping it
/// changes nothing.
#[must_use = "commits that had already begun may still be under way: see `settled`"]
pub struct Fence {
    pub(crate) epoch: Epoch,
    pub(crate) cause: Cause,
    pub(crate) open: usize,
    /// The older epochs in which a commit was in progress.
    pub(crate) draining: Vec<Arc<Generation>>,
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
        self.draining
            .iter()
            .all(|generation| generation.gate.is_quiet())
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
        for generation in &self.draining {
            generation
                .until(|| generation.gate.is_quiet().then_some(()))
                .await;
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
