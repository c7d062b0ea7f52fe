//! The functions of a backend, one statement each.

use std::time::Duration;

use async_trait::async_trait;
use monitor_pool::managers::postgres::tokio_postgres::Row;

use super::failure::Failure;
use super::rows::{get, limit, number};
use super::{PgJobs, PgManager};
use crate::kernel::attempts::LOST_ERROR;
use crate::kernel::limits;
use crate::kernel::ordering::whole_ms;
use crate::kernel::standing::Health;
use crate::{
    Backend, Beat, Claim, ClaimError, ClaimRequest, EnqueueError, Enqueued, Epoch, Execution,
    Finding, JobFilter, JobId, JobView, NewJob, Priority, QueueView, Reason, Register, Rescued,
    Settle, Settled, Snapshot, StoreError, WorkerId, WorkerPulse, WorkerState, WorkerView,
};

const REGISTER: &str = "INSERT INTO job_worker
        (name, queues, capacity, lease_ms, registered_ms, seen_ms)
    SELECT $1, jobs_queues($2), $3, $4, now, now FROM jobs_now_ms() now
    RETURNING worker_id";
const BEAT: &str = "SELECT * FROM jobs_beat($1)";
const DRAIN: &str = "UPDATE job_worker SET draining = true
    WHERE worker_id = $1 AND retired_ms IS NULL RETURNING 1";
const HEALTH: &str = "UPDATE job_worker SET health = $2
    WHERE worker_id = $1 AND retired_ms IS NULL RETURNING 1";
const DEREGISTER: &str = "SELECT * FROM jobs_deregister($1)";
const PROGRESS: &str = "SELECT jobs_progress($1, $2, $3, $4) AS noted";
const CANCEL: &str = "SELECT jobs_cancel($1) AS code";
const RETRY: &str = "SELECT jobs_retry($1) AS code";
const REPRIORITISE: &str = "SELECT jobs_reprioritise($1, $2) AS code";
const PAUSE: &str = "INSERT INTO job_queue (name, paused) VALUES ($1, $2)
    ON CONFLICT (name) DO UPDATE SET paused = excluded.paused";
const RESCUE: &str = "SELECT * FROM jobs_rescue($1, $2, $3, $4)";
const LAST_TICK: &str = "SELECT last_ms FROM job_tick WHERE schedule = $1";
const PRUNE: &str = "SELECT jobs_prune($1, $2) AS removed";
const NOW: &str = "SELECT jobs_now_ms() AS now";

/// How long to wait for connections in use when it is closed.
const CLOSING: Duration = Duration::from_secs(5);

impl<M: PgManager> PgJobs<M> {
    /// What people ask for: `None`, no such job; false, it is not so.
    async fn asked(&self, row: Row) -> Result<Option<bool>, Failure> {
        let code: Option<i32> = get(&row, "code")?;
        match code {
            Some(2) => self.finish().await,
            Some(1) => {}
            _ => return Ok(code.map(|_| false)),
        }
        self.shared.wake.all();
        Ok(Some(true))
    }
}

#[async_trait]
impl<M: PgManager> Backend for PgJobs<M> {
    async fn register(&self, register: &Register) -> Result<WorkerId, StoreError> {
        let capacity = limit(register.capacity);
        let lease = whole_ms(register.lease);
        let row = self
            .write_one(
                REGISTER,
                &[&register.name, &register.queues, &capacity, &lease],
            )
            .await;
        row.and_then(|row| Ok(WorkerId(get(&row, "worker_id")?)))
            .map_err(|failure| failure.doing("register a worker"))
    }

    async fn beat(&self, worker: WorkerId) -> Result<Option<Beat>, StoreError> {
        let rows = self.write(BEAT, &[&worker.0]).await;
        rows.and_then(|rows| rows.first().map(beat).transpose())
            .map_err(|failure| failure.doing("beat"))
    }

    async fn drain(&self, worker: WorkerId) -> Result<bool, StoreError> {
        let rows = self.write(DRAIN, &[&worker.0]).await;
        rows.map(|rows| !rows.is_empty())
            .map_err(|failure| failure.doing("drain a worker"))
    }

