//! Why a file could not be opened for jobs, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use super::failure::kind;
use crate::{StoreError, StoreErrorKind};

/// Why a file could not be opened: the source of the [`StoreError`] of
/// [`SqliteJobs::open`](crate::SqliteJobs::open). The file is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqliteOpenError {
    /// The directory that should hold the file is not there.
    #[error(
        "{}: there is no directory {}; create it first",
        path.display(),
        directory.display()
    )]
    MissingDirectory {
        /// The database file.
        path: PathBuf,
        /// Its directory.
        directory: PathBuf,
    },
    /// The path names a directory, a device or the like.
    #[error(
        "{}: it is not a file; give the path of a file in a directory that exists",
        path.display()
    )]
    NotAFile {
        /// What was given.
        path: PathBuf,
    },
    /// The file or its directory may not be read or written.
    #[error(
        "{}: it may not be written ({text}); make it writable for this user (SQLite writes beside \
         its file too)",
        path.display()
    )]
    Denied {
        /// What may not be written.
        path: PathBuf,
        /// What the operating system or SQLite says.
        text: String,
    },
    /// The file is no SQLite database, or is damaged.
    #[error(
        "{}: it is no SQLite database, or is damaged ({text}); move it away or restore a backup",
        path.display()
    )]
    NotADatabase {
        /// The database file.
        path: PathBuf,
        /// What SQLite says.
        text: String,
    },
    /// The file is an SQLite database of another program.
    #[error(
        "{}: it is an SQLite database of another program; give another path, or adopt it if it \
         is yours",
        path.display()
    )]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// The file was written by a newer version of this crate.
    #[error(
        "{}: its jobs have schema version {found}, this program knows up to {supported}; use a \
         newer program or another file",
        path.display()
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// The version found in it.
        found: i64,
        /// The newest version that this program knows.
        supported: i64,
    },
    /// SQLite or the operating system refused.
    #[error("{}: {text}", path.display())]
    Failed {
        /// The database file.
        path: PathBuf,
        /// The kind of failure.
        kind: StoreErrorKind,
        /// What was said.
        text: String,
    },
}

impl SqliteOpenError {
    /// The kind of failure.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        match self {
            Self::MissingDirectory { .. } | Self::NotAFile { .. } | Self::Denied { .. } => {
                StoreErrorKind::Denied
            }
            Self::NotADatabase { .. } | Self::Foreign { .. } | Self::Newer { .. } => {
                StoreErrorKind::Schema
            }
            Self::Failed { kind, .. } => *kind,
        }
    }

    pub(crate) fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, text) = (path.into(), error.to_string());
        match kind(error) {
            StoreErrorKind::Schema => Self::NotADatabase { path, text },
            StoreErrorKind::Denied => Self::Denied { path, text },
            kind => Self::Failed { path, kind, text },
        }
    }

    /// The error for an operation of the operating system on `path`.
    pub(crate) fn io(path: &Path, error: &io::Error) -> Self {
        let (path, text) = (path.into(), error.to_string());
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { path, text }
            }
            _ => Self::Failed {
                path,
                kind: StoreErrorKind::Fatal,
                text,
            },
        }
    }
}

impl From<SqliteOpenError> for StoreError {
    fn from(error: SqliteOpenError) -> Self {
        Self {
            action: "open the database",
            kind: error.kind(),
            source: Box::new(error),
        }
    }
}
