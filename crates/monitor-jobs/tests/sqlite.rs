//! SQLite keeps every promise of the suite, and behaves as the model does.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use monitor_jobs::conformance::{Base, Rig, START_MS};
use monitor_jobs::rusqlite::Connection;
use monitor_jobs::{
    Backend, Claimed, Clock, Durability, Jobs, NewJob, SettleError, SqliteJobs, SqliteOptions,
};
use monitor_testkit::sqlite;
use tempfile::TempDir;

struct InFile;

struct Database {
    jobs: SqliteJobs,
    clock: Arc<AtomicI64>,
    folder: Arc<TempDir>,
}

impl Database {
    fn open(folder: Arc<TempDir>, clock: Arc<AtomicI64>) -> Self {
        let options = SqliteOptions {
            // Nobody cuts the power of a test.
            durability: Durability::Process,
            clock: Clock::new({
                let clock = Arc::clone(&clock);
                move || clock.load(Ordering::SeqCst)
            }),
            ..SqliteOptions::new(folder.path().join("jobs.sqlite"))
        };
        Self {
            jobs: SqliteJobs::open(&options).unwrap(),
            clock,
            folder,
        }
    }

    /// As another program sees the file.
    fn sql(&self) -> Connection {
        Connection::open(self.folder.path().join("jobs.sqlite")).unwrap()
    }
}

#[async_trait]
impl Rig for InFile {
    async fn fresh(&self) -> Arc<dyn Base> {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let clock = Arc::new(AtomicI64::new(START_MS));
        Arc::new(Database::open(folder, clock))
    }
}

#[async_trait]
impl Base for Database {
    fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(self.jobs.clone())
    }

    async fn set_clock(&self, unix_ms: i64) {
        self.clock.store(unix_ms, Ordering::SeqCst);
    }

    async fn reopen(&self) -> Arc<dyn Base> {
        let (folder, clock) = (Arc::clone(&self.folder), Arc::clone(&self.clock));
        self.jobs.close().await.unwrap();
        Arc::new(Self::open(folder, clock))
    }

    async fn trace(&self) {
        sqlite::trace(&self.sql()).unwrap();
    }

    async fn traced(&self) -> Vec<String> {
        sqlite::traced(&self.sql()).unwrap()
    }

    async fn fail(&self, change: Option<&str>) {
        sqlite::fail(&self.sql(), change).unwrap();
    }

    async fn in_transaction(
        &self,
        claimed: Claimed,
        jobs: Vec<NewJob>,
        commit: bool,
    ) -> Result<(), SettleError> {
        let mut transaction = self.jobs.begin().await?;
        let permit = claimed.complete_in(&mut transaction, None).await?;
        let put_in = Jobs::new(self.jobs.clone())
            .enqueue_in(&mut transaction, &jobs)
            .await;
        put_in.unwrap();
        if commit {
            transaction.commit(permit).await?;
        }
        Ok(())
    }
}

monitor_jobs::conformance_tests!(InFile);
