//! One piece of work that may commit its result once, while its epoch is current.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use crate::{
    Cancellation, Canceller, Cause, CommitError, Epoch, OperationId,
    cancellation::Token,
    key::Known,
    sync::{AtomicU8, Ordering},
    word::Tag,
};

/// The right to commit one result for a key, as long as the key stays in the epoch it was in when
/// the operation began.
///
/// Made by [`Operations::begin`](crate::Operations::begin) only, so that the work which runs under
/// it can neither forge nor change it. Dropping it ends the operation: nothing of it stays behind.
#[must_use = "dropping an operation ends it"]
pub struct Operation<K> {
    known: Arc<Known<K>>,
    /// Drawn when somebody first asks for it: most operations end unasked.
    id: OnceLock<OperationId>,
    epoch: Epoch,
    tag: Tag,
    /// INV-OPERATION-6: leaves `COMMITTED` never, so an operation commits at most once.
    state: AtomicU8,
    /// Made when somebody first wants to hear of a cancellation, or to cancel.
    token: OnceLock<Arc<Token>>,
}

const OPEN: u8 = 0;
/// If the operation ends like this, the commit ends with it: it finishes, or its section was leaked.
const COMMITTING: u8 = 1;
const COMMITTED: u8 = 2;

impl<K> Operation<K> {
    pub(crate) fn new(known: Arc<Known<K>>, tag: Tag, epoch: Epoch) -> Self {
        Self {
            known,
            id: OnceLock::new(),
            epoch,
            tag,
            state: AtomicU8::new(OPEN),
            token: OnceLock::new(),
        }
    }

    /// Gives the operation an id from elsewhere, before anybody has seen it.
    pub(crate) fn set_id(&mut self, id: OperationId) {
        self.id = OnceLock::from(id);
    }

    /// Returns the id, for tracing.
    #[must_use]
    pub fn id(&self) -> OperationId {
        *self.id.get_or_init(|| self.known.next_id())
    }

    /// Returns the key the operation works for.
    #[must_use]
    pub fn key(&self) -> &K {
        &self.known.key
    }

    /// Returns the epoch the operation began under: the one to compare with in a store.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns a token on which the work can wait for its cancellation.
    #[must_use]
    pub fn cancellation(&self) -> Cancellation {
        Cancellation(Arc::clone(self.listening()))
    }

