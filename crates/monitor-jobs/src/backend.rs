//! What a database must do for jobs: each function is one transaction, or one that resumes.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    ClaimError, EnqueueError, Epoch, Execution, Finding, JobFilter, JobId, JobState, JobView,
    NewJob, Payload, QueueView, Reason, Snapshot, StoreError, WorkerId, WorkerView,
};

/// Who registers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Register {
    /// A name for people; two workers may bear the same.
    pub name: String,
    /// The queues it serves.
    pub queues: Vec<String>,
    /// How many jobs it may hold at once, 1 to 10 000.
    pub capacity: u32,
    /// How long it may be silent before others may take its jobs, at least three beats.
    pub lease: Duration,
}

/// The answer to a beat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beat {
    /// Whether somebody asked it to drain.
    pub drain: bool,
    /// Which of its jobs are to be cancelled.
    pub cancel: Vec<(JobId, Epoch)>,
}

/// What a worker asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClaimRequest {
    /// Who asks: its own row drives the claim.
    pub worker: WorkerId,
    /// At most that many, and never more than its capacity leaves.
    pub limit: u32,
    /// Whether attempts are kept in the history.
    pub history: bool,
}

/// What was claimed. Empty: nothing is ready.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Claim {
    /// The jobs, the most urgent first.
    pub jobs: Vec<ClaimedJob>,
    /// When the next job of its queues is due, if none was ready: a hint.
    pub next_due: Option<Duration>,
}

/// A job in a worker's hands.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimedJob {
    /// The job.
    pub id: JobId,
    /// The right to change it: INV-JOBS-1, every statement of an owner names it in the `WHERE` of
    /// the row that it changes.
    pub epoch: Epoch,
    /// Its kind.
    pub kind: String,
    /// Its queue.
    pub queue: String,
    /// What it carries.
    pub payload: Payload,
    /// Which attempt this is, from 1.
    pub attempt: u16,
    /// Attempts in all.
    pub max_attempts: u16,
    /// How long this attempt may take.
    pub timeout: Option<Duration>,
    /// When it was put in, unix milliseconds by the database.
    pub enqueued_unix_ms: i64,
}

/// How an attempt ended, said by its owner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settle {
    /// The job.
    pub job: JobId,
    /// The right.
    pub epoch: Epoch,
    /// The end.
    pub outcome: Outcome,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// Well; its dependents are released in the same transaction, or from it on in slices.
    Complete {
        /// The result, if any.
        result: Option<Payload>,
    },
    /// Badly: again after `retry_in` if attempts are left, else dead.
    Fail {
        /// What went wrong, cut to 4 KiB.
        error: String,
        /// `None`: not again, whatever is left.
        retry_in: Option<Duration>,
    },
    /// Not now: again after that long, and the attempt does not count.
    Snooze(Duration),
    /// By request.
    Cancelled,
    /// Handed back untouched, in its old place: the attempt does not count.
    Release,
}

/// What became of a [`Settle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Settled {
    /// Done.
    Done,
    /// It had been done before, by the same epoch and with the same outcome.
    Already,
    /// The epoch is not the job's any more, or it ended otherwise: nothing was changed.
    Stale,
}

/// What became of a job that was put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// It is in.
    New(JobId),
    /// One with the same unique key has not ended; nothing was put in.
    Existing(JobId),
}

impl Enqueued {
    /// The job that is in.
    #[must_use]
    pub const fn id(self) -> JobId {
        match self {
            Self::New(id) | Self::Existing(id) => id,
        }
    }
}

/// How far a worker's beats have come: what an observer compares over its own monotonic time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerPulse {
    /// Who.
    pub worker: WorkerId,
    /// Beats so far.
    pub beats: u64,
    /// How long it may stand still.
    pub lease: Duration,
}

/// What a rescue took from a dead worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rescued {
    /// Jobs that are ready again.
    pub requeued: u32,
    /// Jobs that were buried: they took too many workers down.
    pub buried: u32,
    /// Whether the worker holds nothing any more and is retired.
    pub retired: bool,
    /// Whether it beat in the meantime: nothing was done.
    pub alive: bool,
}

