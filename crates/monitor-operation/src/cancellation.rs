//! Telling the work of an operation to stop.

use std::{fmt, sync::Arc};

use tokio::sync::Notify;

use crate::{
    Cause,
    sync::{AtomicU8, AtomicUsize, Ordering},
};

/// What ends an operation early: the fence of its epoch, or its own cancellation. Made when
/// somebody first asks for it.
pub(crate) struct Token {
    /// Code of the cause that the operation's epoch was fenced for; zero until then. Set once.
    fenced: AtomicU8,
    /// Code of the cause this operation alone was cancelled for; zero until then. Set once.
    own: AtomicU8,
    /// Its place on the list of those to be told, plus one; zero until it is on it. Changed under
    /// the lock of the list.
    place: AtomicUsize,
    /// Rung when one of the causes is set. Whoever waits looks again.
    changed: Notify,
}

impl Token {
    pub(crate) fn new() -> Self {
        Self {
            fenced: AtomicU8::new(0),
            own: AtomicU8::new(0),
            place: AtomicUsize::new(0),
            changed: Notify::new(),
        }
    }

    /// The fence's cause comes first: it says more, for after it nothing can be committed.
    pub(crate) fn cause(&self) -> Option<Cause> {
        Cause::from_code(self.fenced.load(Ordering::Acquire))
            .or_else(|| Cause::from_code(self.own.load(Ordering::Acquire)))
    }

    pub(crate) fn cancel(&self, cause: Cause) {
        self.set(&self.own, cause);
    }

    pub(crate) fn fence(&self, cause: Cause) {
        self.set(&self.fenced, cause);
    }

    /// The first cause stands.
    fn set(&self, which: &AtomicU8, cause: Cause) {
        let first = which
            .compare_exchange(0, cause.code(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        if first {
            self.changed.notify_waiters();
        }
    }

    pub(crate) fn is_listed(&self) -> bool {
        self.place.load(Ordering::Acquire) != 0
    }

    pub(crate) fn list(&self, place: usize) {
        let number = place.saturating_add(1);
        self.place.store(number, Ordering::Release);
    }

    /// Its place on the list. Past the end of any list when it was never on one.
    pub(crate) fn place(&self) -> usize {
        self.place.load(Ordering::Acquire).wrapping_sub(1)
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
    /// cause of the fence. What is fenced after the operation has ended is no business of it.
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
        loop {
            // Enlisted before the look, or a change between the look and the wait would be missed.
            let mut changed = std::pin::pin!(self.0.changed.notified());
            changed.as_mut().enable();
            if let Some(cause) = self.cause() {
                return cause;
            }
            changed.await;
        }
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
