//! Transactions in which callers' own statements stand beside jobs.

use std::path::Path;
use std::sync::{Arc, mpsc};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::command::{Change, Command, Kind, Tx, command};
use super::enqueue::{self, Stop};
use super::failure::Failure;
use super::session::Step;
use super::settle;
use crate::kernel::limits;
use crate::transaction::sealed::Sealed;
use crate::{
    CommitPermit, EnqueueError, Enqueued, Epoch, JobId, JobTransaction, NewJob, Settle, Settled,
    StoreError, WorkerId,
};

/// A transaction of [`SqliteJobs`](crate::SqliteJobs): effects in the same file, and the completion
/// of the job that had them, all or none.
///
/// It has the file's one right to write from its beginning to its end, so it should be short:
/// everybody else who writes waits for it. One that makes no step for as long as the busy timeout
/// is rolled back, and what comes after fails as
/// [transient](crate::StoreErrorKind::Transient). Writing through the `SqliteJobs` itself meanwhile
/// waits for that.
///
/// # Cancel safety
/// Dropped, it is rolled back. The future of a step, dropped before it is ready, leaves it open
/// whether that step was made; drop the transaction then. The same with
/// [`commit`](Self::commit) leaves open whether all was committed.
#[derive(Debug)]
pub struct SqliteTransaction {
    path: Arc<Path>,
    steps: mpsc::Sender<Step>,
    /// The job that was completed in it.
    completed: Option<(JobId, Epoch)>,
}

impl SqliteTransaction {
    pub(crate) fn new(path: Arc<Path>, steps: mpsc::Sender<Step>) -> Self {
        Self {
            path,
            steps,
            completed: None,
        }
    }

    /// Runs statements of the caller's, on the thread that writes. What `statements` changes is
    /// taken back alone when it returns an error. It must not end the transaction: if it does, all
    /// that follows fails.
    ///
    /// # Errors
    /// What `statements` returns, or that the transaction is no more.
    pub async fn run<T: Send + 'static>(
        &mut self,
        statements: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let step = move |tx: Tx<'_>| Ok(Change::Keep(statements(tx.sql)?));
        self.step("run statements in a transaction", step).await
    }

    /// Commits it. The permit says that the job was completed in it.
    ///
    /// # Errors
    /// When the database failed: nothing was changed, or everything if the failure is
    /// [ambiguous](crate::StoreErrorKind::Ambiguous). When the permit is that of a job which was
    /// not completed in this transaction: nothing was changed.
    pub async fn commit(self, permit: CommitPermit) -> Result<(), StoreError> {
        let action = "commit a transaction";
        if self.completed != Some(permit.key()) {
            return Err(Failure::WrongPermit.into_error(action, &self.path));
        }
        let (reply, answer) = oneshot::channel();
        let sent = self.steps.send(Step::Commit(reply));
        let end = match sent {
            Ok(()) => answer.await.unwrap_or(Err(Failure::Abandoned)),
            Err(_) => Err(Failure::Abandoned),
        };
        end.map_err(|failure| failure.into_error(action, &self.path))?;
        permit.committed();
        Ok(())
    }

    async fn step<T: Send + 'static>(
        &mut self,
        action: &'static str,
        change: impl FnOnce(Tx<'_>) -> Result<Change<T>, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (command, answer): (Box<dyn Command>, _) = command(Kind::Wakes, change);
        let sent = self.steps.send(Step::Run(command));
        let end = match sent {
            Ok(()) => answer.await.unwrap_or(Err(Failure::Abandoned)),
            Err(_) => Err(Failure::Abandoned),
        };
        end.map_err(|failure| failure.into_error(action, &self.path))
    }
}

impl Sealed for SqliteTransaction {}

impl JobTransaction for SqliteTransaction {
    async fn fence(&mut self, job: JobId, epoch: Epoch) -> Result<bool, StoreError> {
        self.step("fence a job", move |tx| {
            let holder = settle::holder(tx, job, epoch)?;
            Ok(Change::Keep(holder.is_some()))
        })
        .await
    }

    async fn settle(&mut self, worker: WorkerId, end: &Settle) -> Result<Settled, StoreError> {
        let ends = vec![end.clone()];
        let key = (end.job, end.epoch);
        let settled = self
            .step("settle jobs", move |tx| {
                let settled = settle::settle(tx, worker, &ends)?;
                Ok(Change::Keep(settled.first().copied()))
            })
            .await?;
        if settled == Some(Settled::Done) {
            self.completed = Some(key);
        }
        Ok(settled.unwrap_or(Settled::Stale))
    }

    async fn enqueue(&mut self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, EnqueueError> {
        limits::jobs(jobs)?;
        let jobs = jobs.to_vec();
        self.step("put jobs in", move |tx| {
            enqueue::change(enqueue::enqueue(tx, &jobs))
        })
        .await?
    }
}

/// The writer's transaction, in the hands of a closure given to
/// [`SqliteJobs::transact`](crate::SqliteJobs::transact).
#[derive(Debug)]
pub struct SqliteWrite<'a> {
    sql: &'a Connection,
    now: i64,
    path: Arc<Path>,
}

impl<'a> SqliteWrite<'a> {
    pub(crate) fn new(tx: Tx<'a>, path: Arc<Path>) -> Self {
        let Tx { sql, now } = tx;
        Self { sql, now, path }
    }

    /// For the caller's own statements. They must not end the transaction.
    #[must_use]
    pub fn sql(&self) -> &Connection {
        self.sql
    }

    /// Puts jobs in.
    ///
    /// # Errors
    /// As [`Backend::enqueue`](crate::Backend::enqueue). What it had written by then is part of the
    /// transaction, so the closure must return an error too.
    pub fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, EnqueueError> {
        limits::jobs(jobs)?;
        let Self { sql, now, .. } = *self;
        enqueue::enqueue(Tx { sql, now }, jobs).map_err(|stop| match stop {
            Stop::Refused(error) => error,
            Stop::Failed(failure) => failure.into_error("put jobs in", &self.path).into(),
        })
    }
}
