//! The kernel: one word per epoch that says whether its work may still commit.

use crate::{
    Cause,
    sync::{AtomicU64, Ordering},
};

/// The right of one epoch to commit, in one word, so that "is the epoch current" and "a commit
/// has begun" are one step: there is no instant between the check and the act.
///
/// INV-OPERATION-1: after the word carries a cause, no commit enters.
/// INV-OPERATION-2: the count is the number of commits that entered and have not left.
pub(crate) struct Gate {
    /// Bits 0..32: commits in progress. Bits 32..40: the cause of the fence, zero while current.
    ///
    /// Entering and leaving are ordered with the fence through this word alone: what a commit did
    /// before it left (release) is seen by who finds the count at zero (acquire).
    word: AtomicU64,
}

const CAUSE_SHIFT: u32 = 32;
const COUNT: u64 = (1 << CAUSE_SHIFT) - 1;

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
        }
    }

    /// Begins a commit, unless the epoch is fenced. Each success is paired with one [`leave`].
    ///
    /// The count cannot overflow into the cause: a commit in progress borrows an open operation,
    /// and the registry bounds those by `u32::MAX`.
    ///
    /// [`leave`]: Gate::leave
    pub(crate) fn enter(&self) -> Result<(), Cause> {
        self.word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                cause(word).is_none().then_some(word + 1)
            })
            .map(drop)
            // The update refuses a word only because of its cause; the fall-back cannot be reached.
            .map_err(|word| cause(word).unwrap_or(Cause::Superseded))
    }

    /// Ends a commit. True if it was the last one of a fenced epoch: somebody may wait for that.
    pub(crate) fn leave(&self) -> bool {
        let before = self.word.fetch_sub(1, Ordering::AcqRel);
        debug_assert_ne!(
            before & COUNT,
            0,
            "INV-OPERATION-2: left without having entered"
        );
        before & COUNT == 1 && cause(before).is_some()
    }

    /// Withdraws the right. The first cause stands.
    pub(crate) fn fence(&self, by: Cause) {
        let fenced = u64::from(by.code()) << CAUSE_SHIFT;
        // An error means that the word carries a cause already, which is what is wanted.
        let _ = self
            .word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                cause(word).is_none().then_some(word | fenced)
            });
    }

    /// Why the epoch is fenced, or none while it is current.
    pub(crate) fn cause(&self) -> Option<Cause> {
        cause(self.word.load(Ordering::Acquire))
    }

    /// Whether no commit is in progress. On a fenced gate the answer stays true once it is.
    pub(crate) fn is_quiet(&self) -> bool {
        self.word.load(Ordering::Acquire) & COUNT == 0
    }
}

fn cause(word: u64) -> Option<Cause> {
    // Only eight bits above the count are ever set.
    Cause::from_code((word >> CAUSE_SHIFT) as u8)
}
