//! Jobs in the memory of one process: the model that the databases are compared with.

mod dump;
mod graph;
mod journal;
mod lines;
mod op;
mod rows;
mod schedule;
#[cfg(all(test, not(monitor_loom)))]
mod tests;
mod transaction;
mod views;
mod world;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::Notify;

use self::journal::{Journal, Restored};
use self::op::Op;
use self::world::World;
use crate::{
    Backend, Beat, Claim, ClaimError, ClaimRequest, EnqueueError, Enqueued, Epoch, Execution,
    Finding, JobFilter, JobId, JobView, NewJob, Priority, QueueView, Reason, Register, Rescued,
    Settle, Settled, Snapshot, StoreError, StoreErrorKind, WorkerId, WorkerPulse, WorkerState,
    WorkerView,
};

pub use self::journal::{OnConflict, SnapshotError};
pub use self::schedule::Snapshots;
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
    /// When the last change was made.
    at: i64,
    closed: bool,
    /// Where changes are written before they are made.
    journal: Option<Journal>,
}

impl State {
    /// Makes a change, after it is in the journal.
    fn make<T>(
        &mut self,
        action: &'static str,
        now: i64,
        op: impl FnOnce() -> Op,
        change: impl FnOnce(&mut World, i64) -> T,
    ) -> Result<T, StoreError> {
        if self.closed {
            return Err(closed(action));
        }
        if let Some(journal) = &mut self.journal {
            let recorded = journal.record(now, op());
            recorded.map_err(|error| not_recorded(action, error))?;
        }
        (self.version, self.at) = (self.version + 1, now);
        Ok(change(&mut self.world, now))
    }
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

    /// One that outlives its process: it begins with what `folder` holds, and writes each change
    /// there before it makes it. With `sync` the change is on the disk by then, so a crash of the
    /// machine loses nothing that was answered; without, only a crash of the process does not.
    ///
    /// One process at a time may use a folder.
    ///
    /// # Errors
    /// When the folder cannot be read or written, or is damaged where no crash can have damaged it.
    pub fn recorded(
        folder: &Path,
        sync: bool,
        clock: impl Fn() -> i64 + Send + Sync + 'static,
    ) -> Result<Self, SnapshotError> {
        let memory = Self::with_clock(clock);
        let (journal, restored) = Journal::open(folder, sync)?;
        {
            let mut state = memory.lock();
            (state.version, state.at) = (restored.version, restored.at);
            state.world = restored.world;
            state.journal = Some(journal);
        }
        Ok(memory)
    }

    /// Writes a full snapshot; the changes from now on are the increments to it. Older ones stay,
    /// for a [`restore`](Self::restore) to an earlier time, until they are removed by hand.
    ///
    /// Returns the number of changes that it comes after; 0 when nothing is recorded.
    ///
    /// # Errors
    /// When it cannot be written: what was there stands, and is gone on with.
    pub fn snapshot(&self) -> Result<u64, SnapshotError> {
        let mut state = self.lock();
        let (version, at, world) = (state.version, state.at, state.world.clone());
        let Some(journal) = &mut state.journal else {
            return Ok(0);
        };
        journal.begin_anew(&Restored { version, at, world })?;
        Ok(version)
    }

    /// Takes over what `folder` holds, or held at that unix time in milliseconds. Workers that were
    /// registered then are rescued like any that went silent.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or the queue is not empty and `conflict` refuses. The
    /// queue is what it was.
    pub fn restore(
        &self,
        folder: &Path,
        until_unix_ms: Option<i64>,
        conflict: OnConflict,
    ) -> Result<(), SnapshotError> {
        let restored = journal::restore(folder, until_unix_ms)?;
        let mut state = self.lock();
        if state.closed {
            return Err(SnapshotError::Closed);
        }
        let jobs = state.world.jobs.len();
        match conflict {
            OnConflict::Refuse if jobs > 0 => return Err(SnapshotError::Conflict { jobs }),
            OnConflict::KeepNewer if state.version >= restored.version => return Ok(()),
            _ => {}
        }
        // Later than both: what is written next is newer than either.
        let version = restored.version.max(state.version) + 1;
        let restored = Restored {
            version,
            ..restored
        };
        if let Some(journal) = &mut state.journal {
            journal.begin_anew(&restored)?;
        }
        (state.version, state.at) = (version, restored.at);
        state.world = restored.world;
        drop(state);
        self.shared.changed.notify_waiters();
        Ok(())
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
        op: impl FnOnce() -> Op,
        change: impl FnOnce(&mut World, i64) -> T,
    ) -> Result<T, StoreError> {
        let now = (self.shared.clock)();
        self.lock().make(action, now, op, change)
    }