/// Where jobs live.
///
/// Every function is one transaction: done whole or not at all. A dropped future may have been
/// carried out or not, never in part. Guards stand in the `WHERE` of the very row that is changed,
/// several rows are locked in the order of their ids.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// A new registration: its id was never given out before.
    async fn register(&self, register: &Register) -> Result<WorkerId, StoreError>;

    /// One more beat. `None`: not registered any more; whoever beats must stop its work at once.
    async fn beat(&self, worker: WorkerId) -> Result<Option<Beat>, StoreError>;

    /// Asks a worker to drain. False when it is not registered.
    async fn drain(&self, worker: WorkerId) -> Result<bool, StoreError>;

    /// The worker's own health, shown and heeded by [`claim`](Self::claim): healthy, degraded or failing.
    async fn set_health(
        &self,
        worker: WorkerId,
        health: crate::WorkerState,
    ) -> Result<bool, StoreError>;

    /// Ends a registration; what it still holds is handed back as by
    /// [`Outcome::Release`]. False when it was not registered any more.
    async fn deregister(&self, worker: WorkerId) -> Result<bool, StoreError>;

    /// Puts jobs in, all or none, with their edges: a whole graph in one call.
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, EnqueueError>;

    /// Takes the most urgent ready jobs of the worker's queues.
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, ClaimError>;

    /// Ends attempts, each by itself: one answer for each, in their order.
    async fn settle(&self, worker: WorkerId, ends: &[Settle]) -> Result<Vec<Settled>, StoreError>;

    /// What a worker holds by the book of the database, by id: jobs of a claim whose answer was lost
    /// are found so.
    async fn held(&self, worker: WorkerId) -> Result<Vec<(JobId, Epoch)>, StoreError> {
        let mut filter = JobFilter {
            state: Some(JobState::Running),
            ..JobFilter::default()
        };
        let mut held = Vec::new();
        loop {
            let page = self.list(&filter).await?;
            let Some(last) = page.last() else {
                return Ok(held);
            };
            filter.after = Some(last.id);
            let theirs = page.iter().filter(|job| job.worker == Some(worker));
            held.extend(theirs.filter_map(|job| Some((job.id, job.epoch?))));
        }
    }

    /// Says how far a job has come, 0 to 100. False when the epoch is not the job's any more.
    async fn progress(
        &self,
        job: JobId,
        epoch: Epoch,
        percent: u8,
        text: &str,
    ) -> Result<bool, StoreError>;

    /// Cancels a job: at once, or by its owner's next beat when it runs. `None`: no such job;
    /// false: it had ended.
    async fn cancel(&self, job: JobId) -> Result<Option<bool>, StoreError>;

    /// Runs a dead or cancelled job again, with one more attempt; releases a held one. `None`: no
    /// such job; false: it is neither, or its unique key is another's by now.
    async fn retry(&self, job: JobId) -> Result<Option<bool>, StoreError>;

    /// Changes the priority of a job that has not ended; whoever inherits follows. `None` and false
    /// as by [`cancel`](Self::cancel).
    async fn reprioritise(
        &self,
        job: JobId,
        priority: crate::Priority,
    ) -> Result<Option<bool>, StoreError>;

    /// Pauses a queue, or resumes it; it need not exist yet.
    async fn set_paused(&self, queue: &str, paused: bool) -> Result<(), StoreError>;

    /// The pulses of all workers that are not retired.
    async fn pulses(&self) -> Result<Vec<WorkerPulse>, StoreError>;

    /// Takes up to `limit` jobs from a worker whose beats still stand at `pulse`.
    async fn rescue(&self, pulse: &WorkerPulse, limit: u32) -> Result<Rescued, StoreError>;

    /// Goes on with releases that a completion left for later: at most `limit` edges. Returns how
    /// many were resolved; 0 when none is left.
    async fn release(&self, limit: u32) -> Result<u32, StoreError>;

    /// Puts in the job of one tick of a schedule, once for all nodes: `None` when another did.
    async fn tick(
        &self,
        schedule: &str,
        tick_unix_ms: i64,
        job: &NewJob,
    ) -> Result<Option<JobId>, EnqueueError>;

    /// The last tick of a schedule that was put in.
    async fn last_tick(&self, schedule: &str) -> Result<Option<i64>, StoreError>;

    /// Removes ended jobs, their executions and retired workers older than `age`: at most `limit`
    /// rows, what ended first before the others.
    async fn prune(&self, age: Duration, limit: u32) -> Result<u32, StoreError>;

    /// One job.
    async fn job(&self, job: JobId) -> Result<Option<JobView>, StoreError>;

    /// Jobs in the order of their ids.
    async fn list(&self, filter: &JobFilter) -> Result<Vec<JobView>, StoreError>;

    /// The attempts of a job in their order.
    async fn executions(&self, job: JobId) -> Result<Vec<Execution>, StoreError>;

    /// All workers that are not pruned.
    async fn workers(&self) -> Result<Vec<WorkerView>, StoreError>;

    /// All queues that hold a job or are paused, by name.
    async fn queues(&self) -> Result<Vec<QueueView>, StoreError>;

    /// All of that at one instant, in one transaction that reads and keeps nobody from working. It
    /// is all in memory then: for queues of some hundred thousand jobs. A scheduled job that becomes
    /// due in the meantime may be counted as either.
    async fn export(&self) -> Result<Snapshot, StoreError>;

    /// Why a job is as urgent as it is.
    async fn why_priority(&self, job: JobId) -> Result<Option<Reason>, StoreError>;

    /// Looks for what should not be.
    async fn doctor(&self) -> Result<Vec<Finding>, StoreError>;

    /// Waits until something may be ready that was not, at most `timeout`: a hint, counted from its
    /// first poll. A wake-up can be lost; who waits asks again in any case.
    async fn wait(&self, queues: &[String], timeout: Duration);

    /// The time of the database, unix milliseconds.
    async fn now_unix_ms(&self) -> Result<i64, StoreError>;

    /// Ends all work and gives back what is held. A second call is a no-op.
    async fn close(&self) -> Result<(), StoreError>;
}
