//! What can go wrong with a command, and what kind of failure that is to a caller.

use std::path::Path;
use std::sync::Arc;

use monitor_model::{StoreError, StoreErrorKind};
use monitor_operation::Epoch;
use rusqlite::ErrorCode;

/// Why a command failed. Cloneable, as one failed transaction fails every command in it.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{text}")]
    Sqlite { kind: StoreErrorKind, text: String },
    #[error("{row}: column {column}: {problem}")]
    Unreadable {
        row: String,
        column: &'static str,
        problem: String,
    },
    #[error("epoch {epoch} is not newer than {standing}")]
    Conflict { epoch: Epoch, standing: Epoch },
    #[error("epoch {0} is above 2^63 - 1, the largest that a row can hold")]
    EpochTooLarge(Epoch),
    #[error(
        "the file was removed or replaced while it was open; nothing is written to what is left \
         of it: put it back, or start again"
    )]
    Gone,
    #[error("it is closed")]
    Closed,
}

impl Failure {
    pub(crate) const fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Sqlite { kind, .. } => *kind,
            Self::Unreadable { .. } => StoreErrorKind::Corrupt,
            Self::Conflict { .. } => StoreErrorKind::Conflict,
            Self::EpochTooLarge(_) => StoreErrorKind::Other,
            Self::Gone => StoreErrorKind::Unreachable,
            Self::Closed => StoreErrorKind::Closed,
        }
    }

    /// The error as a caller sees it: what was tried, on which file, and why it failed.
    pub(crate) fn into_error(self, action: &'static str, path: &Arc<Path>) -> StoreError {
        StoreError {
            action,
            kind: self.kind(),
            source: Box::new(AtFile {
                path: Arc::clone(path),
                failure: self,
            }),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{}: {failure}", path.display())]
struct AtFile {
    path: Arc<Path>,
    failure: Failure,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite {
            kind: kind(&error),
            text: error.to_string(),
        }
    }
}

pub(crate) fn kind(error: &rusqlite::Error) -> StoreErrorKind {
    use rusqlite::Error as E;
    match error {
        E::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreErrorKind::Busy,
            ErrorCode::DiskFull => StoreErrorKind::Full,
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => StoreErrorKind::ReadOnly,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreErrorKind::Corrupt,
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::FileLockingProtocolFailed => StoreErrorKind::Io,
            _ => StoreErrorKind::Other,
        },
        E::FromSqlConversionFailure(..)
        | E::IntegralValueOutOfRange(..)
        | E::InvalidColumnType(..)
        | E::Utf8Error(..) => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Other,
    }
}
