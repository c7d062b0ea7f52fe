//! What a store is opened with.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// What a [`SqliteStore`](crate::SqliteStore) is opened with.
///
/// ```
/// use monitor_store::Options;
/// use std::time::Duration;
///
/// let options = Options {
///     retain_history: Duration::from_secs(7 * 24 * 3600),
///     ..Options::new("monitor.sqlite")
/// };
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    /// The database file. Created when absent; its directory must exist. Beside it live
    /// `<path>-wal` and `<path>-shm` (SQLite's) and `<path>-lock`.
    pub path: PathBuf,
    /// How long a line of history is kept, counted from the newest one of the store. 6 hours. Lines
    /// at which the verdict changed are kept as long as the counts by hours.
    pub retain_history: Duration,
    /// How long counts by minutes are kept. 48 hours.
    pub retain_minutes: Duration,
    /// How long counts by hours are kept, and lines at which the verdict changed. 90 days.
    pub retain_hours: Duration,
    /// How long counts by days are kept, and incidents that are over. Two years.
    pub retain_days: Duration,
    /// How large the file may become, in bytes, rounded down to whole pages; never less than it
    /// is. From seven eighths of it on, the oldest goes before its age: lines down to an hour, then
    /// counts by minutes down to 6 hours, then those by hours down to 7 days. At the size itself
    /// commits fail. The write-ahead log comes on top, up to 16 MiB. `None`: as large as the disk
    /// allows.
    pub max_size: Option<u64>,
    /// How many commands may wait for the writer before callers wait for a place. 4096.
    pub queue: NonZeroUsize,
    /// How many commands go into one transaction at most. 1024.
    pub max_batch: NonZeroUsize,
    /// How long to wait for another program that is writing to the file, such as a backup, before
    /// a command fails as busy. 5 seconds.
    pub busy_timeout: Duration,
}

impl Options {
    /// The defaults, for the file at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Self {
            path: path.into(),
            retain_history: 6 * HOUR,
            retain_minutes: 48 * HOUR,
            retain_hours: 90 * 24 * HOUR,
            retain_days: 730 * 24 * HOUR,
            max_size: None,
            queue: const { NonZeroUsize::new(4096).unwrap() },
            max_batch: const { NonZeroUsize::new(1024).unwrap() },
            busy_timeout: Duration::from_secs(5),
        }
    }
}
