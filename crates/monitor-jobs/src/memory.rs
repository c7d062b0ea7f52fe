//! Jobs in the memory of one process: the model that the databases are compared with.

mod graph;
mod rows;
mod transaction;
mod views;
mod world;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::Notify;

use self::world::World;
use crate::{
    Backend, Beat, Claim, ClaimError, ClaimRequest, EnqueueError, Enqueued, Epoch, Execution,
    Finding, JobFilter, JobId, JobView, NewJob, Priority, QueueView, Reason, Register, Rescued,
    Settle, Settled, StoreError, StoreErrorKind, WorkerId, WorkerPulse, WorkerState, WorkerView,
};

pub use self::transaction::MemoryTransaction;

/// Jobs in memory: plain maps under one lock.
///
/// It is the reference: slow where it matters and right where it matters more. For tests, for
/// trying things out, and for queues of some thousands of jobs that may die with their process.
#[derive(Clone)]
pub struct Memory {
    shared: Arc<Shared>,
}

struct Shared {
    /// Read before the lock is taken: it may be a caller's code.
    clock: Box<dyn Fn() -> i64 + Send + Sync>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    world: World,
    /// Counts the changes, for transactions to notice that others came between.
    version: u64,
    closed: bool,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty one that goes by the clock of the system.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            crate::kernel::ordering::whole_ms(since.unwrap_or_default())
        })
    }

    /// An empty one that goes by `clock`, in unix milliseconds.
    pub fn with_clock(clock: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self {
            shared: Arc::new(Shared {
                clock: Box::new(clock),
                state: Mutex::default(),
                changed: Notify::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    fn see<T>(
        &self,
        action: &'static str,
        look: impl FnOnce(&World, i64) -> T,
    ) -> Result<T, StoreError> {
        let now = (self.shared.clock)();
        let state = self.lock();
        if state.closed {
            return Err(closed(action));
        }
        Ok(look(&state.world, now))
    }

    fn change<T>(
        &self,
        action: &'static str,
        change: impl FnOnce(&mut World, i64) -> T,
    ) -> Result<T, StoreError> {
        let now = (self.shared.clock)();
        let mut state = self.lock();
        if state.closed {
            return Err(closed(action));
        }
        state.version += 1;
        Ok(change(&mut state.world, now))
    }

    /// A change after which something may be ready that was not.
    fn change_and_wake<T>(
        &self,
        action: &'static str,
        change: impl FnOnce(&mut World, i64) -> T,
    ) -> Result<T, StoreError> {
        let answer = self.change(action, change)?;
        self.shared.changed.notify_waiters();
        Ok(answer)
    }
}

fn closed(action: &'static str) -> StoreError {
    StoreError {
        action,
        kind: StoreErrorKind::Closed,
        source: "it is closed".into(),
    }
}

#[async_trait]
impl Backend for Memory {
    async fn register(&self, register: &Register) -> Result<WorkerId, StoreError> {
        self.change("register a worker", |world, now| {
            world.register(now, register)
        })
    }

    async fn beat(&self, worker: WorkerId) -> Result<Option<Beat>, StoreError> {
        self.change("beat", |world, now| world.beat(now, worker))
    }

    async fn drain(&self, worker: WorkerId) -> Result<bool, StoreError> {
        self.change("drain a worker", |world, _| world.drain(worker))
    }

    async fn set_health(&self, worker: WorkerId, health: WorkerState) -> Result<bool, StoreError> {
        self.change("set the health of a worker", |world, _| {
            world.set_health(worker, health)
        })
    }

    async fn deregister(&self, worker: WorkerId) -> Result<bool, StoreError> {
        self.change_and_wake("deregister a worker", |world, now| {
            world.deregister(now, worker)
        })
    }

    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, EnqueueError> {
        self.change_and_wake("put jobs in", |world, now| world.enqueue(now, jobs))?
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, ClaimError> {
        self.change("claim jobs", |world, now| world.claim(now, request))?
    }

    async fn settle(&self, worker: WorkerId, ends: &[Settle]) -> Result<Vec<Settled>, StoreError> {
        self.change_and_wake("settle jobs", |world, now| world.settle(now, worker, ends))
    }

    async fn held(&self, worker: WorkerId) -> Result<Vec<(JobId, Epoch)>, StoreError> {
        self.see("list held jobs", |world, _| {
            let held = world.held_by(worker);
            held.filter_map(|job| Some((job.id, job.epoch?))).collect()
        })
    }

    async fn progress(
        &self,
        job: JobId,
        epoch: Epoch,
        percent: u8,
        text: &str,
    ) -> Result<bool, StoreError> {
        self.change("note progress", |world, _| {
            world.progress(job, epoch, percent, text)
        })
    }

    async fn cancel(&self, job: JobId) -> Result<Option<bool>, StoreError> {
        self.change_and_wake("cancel a job", |world, now| world.cancel(now, job))
    }

    async fn retry(&self, job: JobId) -> Result<Option<bool>, StoreError> {
        self.change_and_wake("retry a job", |world, now| world.retry(now, job))
    }

    async fn reprioritise(
        &self,
        job: JobId,
        priority: Priority,
    ) -> Result<Option<bool>, StoreError> {
        self.change("change a priority", |world, _| {
            world.reprioritise(job, priority)
        })
    }

    async fn set_paused(&self, queue: &str, paused: bool) -> Result<(), StoreError> {
        self.change_and_wake("pause a queue", |world, _| world.set_paused(queue, paused))
    }

    async fn pulses(&self) -> Result<Vec<WorkerPulse>, StoreError> {
        self.see("read pulses", |world, _| world.pulses())
    }

    async fn rescue(&self, pulse: &WorkerPulse, limit: u32) -> Result<Rescued, StoreError> {
        self.change_and_wake("rescue jobs", |world, now| world.rescue(now, pulse, limit))
    }

    /// Completions leave nothing for later here.
    async fn release(&self, _limit: u32) -> Result<u32, StoreError> {
        self.see("release jobs", |_, _| 0)
    }

    async fn tick(
        &self,
        schedule: &str,
        tick_unix_ms: i64,
        job: &NewJob,
    ) -> Result<Option<JobId>, EnqueueError> {
        self.change_and_wake("put in a tick", |world, now| {
            world.tick(now, schedule, tick_unix_ms, job)
        })?
    }

    async fn last_tick(&self, schedule: &str) -> Result<Option<i64>, StoreError> {
        self.see("read a tick", |world, _| world.ticks.get(schedule).copied())
    }

    async fn prune(&self, age: Duration, limit: u32) -> Result<u32, StoreError> {
        self.change("prune", |world, now| world.prune(now, age, limit))
    }

    async fn job(&self, job: JobId) -> Result<Option<JobView>, StoreError> {
        self.see("read a job", |world, now| world.view(now, job))
    }

    async fn list(&self, filter: &JobFilter) -> Result<Vec<JobView>, StoreError> {
        self.see("list jobs", |world, now| world.list(now, filter))
    }

    async fn executions(&self, job: JobId) -> Result<Vec<Execution>, StoreError> {
        self.see("read executions", |world, _| world.executions_of(job))
    }

    async fn workers(&self) -> Result<Vec<WorkerView>, StoreError> {
        self.see("list workers", |world, _| world.workers())
    }

    async fn queues(&self) -> Result<Vec<QueueView>, StoreError> {
        self.see("list queues", World::queues)
    }

    async fn why_priority(&self, job: JobId) -> Result<Option<Reason>, StoreError> {
        self.see("explain a priority", |world, _| world.why_priority(job))
    }

    async fn doctor(&self) -> Result<Vec<Finding>, StoreError> {
        self.see("look for damage", |world, _| world.doctor())
    }

    async fn wait(&self, _queues: &[String], timeout: Duration) {
        let changed = self.shared.changed.notified();
        // Elapsed or notified: the caller asks again.
        let _ = tokio::time::timeout(timeout, changed).await;
    }

    async fn now_unix_ms(&self) -> Result<i64, StoreError> {
        self.see("read the time", |_, now| now)
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.lock().closed = true;
        self.shared.changed.notify_waiters();
        Ok(())
    }
}
