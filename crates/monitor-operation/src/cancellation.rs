//! Telling the work of an operation to stop.

use std::{fmt, sync::Arc};

use crate::{
    Cause, Epoch,
    generation::Generation,
    sync::{AtomicU8, Ordering},
};

/// What ends an operation early: the fence of its epoch, or its own cancellation.
pub(crate) struct Token {
    pub(crate) generation: Arc<Generation>,
    /// Code of the cause this operation alone was cancelled for; zero until then. Set once.
    own: AtomicU8,
}

impl Token {
    pub(crate) fn new(generation: Arc<Generation>) -> Arc<Self> {
        Arc::new(Self {
            generation,
            own: AtomicU8::new(0),
        })
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.generation.epoch
    }

    /// The fence's cause comes first: it says more, for after it nothing can be committed.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.generation
            .cause()
            .or_else(|| Cause::from_code(self.own.load(Ordering::Acquire)))
    }

    pub(crate) fn cancel(&self, cause: Cause) {
        let first = self
            .own
            .compare_exchange(0, cause.code(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        if first {
            self.generation.changed.notify_waiters();
        }
    }
}

/// Hears of the cancellation of one operation. Cheap to clone, may outlive the operation.
#[derive(Clone)]
pub struct Cancellation(pub(crate) Arc<Token>);

impl Cancellation {
    /// Returns whether the operation was cancelled. Once true it stays so.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cause().is_some()
    }

    /// Returns why the operation was cancelled, or none if it was not.
    ///
    /// If it was first cancelled alone, for its deadline say, and then fenced, this changes to the
    /// cause of the fence.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.0.cause()
    }

    /// Waits until the operation is cancelled and returns why.
    ///
    /// Waits for ever if that never happens, also after the operation has ended: select on it
    /// beside the work.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; a later call returns the cause at once.
    pub async fn cancelled(&self) -> Cause {
        self.0.generation.until(|| self.0.cause()).await
    }
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancellation")
            .field("cause", &self.cause())
            .finish()
    }
}

/// Cancels one operation and no other, from wherever its deadline is watched.
///
/// It belongs to its operation: used after that has ended, it does nothing to anybody. A timer
/// that fires late can therefore not hit the operation that came after.
#[derive(Clone)]
pub struct Canceller(pub(crate) Arc<Token>);

impl Canceller {
    /// Cancels the operation. The first cause stands; the epoch stays as it is, so the operation
    /// may still commit.
    pub fn cancel(&self, cause: Cause) {
        self.0.cancel(cause);
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller")
            .field("cause", &self.0.cause())
            .finish()
    }
}
