//! Why a database could not be opened, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use monitor_model::{StoreError, StoreErrorKind};

use super::failure::{Failure, kind};

/// Why a database could not be opened: the source of the [`StoreError`] of
/// [`SqliteStore::open`](crate::SqliteStore::open). The file is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
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
    /// The file or its directory may not be written.
    #[error(
        "{}: it is read-only; make it writable for this user (SQLite writes beside its file too)",
        path.display()
    )]
    ReadOnly {
        /// What may not be written.
        path: PathBuf,
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
        "{}: it is an SQLite database of another program; give another path",
        path.display()
    )]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// The file was written by a newer version of this program.
    #[error(
        "{}: its schema has version {found}, this program knows up to {supported}; \
         use a newer program or another file",
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
    /// Another process has the database open.
    #[error(
        "{}: it is in use by {}; stop that or give another path",
        path.display(),
        Holder(*holder)
    )]
    Locked {
        /// The database file.
        path: PathBuf,
        /// The id of the process that has it, if it could be told.
        holder: Option<u32>,
    },
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("{}: {text}", path.display())]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// The kind of failure.
        kind: StoreErrorKind,
        /// What SQLite says.
        text: String,
    },
}

struct Holder(Option<u32>);

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(id) => write!(f, "process {id}"),
            None => f.write_str("another process"),
        }
    }
}

impl OpenError {
    /// The kind of failure.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        match self {
            Self::MissingDirectory { .. } | Self::NotAFile { .. } | Self::Io { .. } => {
                StoreErrorKind::Io
            }
            Self::ReadOnly { .. } => StoreErrorKind::ReadOnly,
            Self::NotADatabase { .. } | Self::Foreign { .. } => StoreErrorKind::Corrupt,
            Self::Newer { .. } => StoreErrorKind::Newer,
            Self::Locked { .. } => StoreErrorKind::Busy,
            Self::Sqlite { kind, .. } => *kind,
        }
    }

    pub(crate) fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, text) = (path.into(), error.to_string());
        match kind(error) {
            StoreErrorKind::Corrupt => Self::NotADatabase { path, text },
            StoreErrorKind::ReadOnly => Self::ReadOnly { path },
            kind => Self::Sqlite { path, kind, text },
        }
    }

    pub(crate) fn failed(path: &Path, failure: &Failure) -> Self {
        Self::Sqlite {
            path: path.into(),
            kind: failure.kind(),
            text: failure.to_string(),
        }
    }
}

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        Self {
            action: "open the database",
            kind: error.kind(),
            source: Box::new(error),
        }
    }
}

/// The error for an operation of the operating system on `path`.
pub(crate) fn io_error(path: &Path, source: io::Error) -> OpenError {
    let path = path.into();
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            OpenError::ReadOnly { path }
        }
        _ => OpenError::Io { path, source },
    }
}
