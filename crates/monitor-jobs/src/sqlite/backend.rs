//! The functions of a [`Backend`], each one command or one query.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::command::Kind;
use super::{SqliteJobs, claim, doctor, enqueue, operate, reader, settle, view, worker, writer};
use crate::kernel::limits;
use crate::{
    Backend, Beat, Claim, ClaimError, ClaimRequest, EnqueueError, Enqueued, Epoch, Execution,
    Finding, JobFilter, JobId, JobView, NewJob, Priority, QueueView, Reason, Register, Rescued,
    Settle, Settled, Snapshot, StoreError, WorkerId, WorkerPulse, WorkerState, WorkerView,
};

#[async_trait]
impl Backend for SqliteJobs {
    async fn register(&self, register: &Register) -> Result<WorkerId, StoreError> {
        let register = register.clone();
        self.change("register a worker", Kind::Quiet, move |tx| {
            worker::register(tx, &register)
        })
        .await
    }

    async fn beat(&self, worker: WorkerId) -> Result<Option<Beat>, StoreError> {
        self.change("beat", Kind::Quiet, move |tx| worker::beat(tx, worker))
            .await
    }

    async fn drain(&self, worker: WorkerId) -> Result<bool, StoreError> {
        self.change("drain a worker", Kind::Quiet, move |tx| {
            worker::drain(tx, worker)
        })
        .await
    }

    async fn set_health(&self, worker: WorkerId, health: WorkerState) -> Result<bool, StoreError> {
        self.change("set the health of a worker", Kind::Quiet, move |tx| {
            worker::set_health(tx, worker, health)
        })
        .await
    }

