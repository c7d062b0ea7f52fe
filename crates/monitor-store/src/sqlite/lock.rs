//! The right to own a database file, held by one process at a time.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::open_error::{OpenError, io_error};

/// An exclusive right to the database at a path, held until dropped.
///
/// INV-STORE-3: of all open stores at most one has a given file. SQLite itself would let two
/// daemons take turns on it, and each would schedule every monitor. The right is an advisory lock
/// (`flock`) on a file of its own: the kernel gives it back however the process ends, and it
/// stands in no way of `sqlite3` reading along. The file stays: removing it would let two
/// processes lock two different files of the same name.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    pub(crate) fn acquire(database: &Path) -> Result<Self, OpenError> {
        let path = beside(database, "-lock");
        let open = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut file = open.map_err(|error| io_error(&path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked {
                    path: database.into(),
                    holder: holder(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(io_error(&path, error)),
        }
        // Only a courtesy to whoever finds it locked: a full disk must not keep the store shut.
        if let Err(error) = sign(&mut file) {
            tracing::debug!(%error, path = %path.display(), "cannot write the holder's id");
        }
        Ok(Self { _file: file })
    }
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The path with `suffix` added to its file name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
