//! The file that is open, and whether it is still the one at its path.

use std::path::{Path, PathBuf};

use super::failure::Failure;

/// A file that is removed or replaced while it is open lives on without a name, and SQLite goes on
/// writing to it: what is acknowledged then ends with the process. So it is looked for before each
/// transaction.
#[derive(Debug)]
pub(crate) struct Presence {
    path: PathBuf,
    number: Option<(u64, u64)>,
}

impl Presence {
    pub(crate) fn of(path: &Path) -> Self {
        Self {
            path: path.into(),
            number: number(path),
        }
    }

    pub(crate) fn check(&self) -> Result<(), Failure> {
        match number(&self.path) == self.number {
            true => Ok(()),
            false => Err(Failure::Gone),
        }
    }
}

/// Device and number of the file: what it is, whatever its name.
#[cfg(unix)]
fn number(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Where a file that is open cannot be removed.
#[cfg(not(unix))]
fn number(_: &Path) -> Option<(u64, u64)> {
    None
}
