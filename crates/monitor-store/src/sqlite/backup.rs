//! A copy of a database that is in use: complete, of one instant, and looked at before it counts.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::backup_error::BackupError;
use super::lock::beside;
use super::migrate::{self, Found};

/// Pages copied in one step: a MiB.
const STEP_PAGES: i32 = 256;

/// How long to wait for a lock on the source before the copy fails as busy.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How far a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupProgress {
    /// Bytes copied so far.
    pub copied_bytes: u64,
    /// Bytes in all. It does not change: the copy is of the instant at which it began.
    pub total_bytes: u64,
}

/// Copies the database at `from`, which may be in use by another process, to a new file `to`.
///
/// The copy holds everything that was committed when it began, and nothing later. Commits go on
/// meanwhile; only the log beside the database is not cut back until the copy is complete. It is
/// written as `<to>.partial`, checked, flushed, and has its name only then: a file called `to` is
/// whole. One file, without a log, to be opened like any other.
///
/// `progress` is called after each MiB. Blocks for as long as the disk takes; needs no runtime.
///
/// To restore, stop whoever uses the database, remove it together with the files of the same name
/// and `-wal` or `-shm` behind it - the log of another database would be applied to it -, and put
/// a copy of the backup in its place.
///
/// # Errors
///
/// A [`BackupError`] says which file is in the way, missing, read-only or damaged. Then there is no
/// file `to` that was not there before, and nothing is left beside it.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let (database, copy) = (folder.path().join("monitor.sqlite"), folder.path().join("copy"));
/// # let store = monitor_store::SqliteStore::open(monitor_store::Options::new(&database))?;
/// let size = monitor_store::backup(&database, &copy, |progress| {
///     println!("{} of {} bytes", progress.copied_bytes, progress.total_bytes);
/// })?;
/// assert_eq!(size, std::fs::metadata(&copy)?.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn backup(
    from: &Path,
    to: &Path,
    mut progress: impl FnMut(BackupProgress),
) -> Result<u64, BackupError> {
    copy(from, to, &mut |now| {
        progress(now);
        true
    })
}

/// As [`backup`]; ends when `go_on` says so.
pub(crate) fn copy(
    from: &Path,
    to: &Path,
    go_on: &mut dyn FnMut(BackupProgress) -> bool,
) -> Result<u64, BackupError> {
    let directory = target(to)?;
    let source = source(from)?;
    let partial = Partial::create(to)?;
    fill(&source, from, &partial.path, to, go_on)?;
    verify(&partial.path, from)?;
    let failed = |error| BackupError::io(to, error);
    partial.file.sync_all().map_err(failed)?;
    let bytes = partial.file.metadata().map_err(failed)?.len();
    partial.keep(to)?;
    let directory = File::open(directory).map_err(failed)?;
    directory.sync_all().map_err(failed)?;
    Ok(bytes)
}

/// The directory of the copy, if it can be made there.
fn target(to: &Path) -> Result<&Path, BackupError> {
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists { path: to.into() });
    }
    let directory = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if directory.is_dir() {
        return Ok(directory);
    }
    Err(BackupError::MissingDirectory {
        path: to.into(),
        directory: directory.into(),
    })
}

/// A connection that reads one instant of the source until it is dropped.
fn source(from: &Path) -> Result<Connection, BackupError> {
    if !from.is_file() {
        return Err(BackupError::MissingSource { path: from.into() });
    }
    let open = || -> rusqlite::Result<(Connection, Found)> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(from, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // An open transaction is what keeps later commits out of the copy: without it, every commit
        // would make the copy begin again.
        connection.execute_batch("BEGIN")?;
        let found = migrate::look(&connection)?;
        Ok((connection, found))
    };
    match open().map_err(|error| BackupError::sqlite(from, &error))? {
        (connection, Found::Version(_)) => Ok(connection),
        (_, Found::Empty | Found::Foreign) => Err(BackupError::Foreign { path: from.into() }),
    }
}

fn fill(
    source: &Connection,
    from: &Path,
    partial: &Path,
    to: &Path,
    go_on: &mut dyn FnMut(BackupProgress) -> bool,
) -> Result<(), BackupError> {
    let failed = |error: rusqlite::Error| BackupError::sqlite(to, &error);
    let mut copy = Connection::open(partial).map_err(failed)?;
    // It is flushed as a whole before it gets its name.
    copy.pragma_update(None, "synchronous", "off")
        .map_err(failed)?;
    let page_bytes: u64 = source
        .pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0))
        .map_err(|error| BackupError::sqlite(from, &error))?
        .into();
    {
        let backup = Backup::new(source, &mut copy).map_err(failed)?;
        loop {
            let step = backup.step(STEP_PAGES).map_err(failed)?;
            let now = backup.progress();
            let bytes = |pages: i32| u64::from(pages.unsigned_abs()) * page_bytes;
            let progress = BackupProgress {
                copied_bytes: bytes(now.pagecount - now.remaining),
                total_bytes: bytes(now.pagecount),
            };
            if !go_on(progress) {
                return Err(BackupError::Cancelled { path: to.into() });
            }
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                // Somebody writes to the source in a mode without log, or to our own file.
                _ => return Err(BackupError::busy(from)),
            }
        }
    }
    // The copy is one file, without a log beside it.
    copy.pragma_update(None, "journal_mode", "delete")
        .map_err(failed)?;
    copy.close().map_err(|(_, error)| failed(error))
}

/// Reads the copy as a whole. What is wrong with it was wrong with the source.
fn verify(partial: &Path, from: &Path) -> Result<(), BackupError> {
    let check = || -> rusqlite::Result<String> {
        let copy = Connection::open_with_flags(partial, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        copy.pragma_query_value(None, "quick_check", |row| row.get(0))
    };
    let text = check().unwrap_or_else(|error| error.to_string());
    if text == "ok" {
        return Ok(());
    }
    Err(BackupError::Damaged {
        path: from.into(),
        text,
    })
}

/// The copy before it has its name. Dropped, it is removed.
struct Partial {
    path: PathBuf,
    /// Locked, so that two backups to one name do not write to one file. Closed last: closing any
    /// handle of a file gives back the locks that SQLite has on it.
    file: File,
    is_kept: bool,
}

impl Partial {
    fn create(to: &Path) -> Result<Self, BackupError> {
        let path = beside(to, ".partial");
        let failed = |error| BackupError::io(&path, error);
        let mut open = File::options();
        open.read(true).write(true).create(true).truncate(false);
        let file = open.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BackupError::busy(&path)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // One that was killed may have left a part.
        file.set_len(0).map_err(failed)?;
        Ok(Self {
            path,
            file,
            is_kept: false,
        })
    }

    /// Gives it its name, if nobody else has that by now.
    fn keep(mut self, to: &Path) -> Result<(), BackupError> {
        match fs::hard_link(&self.path, to) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(BackupError::Exists { path: to.into() })
            }
            // A file system without links.
            Err(_) => {
                let renamed = fs::rename(&self.path, to);
                self.is_kept = renamed.is_ok();
                renamed.map_err(|error| BackupError::io(to, error))
            }
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        for path in [self.path.clone(), beside(&self.path, "-journal")] {
            // Gone already, or nothing that can be done about it.
            let _ = fs::remove_file(path);
        }
    }
}
