//! A database in memory on tokio's clock, whose answers can be made to get lost.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use monitor_jobs::{
    Backend, Beat, Claim, ClaimError, ClaimRequest, EnqueueError, Enqueued, Epoch, Execution,
    Finding, JobFilter, JobId, JobState, JobView, Jobs, Memory, NewJob, Payload, Priority,
    QueueView, Reason, Register, Rescued, RunningWorker, Settle, Settled, Snapshot, StoreError,
    StoreErrorKind, Worker, WorkerId, WorkerPulse, WorkerState, WorkerView,
};
use tokio::time::{Instant, sleep};

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is not carried out.
    Refused(StoreErrorKind),
    /// It is carried out, and the answer gets lost.
    ReplyLost,
    /// It is carried out that much later.
    Slow(Duration),
    /// It is never answered.
    Hangs,
    /// A rescue or a claim finds every job locked by somebody else.
    Busy,
}

/// Calls that can be troubled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Register,
    Beat,
    Claim,
    Settle,
    Progress,
    Pulses,
    Rescue,
}

/// A database in memory that goes by tokio's clock.
#[derive(Clone)]
pub(crate) struct Flaky {
    pub(crate) memory: Memory,
    troubles: Arc<Mutex<VecDeque<(Call, Trouble)>>>,
    /// Whose rescues all go wrong.
    beyond_help: Arc<Mutex<Option<(WorkerId, Trouble)>>>,
    /// Every call that was counted, in its order.
    pub(crate) calls: Arc<Mutex<Vec<Call>>>,
}

