//! What jobs in an SQLite file are opened with.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What [`SqliteJobs`](crate::SqliteJobs) are opened with.
///
/// ```
/// use monitor_jobs::{Durability, SqliteOptions};
///
/// let options = SqliteOptions {
///     durability: Durability::Process,
///     ..SqliteOptions::new("jobs.sqlite")
/// };
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The database file. Created when absent; its directory must exist. SQLite keeps
    /// `<path>-wal` and `<path>-shm` beside it.
    pub path: PathBuf,
    /// What an answer promises. [`Durability::Power`].
    pub durability: Durability,
    /// Whether a file that holds tables of another program, and none that says whose, is taken:
    /// for jobs in the file of an application. Its tables are left alone; the file is switched to a
    /// write-ahead log. No.
    pub adopt: bool,
    /// How large the file may become, in bytes, rounded down to whole pages; never less than it
    /// is. The write-ahead log comes on top, a few MiB. `None`: as large as the disk allows.
    pub max_size: Option<u64>,
    /// How many commands may wait for the writer before callers wait for a place. 1024.
    pub queue: NonZeroUsize,
    /// How many commands go into one transaction at most. 256.
    pub max_batch: NonZeroUsize,
    /// How long to wait for another process that is writing to the file before a command fails as
    /// [transient](crate::StoreErrorKind::Transient). 5 seconds.
    pub busy_timeout: Duration,
    /// How often to look, while somebody waits, whether another process has changed the file. 20
    /// milliseconds.
    pub poll: Duration,
    /// What says the time. The clock of the system.
    pub clock: Clock,
}

impl SqliteOptions {
    /// The defaults, for the file at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            durability: Durability::default(),
            adopt: false,
            max_size: None,
            queue: const { NonZeroUsize::new(1024).unwrap() },
            max_batch: const { NonZeroUsize::new(256).unwrap() },
            busy_timeout: Duration::from_secs(5),
            poll: Duration::from_millis(20),
            clock: Clock::default(),
        }
    }
}

/// What an answer promises about what it answers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Durability {
    /// It is on disk: neither a killed process nor a power cut takes it back. One flush for each
    /// transaction (`synchronous = FULL`), shared by all commands in it.
    #[default]
    Power,
    /// It survives the process, killed at any instant; a power cut may take the last transactions
    /// back, the latest first, each whole (`synchronous = NORMAL`).
    Process,
}

impl Durability {
    pub(crate) const fn synchronous(self) -> &'static str {
        match self {
            Self::Power => "full",
            Self::Process => "normal",
        }
    }
}

/// What says the time, in unix milliseconds: the clock by which jobs become due. Liveness does not
/// hang on it, so it may jump.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// A clock that asks `now`. Called on the thread that writes, so it must not block.
    #[must_use]
    pub fn new(now: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(crate) fn now_unix_ms(&self) -> i64 {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            // Before 1970, and in 292 million years, it stands still.
            since.map_or(0, |since| {
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            })
        })
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now_unix_ms()).finish()
    }
}
