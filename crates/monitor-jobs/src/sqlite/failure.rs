//! What can go wrong with a command, and what kind of failure that is to a caller.
//!
//! | SQLite says | kind |
//! |---|---|
//! | `BUSY`, `LOCKED`, `PROTOCOL`, `INTERRUPT`, `NOMEM`, an I/O error of a lock | `Transient` |
//! | nothing: the file was removed or replaced | `Transient` |
//! | `FULL`: the disk, or the limit that was set for the file; `TOOBIG` | `Full` |
//! | `READONLY`, `PERM`, `AUTH`, `CANTOPEN` | `Denied` |
//! | `CORRUPT`, `NOTADB`, `FORMAT`, `SCHEMA`, a value that is none | `Schema` |
//! | an I/O error of a commit, but of its writes | `Ambiguous` |
//! | any other I/O error: a device, a quota, a limit of the process | `Io` |
//! | everything else | `Fatal` |

use std::path::Path;
use std::sync::Arc;

use rusqlite::{ErrorCode, ffi};

use crate::{StoreError, StoreErrorKind};

/// Why a command failed. Cloneable, as one failed transaction fails every command in it.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{text}")]
    Sqlite { kind: StoreErrorKind, text: String },
    #[error(
        "the file was removed or replaced while it was open; nothing is written to what is left \
         of it: put it back, or start again"
    )]
    Gone,
    #[error("it is closed")]
    Closed,
    #[error("a closure that was given to transact panicked; it was rolled back")]
    Panicked,
    #[error("the caller's own SQL ended the transaction")]
    EndedByCaller,
    #[error("the transaction was rolled back: its owner fell silent while others waited")]
    Abandoned,
    #[error("the permit is that of another transaction; it was rolled back")]
    WrongPermit,
    #[error("no such row: {0}")]
    Missing(String),
}

impl Failure {
    pub(crate) const fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Sqlite { kind, .. } => *kind,
            Self::Closed => StoreErrorKind::Closed,
            Self::Abandoned | Self::Gone => StoreErrorKind::Transient,
            Self::Panicked | Self::WrongPermit | Self::Missing(_) => StoreErrorKind::Fatal,
            Self::EndedByCaller => StoreErrorKind::Ambiguous,
        }
    }

    /// The failure of a commit. Where a write failed, the log has no end of this transaction in it;
    /// where anything after that did, such as the flush, nobody knows what a crash would bring back.
    pub(crate) fn of_commit(error: &rusqlite::Error) -> Self {
        let is_write = error
            .sqlite_error()
            .is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_WRITE);
        let kind = match kind(error) {
            StoreErrorKind::Io if !is_write => StoreErrorKind::Ambiguous,
            kind => kind,
        };
        let text = error.to_string();
        Self::Sqlite { kind, text }
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
        E::SqliteFailure(failure, _) => of_sqlite(*failure),
        E::FromSqlConversionFailure(..)
        | E::IntegralValueOutOfRange(..)
        | E::InvalidColumnType(..)
        | E::Utf8Error(..) => StoreErrorKind::Schema,
        _ => StoreErrorKind::Fatal,
    }
}

fn of_sqlite(error: ffi::Error) -> StoreErrorKind {
    match error.code {
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::OperationInterrupted
        | ErrorCode::OutOfMemory => StoreErrorKind::Transient,
        ErrorCode::DiskFull | ErrorCode::TooBig => StoreErrorKind::Full,
        ErrorCode::ReadOnly
        | ErrorCode::PermissionDenied
        | ErrorCode::AuthorizationForStatementDenied
        | ErrorCode::CannotOpen => StoreErrorKind::Denied,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::SchemaChanged => {
            StoreErrorKind::Schema
        }
        ErrorCode::SystemIoFailure => of_disk(error.extended_code),
        _ => StoreErrorKind::Fatal,
    }
}

/// The operating system says why; SQLite passes on only which call it was. Of a write that finds no
/// room on the disk it says `FULL` instead.
fn of_disk(extended_code: i32) -> StoreErrorKind {
    match extended_code {
        ffi::SQLITE_IOERR_LOCK
        | ffi::SQLITE_IOERR_RDLOCK
        | ffi::SQLITE_IOERR_SHMLOCK
        | ffi::SQLITE_IOERR_BLOCKED
        | ffi::SQLITE_IOERR_NOMEM => StoreErrorKind::Transient,
        ffi::SQLITE_IOERR_ACCESS | ffi::SQLITE_IOERR_AUTH => StoreErrorKind::Denied,
        ffi::SQLITE_IOERR_CORRUPTFS | ffi::SQLITE_IOERR_DATA => StoreErrorKind::Schema,
        _ => StoreErrorKind::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: i32) -> StoreErrorKind {
        kind(&rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
    }

    /// JOB-6, JOB-11: each class of failure is told from the others; a busy file is never a fatal
    /// one.
    #[test]
    fn every_class_of_sqlite_error_has_its_kind() {
        use StoreErrorKind::{Denied, Fatal, Full, Io, Schema, Transient};
        let table = [
            (ffi::SQLITE_BUSY, Transient),
            (ffi::SQLITE_BUSY_SNAPSHOT, Transient),
            (ffi::SQLITE_BUSY_RECOVERY, Transient),
            (ffi::SQLITE_LOCKED, Transient),
            (ffi::SQLITE_LOCKED_SHAREDCACHE, Transient),
            (ffi::SQLITE_PROTOCOL, Transient),
            (ffi::SQLITE_NOMEM, Transient),
            (ffi::SQLITE_FULL, Full),
            (ffi::SQLITE_IOERR_WRITE, Io),
            (ffi::SQLITE_IOERR_TRUNCATE, Io),
            (ffi::SQLITE_IOERR_FSYNC, Io),
            (ffi::SQLITE_READONLY, Denied),
            (ffi::SQLITE_READONLY_DIRECTORY, Denied),
            (ffi::SQLITE_PERM, Denied),
            (ffi::SQLITE_CANTOPEN, Denied),
            (ffi::SQLITE_CORRUPT, Schema),
            (ffi::SQLITE_CORRUPT_INDEX, Schema),
            (ffi::SQLITE_NOTADB, Schema),
            (ffi::SQLITE_IOERR_SHMLOCK, Transient),
            (ffi::SQLITE_IOERR_READ, Io),
            (ffi::SQLITE_IOERR_AUTH, Denied),
            (ffi::SQLITE_CONSTRAINT_FOREIGNKEY, Fatal),
            (ffi::SQLITE_CONSTRAINT_CHECK, Fatal),
            (ffi::SQLITE_MISUSE, Fatal),
        ];
        for (code, kind) in table {
            assert_eq!(of(code), kind, "{code}");
        }
    }

    /// JOB-36: a commit whose flush failed may come back after a crash: neither done nor undone.
    #[test]
    fn a_commit_that_the_disk_failed_is_ambiguous() {
        let of = |code| {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            Failure::of_commit(&error).kind()
        };
        assert_eq!(of(ffi::SQLITE_IOERR_FSYNC), StoreErrorKind::Ambiguous);
        assert_eq!(of(ffi::SQLITE_IOERR_WRITE), StoreErrorKind::Io);
        assert_eq!(of(ffi::SQLITE_FULL), StoreErrorKind::Full);
        assert_eq!(of(ffi::SQLITE_BUSY), StoreErrorKind::Transient);
    }
}