    async fn set_health(&self, worker: WorkerId, health: WorkerState) -> Result<bool, StoreError> {
        let code = Health::of(health).code();
        let rows = self.write(HEALTH, &[&worker.0, &code]).await;
        rows.map(|rows| !rows.is_empty())
            .map_err(|failure| failure.doing("set the health of a worker"))
    }

    async fn deregister(&self, worker: WorkerId) -> Result<bool, StoreError> {
        let row = self.write_one(DEREGISTER, &[&worker.0]).await;
        let ended = row.and_then(|row| Ok((get(&row, "was")?, get(&row, "unfinished")?)));
        let (was, unfinished): (bool, bool) =
            ended.map_err(|failure| failure.doing("deregister a worker"))?;
        if unfinished {
            self.finish().await;
        }
        if was {
            self.shared.wake.all();
        }
        Ok(was)
    }

    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, EnqueueError> {
        let put_in = self.put_in(jobs, None).await;
        put_in
            .map(Option::unwrap_or_default)
            .map_err(|stop| stop.doing("put jobs in"))
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, ClaimError> {
        self.take(request).await
    }

    async fn settle(&self, worker: WorkerId, ends: &[Settle]) -> Result<Vec<Settled>, StoreError> {
        let settled = self.end(worker, ends).await;
        settled.map_err(|failure| failure.doing("settle jobs"))
    }

    async fn held(&self, worker: WorkerId) -> Result<Vec<(JobId, Epoch)>, StoreError> {
        let held = self.see_held(worker).await;
        held.map_err(|failure| failure.doing("read what a worker holds"))
    }

    async fn progress(
        &self,
        job: JobId,
        epoch: Epoch,
        percent: u8,
        text: &str,
    ) -> Result<bool, StoreError> {
        let percent = i16::from(percent.min(100));
        let text = limits::text(text);
        let row = self
            .write_one(PROGRESS, &[&job.0, &epoch.0, &percent, &text])
            .await;
        row.and_then(|row| get(&row, "noted"))
            .map_err(|failure| failure.doing("note progress"))
    }

    async fn cancel(&self, job: JobId) -> Result<Option<bool>, StoreError> {
        let action = "cancel a job";
        let row = self.write_one(CANCEL, &[&job.0]).await;
        let row = row.map_err(|failure| failure.doing(action))?;
        self.asked(row)
            .await
            .map_err(|failure| failure.doing(action))
    }

    async fn retry(&self, job: JobId) -> Result<Option<bool>, StoreError> {
        let action = "retry a job";
        let row = self.write_one(RETRY, &[&job.0]).await;
        let row = row.map_err(|failure| failure.doing(action))?;
        self.asked(row)
            .await
            .map_err(|failure| failure.doing(action))
    }

    async fn reprioritise(
        &self,
        job: JobId,
        priority: Priority,
    ) -> Result<Option<bool>, StoreError> {
        let action = "change a priority";
        let priority = i16::from(priority.get());
        let row = self.write_one(REPRIORITISE, &[&job.0, &priority]).await;
        let row = row.map_err(|failure| failure.doing(action))?;
        self.asked(row)
            .await
            .map_err(|failure| failure.doing(action))
    }

    async fn set_paused(&self, queue: &str, paused: bool) -> Result<(), StoreError> {
        let written = self.write(PAUSE, &[&queue, &paused]).await;
        written.map_err(|failure| failure.doing("pause a queue"))?;
        if !paused {
            self.shared.wake.all();
        }
        Ok(())
    }

    async fn pulses(&self) -> Result<Vec<WorkerPulse>, StoreError> {
        let pulses = self.see_pulses().await;
        pulses.map_err(|failure| failure.doing("read pulses"))
    }

    async fn rescue(&self, pulse: &WorkerPulse, most: u32) -> Result<Rescued, StoreError> {
        let beats = i64::try_from(pulse.beats).unwrap_or(i64::MAX);
        let row = self
            .write_one(
                RESCUE,
                &[&pulse.worker.0, &beats, &limit(most), &LOST_ERROR],
            )
            .await;
        let read = row.and_then(|row| Ok((rescued(&row)?, get(&row, "unfinished")?)));
        let (rescued, unfinished): (Rescued, bool) =
            read.map_err(|failure| failure.doing("rescue jobs"))?;
        if unfinished {
            self.finish().await;
        }
        if rescued.requeued > 0 || rescued.buried > 0 {
            self.shared.wake.all();
        }
        Ok(rescued)
    }

    async fn release(&self, most: u32) -> Result<u32, StoreError> {
        let released = self.release_slice(limit(most)).await;
        released.map_err(|failure| failure.doing("release jobs"))
    }

    async fn tick(
        &self,
        schedule: &str,
        tick_unix_ms: i64,
        job: &NewJob,
    ) -> Result<Option<JobId>, EnqueueError> {
        let put_in = self.put_in(std::slice::from_ref(job), Some((schedule, tick_unix_ms)));
        let put_in = put_in.await.map_err(|stop| stop.doing("put in a tick"))?;
        Ok(put_in.and_then(|answers| answers.first().map(|answer| answer.id())))
    }

    async fn last_tick(&self, schedule: &str) -> Result<Option<i64>, StoreError> {
        let rows = self.read(LAST_TICK, &[&schedule]).await;
        rows.and_then(|rows| rows.first().map(|row| get(row, "last_ms")).transpose())
            .map_err(|failure| failure.doing("read a tick"))
    }

    async fn prune(&self, age: Duration, most: u32) -> Result<u32, StoreError> {
        let age = whole_ms(age).min(1 << 53);
        let row = self.write_one(PRUNE, &[&age, &limit(most)]).await;
        row.and_then(|row| Ok(number(get::<i32>(&row, "removed")?)))
            .map_err(|failure| failure.doing("prune"))
    }

    async fn job(&self, job: JobId) -> Result<Option<JobView>, StoreError> {
        let job = self.see_job(job).await;
        job.map_err(|failure| failure.doing("read a job"))
    }

    async fn list(&self, filter: &JobFilter) -> Result<Vec<JobView>, StoreError> {
        let jobs = self.see_jobs(filter).await;
        jobs.map_err(|failure| failure.doing("list jobs"))
    }

    async fn executions(&self, job: JobId) -> Result<Vec<Execution>, StoreError> {
        let executions = self.see_executions(job).await;
        executions.map_err(|failure| failure.doing("read executions"))
    }

    async fn workers(&self) -> Result<Vec<WorkerView>, StoreError> {
        let workers = self.see_workers().await;
        workers.map_err(|failure| failure.doing("list workers"))
    }

    async fn queues(&self) -> Result<Vec<QueueView>, StoreError> {
        let queues = self.see_queues().await;
        queues.map_err(|failure| failure.doing("list queues"))
    }

    async fn export(&self) -> Result<Snapshot, StoreError> {
        let everything = self.see_everything().await;
        everything.map_err(|failure| failure.doing("export jobs"))
    }

    async fn why_priority(&self, job: JobId) -> Result<Option<Reason>, StoreError> {
        let reason = self.see_reason(job).await;
        reason.map_err(|failure| failure.doing("explain a priority"))
    }

    async fn doctor(&self) -> Result<Vec<Finding>, StoreError> {
        let findings = self.examine().await;
        findings.map_err(|failure| failure.doing("look for damage"))
    }

    async fn wait(&self, queues: &[String], timeout: Duration) {
        self.shared.wake.wait(queues, timeout).await;
    }

    async fn now_unix_ms(&self) -> Result<i64, StoreError> {
        let rows = self.read(NOW, &[]).await;
        rows.and_then(|rows| {
            rows.first()
                .map_or(Err(Failure::Closed), |row| get(row, "now"))
        })
        .map_err(|failure| failure.doing("read the time"))
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.shared.wake.close();
        let report = self.shared.pool.close(CLOSING).await;
        tracing::debug!(?report, "closed");
        Ok(())
    }
}

fn beat(row: &Row) -> Result<Beat, Failure> {
    let jobs: Vec<i64> = get(row, "jobs")?;
    let epochs: Vec<i64> = get(row, "epochs")?;
    let cancel = jobs.into_iter().zip(epochs);
    Ok(Beat {
        drain: get(row, "draining")?,
        cancel: cancel
            .map(|(job, epoch)| (JobId(job), Epoch(epoch)))
            .collect(),
    })
}

fn rescued(row: &Row) -> Result<Rescued, Failure> {
    Ok(Rescued {
        requeued: number(get::<i32>(row, "requeued")?),
        buried: number(get::<i32>(row, "buried")?),
        retired: get(row, "retired")?,
        alive: get(row, "alive")?,
    })
}
