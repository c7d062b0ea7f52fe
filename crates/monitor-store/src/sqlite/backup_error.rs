//! Why a database could not be copied, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use monitor_model::StoreErrorKind;

use super::failure::kind;

/// Why a [`backup`](crate::backup) failed. No file was left behind, and none that was there before
/// was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There is no database to copy.
    #[error("{}: there is no such file; give the path of a database", path.display())]
    MissingSource {
        /// What should be copied.
        path: PathBuf,
    },
    /// What should be copied is no database of this program.
    #[error("{}: it is no database of this program", path.display())]
    Foreign {
        /// What should be copied.
        path: PathBuf,
    },
    /// What should be copied, or its copy, cannot be read as a whole.
    #[error("{}: it is damaged ({text}); a copy would be too", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        text: String,
    },
    /// The copy would replace something.
    #[error("{}: it exists already; give another name or move it away", path.display())]
    Exists {
        /// What is in the way.
        path: PathBuf,
    },
    /// The directory of the copy is not there.
    #[error(
        "{}: there is no directory {}; create it first",
        path.display(),
        directory.display()
    )]
    MissingDirectory {
        /// The copy.
        path: PathBuf,
        /// Its directory.
        directory: PathBuf,
    },
    /// It may not be written or read.
    #[error("{}: permission denied, or read-only; give a place that this user may write to", path.display())]
    Denied {
        /// What was refused.
        path: PathBuf,
    },
    /// The disk of the copy is full.
    #[error("{}: no room left on its disk; make room or give another place", path.display())]
    NoRoom {
        /// The copy.
        path: PathBuf,
    },
    /// Somebody else holds it.
    #[error("{}: another program is writing to it; try again later", path.display())]
    Busy {
        /// What is held.
        path: PathBuf,
    },
    /// Nobody waits for it any more.
    #[error("{}: the backup was called off", path.display())]
    Cancelled {
        /// The copy.
        path: PathBuf,
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
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        text: String,
    },
}

impl BackupError {
    /// The kind of failure.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Foreign { .. } | Self::Damaged { .. } => StoreErrorKind::Corrupt,
            Self::Exists { .. } => StoreErrorKind::Conflict,
            Self::Denied { .. } => StoreErrorKind::ReadOnly,
            Self::NoRoom { .. } => StoreErrorKind::Full,
            Self::Busy { .. } => StoreErrorKind::Busy,
            Self::Cancelled { .. } => StoreErrorKind::Closed,
            Self::MissingSource { .. }
            | Self::MissingDirectory { .. }
            | Self::Io { .. }
            | Self::Sqlite { .. } => StoreErrorKind::Io,
        }
    }

    pub(crate) fn busy(path: &Path) -> Self {
        Self::Busy { path: path.into() }
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { path }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoRoom { path },
            _ => Self::Io { path, source },
        }
    }

    pub(crate) fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, text) = (path.into(), error.to_string());
        match kind(error) {
            StoreErrorKind::Full => Self::NoRoom { path },
            StoreErrorKind::Busy => Self::Busy { path },
            StoreErrorKind::ReadOnly => Self::Denied { path },
            StoreErrorKind::Corrupt => Self::Damaged { path, text },
            _ => Self::Sqlite { path, text },
        }
    }
}
