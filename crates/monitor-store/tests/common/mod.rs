//! What the tests of the store share.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![expect(clippy::unwrap_used, reason = "tests panic")]

use std::path::PathBuf;

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

    pub(crate) fn open(&self) -> SqliteStore {
        SqliteStore::open(self.options()).unwrap()
    }

    /// A connection of the test's own, beside whatever store is open.
    pub(crate) fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
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
