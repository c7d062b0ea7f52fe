//! Snapshots and a journal in a folder: a queue in memory that outlives its process.
//!
//! `full-<n>.ndjson` is everything after `n` changes, put in place by a rename;
//! `log-<n>.ndjson` are the changes after it. Each change is in the log before it is made.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::lines;
use super::op::Op;
use super::world::World;

/// A snapshot or a journal was not read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// A file could not be read or written. What was there stands.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is damaged where no crash can have damaged it. Nothing was restored.
    #[error("{} is damaged in line {line}: restore an older snapshot", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// There is nothing to restore up to that time.
    #[error("{} holds no snapshot from before that time", path.display())]
    Nothing {
        /// Which folder.
        path: PathBuf,
    },
    /// The queue is not empty, and nothing was said about that.
    #[error("the queue holds {jobs} jobs: choose to replace them, or to keep what is newer")]
    Conflict {
        /// How many jobs it holds.
        jobs: usize,
    },
    /// The queue is closed.
    #[error("the queue is closed")]
    Closed,
}

/// What a restore does with a queue that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// It is refused.
    #[default]
    Refuse,
    /// The snapshot takes its place.
    Replace,
    /// Whichever has seen more changes stands.
    KeepNewer,
}

/// A change in the log, and when it was made.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    at: i64,
    op: Op,
}

/// The log that changes go to.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    log: File,
    /// How long its whole lines are.
    len: u64,
    /// Whether each change is on the disk before it is made.
    sync: bool,
}

/// What was restored.
#[derive(Debug)]
pub(super) struct Restored {
    /// Changes so far.
    pub(super) version: u64,
    /// When the last of them was made.
    pub(super) at: i64,
    pub(super) world: World,
}

impl Journal {
    /// Opens a folder: what it holds, and the journal that goes on from there.
    pub(super) fn open(folder: &Path, sync: bool) -> Result<(Self, Restored), SnapshotError> {
        fs::create_dir_all(folder).map_err(in_file("create", folder))?;
        let restored = match restore(folder, None) {
            Err(SnapshotError::Nothing { .. }) => Restored {
                version: 0,
                at: i64::MIN,
                world: World::default(),
            },
            restored => restored?,
        };
        let journal = Self::begin(folder, sync, &restored)?;
        Ok((journal, restored))
    }

    /// Writes a full snapshot and begins a new log after it. A crash in between leaves the old ones.
    pub(super) fn begin(
        folder: &Path,
        sync: bool,
        state: &Restored,
    ) -> Result<Self, SnapshotError> {
        let path = folder.join(format!("full-{:020}.ndjson", state.version));
        let draft = folder.join("full.draft");
        let mut bytes = Vec::new();
        for row in state.world.dump(state.version, state.at) {
            bytes.extend(lines::line(&row).map_err(|error| in_file("write", &path)(error.into()))?);
        }
        let written = File::create(&draft).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        });
        written.map_err(in_file("write", &draft))?;
        let log_path = folder.join(format!("log-{:020}.ndjson", state.version));
        // Emptied before the snapshot stands: a log is never applied to another snapshot's state.
        let log = File::create(&log_path).map_err(in_file("create", &log_path))?;
        fs::rename(&draft, &path).map_err(in_file("put in place", &path))?;
        Ok(Self {
            folder: folder.to_owned(),
            log,
            len: 0,
            sync,
        })
    }

    pub(super) fn begin_anew(&mut self, state: &Restored) -> Result<(), SnapshotError> {
        *self = Self::begin(&self.folder, self.sync, state)?;
        Ok(())
    }

    /// A change that is about to be made. After an error it must not be made.
    pub(super) fn record(&mut self, at: i64, op: Op) -> io::Result<()> {
        let line = lines::line(&Record { at, op })?;
        let written = self.log.write_all(&line);
        let written = match self.sync {
            true => written.and_then(|()| self.log.sync_data()),
            false => written,
        };
        match written {
            Ok(()) => {
                self.len += line.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Whatever of it was written is taken back; if that fails, it is torn, and dropped
                // when it is read.
                let _ = self.log.set_len(self.len);
                Err(error)
            }
        }
    }
}

#[cfg(test)]
impl Journal {
    /// Writes go to that file from now on.
    pub(super) fn break_with(&mut self, log: File) {
        self.log = log;
    }
}

/// The newest state that a folder holds, up to a unix time in milliseconds.
pub(super) fn restore(folder: &Path, until_ms: Option<i64>) -> Result<Restored, SnapshotError> {
    let nothing = || SnapshotError::Nothing {
        path: folder.to_owned(),
    };
    let mut versions = versions(folder)?;
    versions.sort_unstable();
    while let Some(version) = versions.pop() {
        let path = folder.join(format!("full-{version:020}.ndjson"));
        let bytes = fs::read(&path).map_err(in_file("read", &path))?;
        let rows = lines::read(&bytes);
        let line = rows.damaged.unwrap_or(rows.values.len());
        let Some(mut restored) = World::load(rows.values) else {
            return Err(SnapshotError::Damaged { path, line });
        };
        if until_ms.is_none_or(|until| restored.at <= until) {
            replay_log(folder, &mut restored, until_ms)?;
            return Ok(restored);
        }
    }
    Err(nothing())
}

/// Applies the changes up to then.
fn replay_log(
    folder: &Path,
    restored: &mut Restored,
    until_ms: Option<i64>,
) -> Result<(), SnapshotError> {
    let path = folder.join(format!("log-{:020}.ndjson", restored.version));
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        bytes => bytes.map_err(in_file("read", &path))?,
    };
    let records = lines::read::<Record>(&bytes);
    if let Some(line) = records.damaged {
        return Err(SnapshotError::Damaged { path, line });
    }
    for record in records.values {
        if until_ms.is_some_and(|until| record.at > until) {
            break;
        }
        restored.world.replay(record.at, &record.op);
        restored.version += 1;
        restored.at = record.at;
    }
    Ok(())
}

fn versions(folder: &Path) -> Result<Vec<u64>, SnapshotError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(in_file("list", folder))?,
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let version = |name: String| {
        let number = name.strip_prefix("full-")?.strip_suffix(".ndjson")?;
        number.parse().ok()
    };
    Ok(names.filter_map(version).collect())
}

/// The log after that full snapshot.
#[cfg(test)]
pub(super) fn log_of(folder: &Path, version: u64) -> PathBuf {
    folder.join(format!("log-{version:020}.ndjson"))
}

fn in_file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    let path = path.to_owned();
    move |source| SnapshotError::File {
        action,
        path,
        source,
    }
}