    /// Returns what a deadline needs to cancel this operation and no other.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller(Arc::clone(self.token()))
    }

    /// Returns whether a commit would be accepted now, as far as the epoch is concerned.
    ///
    /// A hint, to end early: the answer may be out of date when it arrives. Only the commit
    /// decides.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.known.line.is_current(self.tag)
    }

    /// Cancels this operation alone. The first cause stands.
    ///
    /// The epoch stays as it is: other operations of the key go on, and this one may still commit
    /// that it was cut short.
    pub fn cancel(&self, cause: Cause) {
        self.token().cancel(cause);
    }

    /// The token, as it is: whoever only wants to cancel need not hear of fences.
    fn token(&self) -> &Arc<Token> {
        self.token.get_or_init(|| Arc::new(Token::new()))
    }

    /// The token, on the list of those whom a fence tells. Whoever has it hears of every fence
    /// from now on, and of one that was made since the operation began.
    pub(crate) fn listening(&self) -> &Arc<Token> {
        let token = self.token();
        if !token.is_listed() {
            self.known.line.listen(self.tag, token);
        }
        token
    }

    /// Makes a change in memory, if the epoch is still current.
    ///
    /// `change` runs inside the commit section, in one step with the check: a fence that comes
    /// later finds it in progress and [`settled`](crate::Fence::settled) waits for it. It runs
    /// under no lock. If it panics, the operation counts as committed.
    ///
    /// # Errors
    ///
    /// The change was not made, because of
    /// - [`Fenced`](CommitError::Fenced): the key has moved on;
    /// - [`AlreadyCommitted`](CommitError::AlreadyCommitted): this is the second commit.
    ///
    /// # Examples
    ///
    /// ```
    /// use monitor_operation::{Cause, CommitError, Epoch, Operations};
    ///
    /// let operations = Operations::new();
    /// operations.register("db", Epoch::default())?;
    ///
    /// let operation = operations.begin(&"db")?;
    /// let fence = operations.fence(&"db", Cause::Paused);
    /// let late = operation.commit(|| unreachable!("a fenced operation never commits"));
    /// assert!(matches!(late, Err(CommitError::Fenced { cause: Cause::Paused, .. })));
    /// # assert_eq!(fence.map(|f| f.epoch()), Some(Epoch::new(1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn commit<R>(&self, change: impl FnOnce() -> R) -> Result<R, CommitError> {
        let committing = self.begin_commit()?;
        let result = change();
        drop(committing);
        Ok(result)
    }

    /// Makes a change in memory, if the epoch is still current, and ends the operation in the same
    /// step in which the commit ends: what most work wants, and cheaper than
    /// [`commit`](Self::commit) and a drop.
    ///
    /// `change` runs as there.
    ///
    /// # Errors
    ///
    /// As for [`commit`](Self::commit). The operation has ended in any case.
    pub fn finish<R>(self, change: impl FnOnce() -> R) -> Result<R, CommitError> {
        // Nobody else can see the operation any more.
        if self.state.load(Ordering::Relaxed) != OPEN {
            return Err(CommitError::AlreadyCommitted);
        }
        self.enter()?;
        self.state.store(COMMITTING, Ordering::Relaxed);
        Ok(change())
    }

    /// Opens the commit section, if the epoch is still current; it may be held across the await
    /// of a store.
    ///
    /// A fence made meanwhile is not held up; its [`settled`](crate::Fence::settled) waits for
    /// the section to end. The store must compare the epoch of the row itself, in the statement
    /// that changes it: this section protects against this process only.
    ///
    /// # Errors
    ///
    /// As for [`commit`](Operation::commit).
    ///
    /// # Cancel safety
    ///
    /// Not a future. A future that is dropped while it holds the section ends it, and the
    /// operation counts as committed, for the store may have done its part.
    pub fn begin_commit(&self) -> Result<Committing<'_, K>, CommitError> {
        self.state
            .compare_exchange(OPEN, COMMITTING, Ordering::AcqRel, Ordering::Relaxed)
            .map_err(|_| CommitError::AlreadyCommitted)?;
        if let Err(fenced) = self.enter() {
            self.state.store(OPEN, Ordering::Release);
            return Err(fenced);
        }
        Ok(Committing {
            operation: self,
            left_as: COMMITTED,
        })
    }

    fn enter(&self) -> Result<(), CommitError> {
        let entered = self.known.line.enter(self.tag);
        entered.map_err(|cause| CommitError::Fenced {
            epoch: self.epoch,
            cause,
        })
    }
}

impl<K> Drop for Operation<K> {
    fn drop(&mut self) {
        // Whoever is not on the list by now never will be.
        let token = self.token.get().filter(|token| token.is_listed());
        if let Some(token) = token {
            self.known.line.unlisten(self.tag, token);
        }
        if let (Some(index), Some(id)) = (self.known.index(), self.id.get()) {
            index.leave(*id);
        }
        let fenced = if self.state.load(Ordering::Relaxed) == COMMITTING {
            self.known.line.leave_and_end(self.tag)
        } else {
            self.known.line.end(self.tag)
        };
        // Taken off the list just before the fence, it would not be told.
        if let (Some(token), Some(cause)) = (token, fenced) {
            token.fence(cause);
        }
    }
}

impl<K: fmt::Debug> fmt::Debug for Operation<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("id", &self.id())
            .field("key", &self.known.key)
            .field("epoch", &self.epoch)
            .field("current", &self.is_current())
            .finish()
    }
}

/// An open commit section. Dropping it ends the section; the operation has then committed. Leaked, it
/// ends with the operation.
#[must_use = "dropping the section ends it"]
pub struct Committing<'a, K> {
    operation: &'a Operation<K>,
    left_as: u8,
}

impl<K> Committing<'_, K> {
    /// Ends the section without a commit: the change was certainly not made, and the operation
    /// may try again.
    pub fn abandon(mut self) {
        self.left_as = OPEN;
    }
}

impl<K> Drop for Committing<'_, K> {
    fn drop(&mut self) {
        // Before it is left: who finds the commits ended finds this one's state.
        self.operation.state.store(self.left_as, Ordering::Release);
        self.operation.known.line.leave(self.operation.tag);
    }
}

impl<K: fmt::Debug> fmt::Debug for Committing<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committing")
            .field("operation", self.operation)
            .finish()
    }
}