/// Such a database, and jobs in it.
pub(crate) fn flaky() -> (Flaky, Jobs) {
    let origin = Instant::now();
    let clock = move || 1_700_000_000_000 + i64::try_from(origin.elapsed().as_millis()).unwrap();
    let flaky = Flaky {
        memory: Memory::with_clock(clock),
        troubles: Arc::default(),
        beyond_help: Arc::default(),
        calls: Arc::default(),
    };
    (flaky.clone(), Jobs::new(flaky))
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn builder(jobs: &Jobs) -> Worker {
    Worker::builder(jobs, "worker").lease(10 * SECOND)
}

/// A worker that does nothing in the jobs of this kind, and completes them.
pub(crate) async fn serving(jobs: &Jobs, kind: &str) -> RunningWorker {
    let worker = builder(jobs).handler(kind, |_| async { Ok(None) });
    worker.start().await.unwrap()
}

pub(crate) fn job(kind: &str) -> NewJob {
    NewJob::new(kind, Payload::default())
}

pub(crate) fn worker(name: &str) -> Register {
    Register {
        name: name.to_owned(),
        queues: vec!["default".to_owned()],
        capacity: 10,
        lease: Duration::from_secs(10),
    }
}

impl Flaky {
    /// The next such calls go wrong.
    pub(crate) fn trouble(&self, call: Call, trouble: Trouble, times: usize) {
        let mut troubles = self.troubles.lock().unwrap();
        troubles.extend(std::iter::repeat_n((call, trouble), times));
    }

    /// All rescues of that worker go wrong.
    pub(crate) fn trouble_rescues_of(&self, worker: WorkerId, trouble: Trouble) {
        *self.beyond_help.lock().unwrap() = Some((worker, trouble));
    }

    pub(crate) fn calm(&self) {
        self.troubles.lock().unwrap().clear();
    }

    pub(crate) async fn put(&self, new: NewJob) -> JobId {
        self.enqueue(&[new]).await.unwrap()[0].id()
    }

    pub(crate) async fn state(&self, id: JobId) -> JobState {
        self.view(id).await.state
    }

    pub(crate) async fn until(&self, id: JobId, state: JobState) {
        while self.state(id).await != state {
            sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn view(&self, id: JobId) -> JobView {
        self.memory.job(id).await.unwrap().unwrap()
    }

    pub(crate) fn count(&self, call: Call) -> usize {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|made| **made == call).count()
    }

    fn next(&self, call: Call) -> Option<Trouble> {
        self.calls.lock().unwrap().push(call);
        let mut troubles = self.troubles.lock().unwrap();
        let place = troubles
            .iter()
            .position(|(troubled, _)| *troubled == call)?;
        troubles.remove(place).map(|(_, trouble)| trouble)
    }

    async fn through<T, E: From<StoreError>>(
        &self,
        call: Call,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        Self::troubled(self.next(call), answer).await
    }

    async fn troubled<T, E: From<StoreError>>(
        trouble: Option<Trouble>,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let kind = match trouble {
            None => return answer.await,
            Some(Trouble::Slow(by)) => {
                sleep(by).await;
                return answer.await;
            }
            Some(Trouble::Refused(kind)) => kind,
            Some(Trouble::ReplyLost) => {
                drop(answer.await);
                StoreErrorKind::Ambiguous
            }
            Some(Trouble::Hangs | Trouble::Busy) => std::future::pending().await,
        };
        Err(E::from(StoreError {
            action: "get through",
            kind,
            source: "trouble".into(),
        }))
    }
}

#[async_trait]
impl Backend for Flaky {
    async fn register(&self, register: &Register) -> Result<WorkerId, StoreError> {
        self.through(Call::Register, self.memory.register(register))
            .await
    }
    async fn beat(&self, worker: WorkerId) -> Result<Option<Beat>, StoreError> {
        self.through(Call::Beat, self.memory.beat(worker)).await
    }
    async fn drain(&self, worker: WorkerId) -> Result<bool, StoreError> {
        self.memory.drain(worker).await
    }
    async fn set_health(&self, worker: WorkerId, health: WorkerState) -> Result<bool, StoreError> {
        self.memory.set_health(worker, health).await
    }
    async fn deregister(&self, worker: WorkerId) -> Result<bool, StoreError> {
        self.memory.deregister(worker).await
    }
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, EnqueueError> {
        self.memory.enqueue(jobs).await
    }
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, ClaimError> {
        match self.next(Call::Claim) {
            Some(Trouble::Busy) => Ok(Claim {
                jobs: Vec::new(),
                next_due: Some(Duration::ZERO),
            }),
            trouble => Self::troubled(trouble, self.memory.claim(request)).await,
        }
    }
    async fn settle(&self, worker: WorkerId, ends: &[Settle]) -> Result<Vec<Settled>, StoreError> {
        self.through(Call::Settle, self.memory.settle(worker, ends))
            .await
    }
    async fn progress(
        &self,
        job: JobId,
        epoch: Epoch,
        percent: u8,
        text: &str,
    ) -> Result<bool, StoreError> {
        let noted = self.memory.progress(job, epoch, percent, text);
        self.through(Call::Progress, noted).await
    }
    async fn cancel(&self, job: JobId) -> Result<Option<bool>, StoreError> {
        self.memory.cancel(job).await
    }
    async fn retry(&self, job: JobId) -> Result<Option<bool>, StoreError> {
        self.memory.retry(job).await
    }
    async fn reprioritise(&self, job: JobId, to: Priority) -> Result<Option<bool>, StoreError> {
        self.memory.reprioritise(job, to).await
    }
    async fn set_paused(&self, queue: &str, paused: bool) -> Result<(), StoreError> {
        self.memory.set_paused(queue, paused).await
    }
    async fn pulses(&self) -> Result<Vec<WorkerPulse>, StoreError> {
        self.through(Call::Pulses, self.memory.pulses()).await
    }
    async fn rescue(&self, pulse: &WorkerPulse, limit: u32) -> Result<Rescued, StoreError> {
        let beyond_help = *self.beyond_help.lock().unwrap();
        let beyond_help = beyond_help.filter(|(worker, _)| *worker == pulse.worker);
        let trouble = self.next(Call::Rescue);
        match beyond_help.map(|(_, trouble)| trouble).or(trouble) {
            Some(Trouble::Busy) => Ok(Rescued::default()),
            trouble => Self::troubled(trouble, self.memory.rescue(pulse, limit)).await,
        }
    }
    async fn release(&self, limit: u32) -> Result<u32, StoreError> {
        self.memory.release(limit).await
    }
    async fn tick(
        &self,
        schedule: &str,
        tick_unix_ms: i64,
        job: &NewJob,
    ) -> Result<Option<JobId>, EnqueueError> {
        self.memory.tick(schedule, tick_unix_ms, job).await
    }
    async fn last_tick(&self, schedule: &str) -> Result<Option<i64>, StoreError> {
        self.memory.last_tick(schedule).await
    }
    async fn prune(&self, age: Duration, limit: u32) -> Result<u32, StoreError> {
        self.memory.prune(age, limit).await
    }
    async fn job(&self, job: JobId) -> Result<Option<JobView>, StoreError> {
        self.memory.job(job).await
    }
    async fn list(&self, filter: &JobFilter) -> Result<Vec<JobView>, StoreError> {
        self.memory.list(filter).await
    }
    async fn executions(&self, job: JobId) -> Result<Vec<Execution>, StoreError> {
        self.memory.executions(job).await
    }
    async fn workers(&self) -> Result<Vec<WorkerView>, StoreError> {
        self.memory.workers().await
    }
    async fn queues(&self) -> Result<Vec<QueueView>, StoreError> {
        self.memory.queues().await
    }
    async fn export(&self) -> Result<Snapshot, StoreError> {
        self.memory.export().await
    }
    async fn why_priority(&self, job: JobId) -> Result<Option<Reason>, StoreError> {
        self.memory.why_priority(job).await
    }
    async fn doctor(&self) -> Result<Vec<Finding>, StoreError> {
        self.memory.doctor().await
    }
    async fn wait(&self, queues: &[String], timeout: Duration) {
        self.memory.wait(queues, timeout).await;
    }
    async fn now_unix_ms(&self) -> Result<i64, StoreError> {
        self.memory.now_unix_ms().await
    }
    async fn close(&self) -> Result<(), StoreError> {
        self.memory.close().await
    }
}
