//! A transaction in which the caller's own statements stand beside jobs.

use std::collections::BTreeSet;

use monitor_pool::Object;
use monitor_pool::managers::postgres::PostgresManager;
use monitor_pool::managers::postgres::tokio_postgres::Client;

use super::enqueue::{PutIn, Stop, enqueue};
use super::failure::Failure;
use super::rows::get;
use super::session::Sessions;
use super::settle::{Ends, SETTLE, settled};
use super::{PgJobs, PgManager};
use crate::kernel::limits;
use crate::transaction::sealed::Sealed;
use crate::{
    CommitPermit, EnqueueError, Enqueued, Epoch, JobId, JobTransaction, NewJob, Settle, Settled,
    StoreError, WorkerId,
};

const FENCE: &str = "SELECT jobs_fence($1, $2) AS holder";

/// A transaction of [`PgJobs`]: effects in the same database, and the completion of the job that
/// had them, all or none. Read committed.
///
/// It holds one connection, and from the fence on the row of its job: keep it short.
///
/// # Cancel safety
/// Dropped without [`commit`](Self::commit) or [`rollback`](Self::rollback), its connection is
/// closed, which rolls it back.
#[derive(Debug)]
pub struct PgTransaction<M: PgManager = PostgresManager> {
    jobs: PgJobs<M>,
    session: Object<Sessions<M>>,
    completed: Option<(JobId, Epoch)>,
    queues: BTreeSet<String>,
    woken: bool,
    unfinished: bool,
}

impl<M: PgManager> PgJobs<M> {
    /// Begins a transaction.
    ///
    /// # Errors
    /// When there is no connection.
    pub async fn begin(&self) -> Result<PgTransaction<M>, StoreError> {
        let action = "begin a transaction";
        let session = self
            .session()
            .await
            .map_err(|failure| failure.doing(action))?;
        self.count(1);
        let begun = session.connection.batch_execute("BEGIN").await;
        begun.map_err(|error| Failure::read(error).doing(action))?;
        Ok(PgTransaction {
            jobs: self.clone(),
            session,
            completed: None,
            queues: BTreeSet::new(),
            woken: false,
            unfinished: false,
        })
    }
}

impl<M: PgManager> PgTransaction<M> {
    /// For the caller's own statements. They must neither end the transaction nor change the tables
    /// of the jobs.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.session.connection
    }

    /// Commits it. The permit says that the job was completed in it.
    ///
    /// # Errors
    /// When the database failed: nothing was changed, or everything if the failure is
    /// [ambiguous](crate::StoreErrorKind::Ambiguous). When the permit is that of a job which was not
    /// completed in this transaction: nothing was changed.
    pub async fn commit(self, permit: CommitPermit) -> Result<(), StoreError> {
        let action = "commit a transaction";
        if self.completed != Some(permit.key()) {
            let other = format!("{:?}", permit.key());
            let _ = self.rollback().await;
            return Err(Failure::OtherPermit(other).doing(action));
        }
        // A transaction that has failed answers a COMMIT with a silent ROLLBACK: ask first, in the
        // same flight.
        let client = self.client();
        let (alive, committed) = tokio::join!(
            client.simple_query("SELECT 1"),
            client.batch_execute("COMMIT")
        );
        self.jobs.count(1);
        if let Err(error) = alive
            && error.code().is_some()
        {
            return Err(Failure::RolledBack.doing(action));
        }
        committed.map_err(|error| Failure::write(error).doing(action))?;
        permit.committed();
        let Self {
            jobs,
            session,
            queues,
            woken,
            unfinished,
            ..
        } = self;
        drop(session);
        jobs.shared.wake.queues(queues);
        if unfinished {
            jobs.finish().await;
        } else if woken {
            jobs.shared.wake.all();
        }
        Ok(())
    }

    /// Takes all of it back and keeps the connection.
    ///
    /// # Errors
    /// When the database failed; it is rolled back in any case.
    pub async fn rollback(self) -> Result<(), StoreError> {
        self.jobs.count(1);
        let rolled_back = self.client().batch_execute("ROLLBACK").await;
        rolled_back.map_err(|error| Failure::read(error).doing("roll a transaction back"))
    }
}

impl<M: PgManager> Sealed for PgTransaction<M> {}

impl<M: PgManager> JobTransaction for PgTransaction<M> {
    async fn fence(&mut self, job: JobId, epoch: Epoch) -> Result<bool, StoreError> {
        let action = "fence a job";
        self.jobs.count(1);
        let rows = self.session.query(FENCE, &[&job.0, &epoch.0]).await;
        let rows = rows.map_err(|error| Failure::read(error).doing(action))?;
        let holder = rows
            .first()
            .map(|row| get::<Option<i64>>(row, "holder"))
            .transpose();
        let holder = holder.map_err(|failure| failure.doing(action))?;
        Ok(holder.flatten().is_some())
    }

    async fn settle(&mut self, worker: WorkerId, end: &Settle) -> Result<Settled, StoreError> {
        let action = "settle jobs";
        let (rows, _) = Ends::of(std::slice::from_ref(end), vec![0]);
        // Whoever commits effects may want to see what had them.
        let parameters = rows.parameters(&worker, &self.jobs.shared.forget_completed);
        self.jobs.count(1);
        let answer = self.session.query(SETTLE, &parameters).await;
        let answer = answer.map_err(|error| Failure::read(error).doing(action))?;
        let Some(row) = answer.first() else {
            return Ok(Settled::Stale);
        };
        let read = || -> Result<(Vec<i16>, bool, bool), Failure> {
            Ok((
                get(row, "answers")?,
                get(row, "unfinished")?,
                get(row, "woken")?,
            ))
        };
        let (codes, unfinished, woken) = read().map_err(|failure| failure.doing(action))?;
        self.unfinished |= unfinished;
        self.woken |= woken;
        let settled = codes.first().copied().map_or(Settled::Stale, settled);
        if settled == Settled::Done {
            self.completed = Some((end.job, end.epoch));
        }
        Ok(settled)
    }

    async fn enqueue(&mut self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, EnqueueError> {
        limits::jobs(jobs)?;
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        self.jobs.name_queues(jobs).await;
        // A refusal must leave nothing behind, and the transaction usable.
        let client: &Client = &self.session.connection;
        let failed = |error| Stop::Failed(Failure::read(error)).doing("put jobs in");
        client
            .batch_execute("SAVEPOINT jobs")
            .await
            .map_err(failed)?;
        let put_in = enqueue(&mut self.session, jobs).await;
        let client: &Client = &self.session.connection;
        let end = if put_in.is_ok() {
            "RELEASE jobs"
        } else {
            "ROLLBACK TO jobs"
        };
        let ended = client.batch_execute(end).await;
        let PutIn {
            answers,
            queues,
            unfinished,
            calls,
        } = put_in.map_err(|stop| stop.doing("put jobs in"))?;
        ended.map_err(failed)?;
        self.jobs.count(calls);
        self.queues.extend(queues);
        self.unfinished |= unfinished;
        Ok(answers)
    }
}
