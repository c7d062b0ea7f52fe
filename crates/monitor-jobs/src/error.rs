//! What can go wrong, one enum for an operation.

use std::sync::Arc;

use crate::{Epoch, InvalidPriority, JobId, WorkerId};

/// The database failed. What was acknowledged before stands; what this call asked for was rolled
/// back, except where the kind is [`Ambiguous`](StoreErrorKind::Ambiguous).
#[derive(Debug, thiserror::Error)]
#[error("jobs: cannot {action}: {source}")]
pub struct StoreError {
    /// What was tried, such as `claim jobs`.
    pub action: &'static str,
    /// The kind of failure.
    pub kind: StoreErrorKind,
    /// The failure.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// The kinds of database failure: what one does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Passes by itself: busy, no connection, restarting. Try again.
    Transient,
    /// Two transactions met (serialization, deadlock); one was rolled back. Try again at once.
    Conflict,
    /// The connection broke after the commit was sent: done or not done. Ask, or repeat: every
    /// operation of a claimed job may be repeated.
    Ambiguous,
    /// No room left; passes when there is.
    Full,
    /// The disk failed, or a quota or a limit of the process kept a write back.
    Io,
    /// It may not be read or written by this user, or at all.
    Denied,
    /// It was written by a newer version of this crate, or its schema is damaged.
    Schema,
    /// It is closed.
    Closed,
    /// Anything else: a defect, here or there.
    Fatal,
}

impl StoreErrorKind {
    /// Whether the same call may succeed a little later.
    #[must_use]
    pub const fn is_worth_repeating(self) -> bool {
        matches!(
            self,
            Self::Transient | Self::Conflict | Self::Ambiguous | Self::Full | Self::Io
        )
    }
}

/// The end of an attempt was not accepted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The job is another's by now, or it ended otherwise.
    #[error("job {job} is not held by claim {epoch} any more: nothing was changed")]
    Stale {
        /// The job.
        job: JobId,
        /// The claim that held it.
        epoch: Epoch,
    },
    /// The worker's registration is no more, and so is its right to the job.
    #[error("the worker of job {0} was given up: the job is another's, nothing was changed")]
    Fenced(JobId),
    /// No beat came through for a lease, so the job may be another's; nothing was sent.
    #[error("the lease of job {0} has run out without a beat: nothing was changed")]
    LeaseExpired(JobId),
    /// The database failed.
    #[error(transparent)]
    Store(Arc<StoreError>),
}

impl From<StoreError> for SettleError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// A worker was not registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// A name breaks the rule.
    #[error("{what} {name:?} is no name: 1 to 64 characters out of a-z 0-9 . _ -")]
    Name {
        /// Which one: `queue`.
        what: &'static str,
        /// The refused name, cut to its first 80 characters.
        name: String,
    },
    /// A number is out of its range.
    #[error("{what} is {value}: it must be {allowed}")]
    Range {
        /// Which one.
        what: &'static str,
        /// The refused value.
        value: String,
        /// What would be right.
        allowed: &'static str,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A job was not put in; nor was any other of the same call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnqueueError {
    /// A name breaks the rule.
    #[error("{what} {name:?} is no name: 1 to 64 characters out of a-z 0-9 . _ -")]
    Name {
        /// Which one: `kind`, `queue`, ...
        what: &'static str,
        /// The refused name, cut to its first 80 characters.
        name: String,
    },
    /// A number is out of its range.
    #[error("{what} is {value}: it must be {allowed}")]
    Range {
        /// Which one.
        what: &'static str,
        /// The refused value.
        value: String,
        /// What would be right.
        allowed: &'static str,
    },
    /// No priority.
    #[error(transparent)]
    Priority(#[from] InvalidPriority),
    /// There is no such parent, or it was pruned after its end.
    #[error(
        "parent {parent} does not exist: a job can only wait for one that was put in before it"
    )]
    UnknownParent {
        /// The parent that was asked for.
        parent: JobId,
    },
    /// A parent of the same call that does not stand before its child: itself, a later one, or none.
    #[error(
        "job {job} of this call waits for job {parent} of it: a parent must stand before its child"
    )]
    ParentOrder {
        /// The place of the child, from 0.
        job: usize,
        /// The place that was asked for.
        parent: usize,
    },
    /// Twice the same parent.
    #[error("parent {parent} is named twice: one edge is enough")]
    DuplicateParent {
        /// The parent named twice.
        parent: JobId,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Nothing was claimed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// The registration is no more: its worker was given up or deregistered. Register anew.
    #[error(
        "worker {0} is not registered any more: it was given up or deregistered; register anew"
    )]
    UnknownWorker(WorkerId),
    /// The worker is draining, failing or failed.
    #[error("worker {worker} is {state} and claims nothing")]
    NotClaiming {
        /// The worker.
        worker: WorkerId,
        /// Its state.
        state: &'static str,
    },
    /// The worker holds as many jobs as it may.
    #[error("worker {worker} holds {held} jobs, as many as it may: complete one first")]
    AtCapacity {
        /// The worker.
        worker: WorkerId,
        /// How many it holds.
        held: u32,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