    async fn deregister(&self, worker: WorkerId) -> Result<bool, StoreError> {
        self.change("deregister a worker", Kind::Wakes, move |tx| {
            worker::deregister(tx, worker)
        })
        .await
    }

    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, EnqueueError> {
        limits::jobs(jobs)?;
        let jobs = jobs.to_vec();
        self.write("put jobs in", Kind::Wakes, move |tx| {
            enqueue::change(enqueue::enqueue(tx, &jobs))
        })
        .await?
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, ClaimError> {
        let request = request.clone();
        self.change("claim jobs", Kind::Quiet, move |tx| {
            claim::claim(tx, &request)
        })
        .await?
    }

    async fn held(&self, worker: WorkerId) -> Result<Vec<(JobId, Epoch)>, StoreError> {
        // Of the writer: whatever was asked of it before is done by then.
        self.change("list held jobs", Kind::Quiet, move |tx| {
            let held = settle::held_by(tx, worker, u32::MAX)?;
            Ok(held.iter().map(|held| (held.job, held.epoch)).collect())
        })
        .await
    }

    async fn settle(&self, worker: WorkerId, ends: &[Settle]) -> Result<Vec<Settled>, StoreError> {
        let ends = ends.to_vec();
        self.change("settle jobs", Kind::Wakes, move |tx| {
            settle::settle(tx, worker, &ends)
        })
        .await
    }

    async fn progress(
        &self,
        job: JobId,
        epoch: Epoch,
        percent: u8,
        text: &str,
    ) -> Result<bool, StoreError> {
        let text = text.to_owned();
        self.change("note progress", Kind::Quiet, move |tx| {
            settle::progress(tx, job, epoch, percent, &text)
        })
        .await
    }

    async fn cancel(&self, job: JobId) -> Result<Option<bool>, StoreError> {
        self.change("cancel a job", Kind::Wakes, move |tx| {
            operate::cancel(tx, job)
        })
        .await
    }

    async fn retry(&self, job: JobId) -> Result<Option<bool>, StoreError> {
        self.change("retry a job", Kind::Wakes, move |tx| {
            operate::retry(tx, job)
        })
        .await
    }

    async fn reprioritise(
        &self,
        job: JobId,
        priority: Priority,
    ) -> Result<Option<bool>, StoreError> {
        self.change("change a priority", Kind::Quiet, move |tx| {
            operate::reprioritise(tx, job, priority)
        })
        .await
    }

    async fn set_paused(&self, queue: &str, paused: bool) -> Result<(), StoreError> {
        let queue = queue.to_owned();
        self.change("pause a queue", Kind::Wakes, move |tx| {
            operate::set_paused(tx, &queue, paused)
        })
        .await
    }

    async fn pulses(&self) -> Result<Vec<WorkerPulse>, StoreError> {
        self.read("read pulses", worker::pulses).await
    }

    async fn rescue(&self, pulse: &WorkerPulse, limit: u32) -> Result<Rescued, StoreError> {
        let pulse = *pulse;
        self.change("rescue jobs", Kind::Wakes, move |tx| {
            worker::rescue(tx, &pulse, limit)
        })
        .await
    }

    async fn release(&self, limit: u32) -> Result<u32, StoreError> {
        self.change("release jobs", Kind::Wakes, move |tx| {
            operate::release(tx, limit)
        })
        .await
    }

    async fn tick(
        &self,
        schedule: &str,
        tick_unix_ms: i64,
        job: &NewJob,
    ) -> Result<Option<JobId>, EnqueueError> {
        limits::jobs(std::slice::from_ref(job))?;
        let (schedule, job) = (schedule.to_owned(), job.clone());
        self.write("put in a tick", Kind::Wakes, move |tx| {
            enqueue::change(enqueue::tick(tx, &schedule, tick_unix_ms, &job))
        })
        .await?
    }

    async fn last_tick(&self, schedule: &str) -> Result<Option<i64>, StoreError> {
        let schedule = schedule.to_owned();
        self.read("read a tick", move |tx| operate::last_tick(tx, &schedule))
            .await
    }

    async fn prune(&self, age: Duration, limit: u32) -> Result<u32, StoreError> {
        self.change("prune", Kind::Quiet, move |tx| {
            operate::prune(tx, age, limit)
        })
        .await
    }

    async fn job(&self, job: JobId) -> Result<Option<JobView>, StoreError> {
        self.read("read a job", move |tx| view::job(tx, job)).await
    }

    async fn list(&self, filter: &JobFilter) -> Result<Vec<JobView>, StoreError> {
        let filter = filter.clone();
        self.read("list jobs", move |tx| view::list(tx, &filter))
            .await
    }

    async fn executions(&self, job: JobId) -> Result<Vec<Execution>, StoreError> {
        self.read("read executions", move |tx| view::executions(tx, job))
            .await
    }

    async fn workers(&self) -> Result<Vec<WorkerView>, StoreError> {
        self.read("list workers", worker::workers).await
    }

    async fn queues(&self) -> Result<Vec<QueueView>, StoreError> {
        self.read("list queues", view::queues).await
    }

    async fn export(&self) -> Result<Snapshot, StoreError> {
        self.read("export jobs", view::everything).await
    }

    async fn why_priority(&self, job: JobId) -> Result<Option<Reason>, StoreError> {
        self.read("explain a priority", move |tx| view::why_priority(tx, job))
            .await
    }

    async fn doctor(&self) -> Result<Vec<Finding>, StoreError> {
        self.read("look for damage", doctor::doctor).await
    }

    async fn wait(&self, _queues: &[String], timeout: Duration) {
        let mut woken = self.shared.wake.subscribe();
        let _counted = Waiting::new(&self.shared.waiting);
        // Closed: then nothing wakes, and the time runs out.
        let _ = self.shared.reader.send(reader::Message::Watch);
        // Elapsed or woken: the caller asks again.
        let _ = tokio::time::timeout(timeout, woken.changed()).await;
    }

    async fn now_unix_ms(&self) -> Result<i64, StoreError> {
        self.read("read the time", |tx| Ok(tx.now)).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        // The reader first, so that the writer's is the last connection and tidies up the log. A
        // thread that has ended already answers by dropping the question.
        let (reply, closed) = oneshot::channel();
        if self
            .shared
            .reader
            .send(reader::Message::Close(reply))
            .is_ok()
        {
            let _ = closed.await;
        }
        let (reply, closed) = oneshot::channel();
        let sent = self.shared.writer.send(writer::Message::Close(reply));
        if sent.await.is_ok() {
            let _ = closed.await;
        }
        self.shared.wake.send_replace(());
        Ok(())
    }
}

/// One who waits, as long as it exists.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
