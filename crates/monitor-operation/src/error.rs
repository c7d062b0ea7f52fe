//! What can go wrong, one enum per operation.

use thiserror::Error;

use crate::{Cause, Epoch};

/// Why a key was not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The stored epoch leaves no room to count up from.
    #[error("epoch {epoch} is above {max}, the largest to register", max = Epoch::MAX_REGISTERED)]
    EpochTooLarge {
        /// The epoch as given.
        epoch: Epoch,
    },
}

/// Why an operation did not begin. Nothing was registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BeginError {
    /// The key was never registered, or was forgotten.
    #[error("the key of the operation is not registered")]
    UnknownKey,
    /// As many operations are open as may be.
    #[error("{limit} operations are open, which is the limit; one of them has to end first")]
    TooManyOpen {
        /// The limit on operations open at once.
        limit: usize,
    },
    /// The generator gave zero or the id of an open operation every time it was asked.
    #[error("failed to generate a unique operation id in {attempts} attempts")]
    NoUniqueId {
        /// How often the generator was asked.
        attempts: u32,
    },
}

/// Why an operation did not commit. The change was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The key has moved on to another epoch; the result of this operation is no longer wanted.
    #[error("the operation began under epoch {epoch}, which was fenced: {cause}")]
    Fenced {
        /// The epoch of the operation.
        epoch: Epoch,
        /// Why the epoch ended.
        cause: Cause,
    },
    /// The operation has committed already, or is doing so.
    #[error("the operation has already committed; an operation commits at most once")]
    AlreadyCommitted,
}

impl CommitError {
    /// Returns why the operation was fenced, or none if it was refused for another reason.
    #[must_use]
    pub const fn cause(&self) -> Option<Cause> {
        match self {
            Self::Fenced { cause, .. } => Some(*cause),
            Self::AlreadyCommitted => None,
        }
    }
}
