//! What the tests of the store share.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![expect(clippy::unwrap_used, reason = "tests panic")]

use std::path::PathBuf;
use std::time::Duration;

use monitor_model::{Applied, Commit, Record, Store};
use monitor_store::{Options, SqliteStore};
use tempfile::TempDir;

/// A folder with a database file, removed when dropped.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("monitor-store-").tempdir();
        Self {
            folder: folder.unwrap(),
        }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder().join("monitor.sqlite")
    }

    pub(crate) fn options(&self) -> Options {
        Options::new(self.path())
    }

    /// Options with which nothing goes by age.
    pub(crate) fn keeping_all(&self) -> Options {
        Options {
            retain_history: Duration::MAX,
            retain_minutes: Duration::MAX,
            retain_hours: Duration::MAX,
            retain_days: Duration::MAX,
            ..self.options()
        }
    }

    pub(crate) fn open(&self) -> SqliteStore {
        SqliteStore::open(self.options()).unwrap()
    }

    /// A connection of the test's own, beside whatever store is open.
    pub(crate) fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }

    /// Puts so many lines of the first monitor into the file of a closed store, as if written over
    /// days, with the sequences 1, 2 and so on and due that many milliseconds after `since_unix_ms`.
    /// The note is in SQL.
    pub(crate) fn put_lines(&self, count: u32, since_unix_ms: i64, note: &str) {
        let put = format!(
            "WITH RECURSIVE series(value) AS
                 (SELECT 1 UNION ALL SELECT value + 1 FROM series WHERE value < {count})
             INSERT INTO history (monitor, due_unix_ms, sequence, slots, interval_ms, epoch,
                                  outcome, changed, manual, late_ms, note)
             SELECT 1, value + {since_unix_ms}, value, 1, 1, 1, 1, 0, 0, 0, {note} FROM series"
        );
        self.sql().execute_batch(&put).unwrap();
    }

    /// The first column of the first row.
    pub(crate) fn ask<T: rusqlite::types::FromSql>(&self, query: &str) -> T {
        self.sql().query_row(query, [], |row| row.get(0)).unwrap()
    }
}

/// Commits a record that must not be refused.
pub(crate) async fn applied(store: &dyn Store, record: Record) -> Applied {
    match store.commit(record).await.unwrap() {
        Commit::Applied(applied) => applied,
        Commit::Refused(refusal) => panic!("refused: {refusal:?}"),
    }
}