    /// A change after which something may be ready that was not.
    fn change_and_wake<T>(
        &self,
        action: &'static str,
        op: impl FnOnce() -> Op,
        change: impl FnOnce(&mut World, i64) -> T,
    ) -> Result<T, StoreError> {
        let answer = self.change(action, op, change)?;
        self.shared.changed.notify_waiters();
        Ok(answer)
    }
}

fn not_recorded(action: &'static str, error: std::io::Error) -> StoreError {
    use std::io::ErrorKind;
    let kind = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreErrorKind::Full,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StoreErrorKind::Denied,
        _ => StoreErrorKind::Fatal,
    };
    let source = error.into();
    StoreError {
        action,
        kind,
        source,
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
        self.change(
            "register a worker",
            || Op::Register(register.clone()),
            |world, now| world.register(now, register),
        )
    }

    async fn beat(&self, worker: WorkerId) -> Result<Option<Beat>, StoreError> {
        self.change(
            "beat",
            || Op::Beat(worker),
            |world, now| world.beat(now, worker),
        )
    }

    async fn drain(&self, worker: WorkerId) -> Result<bool, StoreError> {
        self.change(
            "drain a worker",
            || Op::Drain(worker),
            |world, _| world.drain(worker),
        )
    }

    async fn set_health(&self, worker: WorkerId, health: WorkerState) -> Result<bool, StoreError> {
        self.change(
            "set the health of a worker",
            || Op::Health(worker, health),
            |world, _| world.set_health(worker, health),
        )
    }

    async fn deregister(&self, worker: WorkerId) -> Result<bool, StoreError> {
        self.change_and_wake(
            "deregister a worker",
            || Op::Deregister(worker),
            |world, now| world.deregister(now, worker),
        )
    }

    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, EnqueueError> {
        self.change_and_wake(
            "put jobs in",
            || Op::Enqueue(jobs.to_vec()),
            |world, now| world.enqueue(now, jobs),
        )?
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, ClaimError> {
        self.change(
            "claim jobs",
            || Op::Claim(request.clone()),
            |world, now| world.claim(now, request),
        )?
    }

    async fn settle(&self, worker: WorkerId, ends: &[Settle]) -> Result<Vec<Settled>, StoreError> {
        self.change_and_wake(
            "settle jobs",
            || Op::Settle(worker, ends.to_vec()),
            |world, now| world.settle(now, worker, ends),
        )
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
        self.change(
            "note progress",
            || Op::Progress(job, epoch, percent, text.to_owned()),
            |world, _| world.progress(job, epoch, percent, text),
        )
    }

    async fn cancel(&self, job: JobId) -> Result<Option<bool>, StoreError> {
        self.change_and_wake(
            "cancel a job",
            || Op::Cancel(job),
            |world, now| world.cancel(now, job),
        )
    }

    async fn retry(&self, job: JobId) -> Result<Option<bool>, StoreError> {
        self.change_and_wake(
            "retry a job",
            || Op::Retry(job),
            |world, now| world.retry(now, job),
        )
    }

    async fn reprioritise(
        &self,
        job: JobId,
        priority: Priority,
    ) -> Result<Option<bool>, StoreError> {
        self.change(
            "change a priority",
            || Op::Reprioritise(job, priority),
            |world, _| world.reprioritise(job, priority),
        )
    }

    async fn set_paused(&self, queue: &str, paused: bool) -> Result<(), StoreError> {
        self.change_and_wake(
            "pause a queue",
            || Op::Paused(queue.to_owned(), paused),
            |world, _| world.set_paused(queue, paused),
        )
    }

    async fn pulses(&self) -> Result<Vec<WorkerPulse>, StoreError> {
        self.see("read pulses", |world, _| world.pulses())
    }

    async fn rescue(&self, pulse: &WorkerPulse, limit: u32) -> Result<Rescued, StoreError> {
        self.change_and_wake(
            "rescue jobs",
            || Op::Rescue(*pulse, limit),
            |world, now| world.rescue(now, pulse, limit),
        )
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
        self.change_and_wake(
            "put in a tick",
            || Op::Tick(schedule.to_owned(), tick_unix_ms, job.clone()),
            |world, now| world.tick(now, schedule, tick_unix_ms, job),
        )?
    }

    async fn last_tick(&self, schedule: &str) -> Result<Option<i64>, StoreError> {
        self.see("read a tick", |world, _| world.ticks.get(schedule).copied())
    }

    async fn prune(&self, age: Duration, limit: u32) -> Result<u32, StoreError> {
        self.change(
            "prune",
            || Op::Prune(age, limit),
            |world, now| world.prune(now, age, limit),
        )
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

    async fn export(&self) -> Result<Snapshot, StoreError> {
        self.see("export jobs", |world, now| Snapshot {
            unix_ms: now,
            jobs: world.list(now, &JobFilter::all()),
            executions: world.every_execution(),
            workers: world.workers(),
            queues: world.queues(now),
        })
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
