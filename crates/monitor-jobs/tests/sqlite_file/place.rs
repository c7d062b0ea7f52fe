//! A file of jobs, and what is asked of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use monitor_jobs::rusqlite::Connection;
use monitor_jobs::{
    Backend, Claim, ClaimRequest, ClaimedJob, Durability, JobFilter, JobState, NewJob, Outcome,
    Parent, Payload, Register, Settle, SqliteJobs, SqliteOptions, WorkerId,
};
use monitor_testkit::sqlite;
use tempfile::TempDir;

/// A folder with a file of jobs, removed when dropped.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder().join("jobs.sqlite")
    }

    pub(crate) fn options(&self) -> SqliteOptions {
        SqliteOptions {
            // Nobody cuts the power of a test.
            durability: Durability::Process,
            ..SqliteOptions::new(self.path())
        }
    }

    pub(crate) fn open(&self) -> SqliteJobs {
        SqliteJobs::open(&self.options()).unwrap()
    }

    /// Waits hardly for a file that is busy.
    pub(crate) fn open_impatient(&self) -> SqliteJobs {
        let options = SqliteOptions {
            busy_timeout: Duration::from_millis(20),
            ..self.options()
        };
        SqliteJobs::open(&options).unwrap()
    }

    /// As another program sees the file.
    pub(crate) fn sql(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    /// That change fails from now on; `None`: none any more.
    pub(crate) fn fail(&self, change: Option<&str>) {
        sqlite::fail(&self.sql(), change).unwrap();
    }

    pub(crate) fn count(&self, query: &str) -> i64 {
        self.sql().query_row(query, [], |row| row.get(0)).unwrap()
    }
}

pub(crate) fn work() -> NewJob {
    NewJob::new("work", Payload::default())
}

pub(crate) fn after_first() -> NewJob {
    work().after(Parent::Earlier(0))
}

pub(crate) fn register() -> Register {
    Register {
        name: "w".to_owned(),
        queues: vec!["default".to_owned()],
        capacity: 10_000,
        lease: Duration::from_secs(60),
    }
}

pub(crate) fn request(worker: WorkerId, limit: u32) -> ClaimRequest {
    ClaimRequest {
        worker,
        limit,
        history: true,
    }
}

pub(crate) async fn claim(jobs: &SqliteJobs, worker: WorkerId, limit: u32) -> Claim {
    jobs.claim(&request(worker, limit)).await.unwrap()
}

pub(crate) fn completed(claim: &Claim) -> Vec<Settle> {
    let done = |claimed: &ClaimedJob| Settle {
        job: claimed.id,
        epoch: claimed.epoch,
        outcome: Outcome::Complete { result: None },
    };
    claim.jobs.iter().map(done).collect()
}

pub(crate) async fn states(jobs: &SqliteJobs) -> Vec<JobState> {
    let views = jobs.list(&JobFilter::default()).await.unwrap();
    views.iter().map(|view| view.state).collect()
}
