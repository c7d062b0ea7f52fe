//! A transaction in memory: a copy of the world that takes its place if nobody came between.

use super::op::Op;
use super::world::World;
use super::{Memory, closed};
use crate::transaction::sealed::Sealed;
use crate::{
    CommitPermit, EnqueueError, Enqueued, Epoch, JobId, JobState, JobTransaction, NewJob, Settle,
    Settled, StoreError, StoreErrorKind, WorkerId,
};

/// A transaction of a [`Memory`]: everything in it happens at its commit, or never.
///
/// Optimistic: a commit after any other change fails with [`StoreErrorKind::Conflict`].
#[derive(Debug)]
pub struct MemoryTransaction {
    memory: Memory,
    version: u64,
    now: i64,
    world: World,
    /// What was completed in it: INV-JOBS-3.
    completed: Vec<(JobId, Epoch)>,
    /// The same as changes, for the journal.
    ops: Vec<Op>,
}

impl Memory {
    /// Begins a transaction.
    ///
    /// # Errors
    /// When it is closed.
    pub fn begin(&self) -> Result<MemoryTransaction, StoreError> {
        let (version, now, world) = {
            let now = (self.shared.clock)();
            let state = self.lock();
            if state.closed {
                return Err(closed("begin a transaction"));
            }
            (state.version, now, state.world.clone())
        };
        Ok(MemoryTransaction {
            memory: self.clone(),
            version,
            now,
            world,
            completed: Vec::new(),
            ops: Vec::new(),
        })
    }
}

impl MemoryTransaction {
    /// Makes it so.
    ///
    /// # Errors
    /// When something else changed since it began, or the permit is another transaction's: nothing
    /// is changed.
    pub fn commit(self, permit: CommitPermit) -> Result<(), StoreError> {
        if !self.completed.contains(&permit.key()) {
            return Err(StoreError {
                action: "commit a transaction",
                kind: StoreErrorKind::Fatal,
                source: "the permit is of another transaction".into(),
            });
        }
        {
            let mut state = self.memory.lock();
            if state.version != self.version {
                return Err(StoreError {
                    action: "commit a transaction",
                    kind: StoreErrorKind::Conflict,
                    source: "something else was changed since it began".into(),
                });
            }
            let (ops, changed) = (self.ops, self.world);
            state.make(
                "commit a transaction",
                self.now,
                || Op::All(ops),
                |world, _| *world = changed,
            )?;
        }
        permit.committed();
        self.memory.shared.changed.notify_waiters();
        Ok(())
    }

    fn is_held(&self, job: JobId, epoch: Epoch) -> bool {
        let job = self.world.jobs.get(&job);
        job.is_some_and(|job| job.state == JobState::Running && job.epoch == Some(epoch))
    }
}

impl Sealed for MemoryTransaction {}

impl JobTransaction for MemoryTransaction {
    async fn fence(&mut self, job: JobId, epoch: Epoch) -> Result<bool, StoreError> {
        Ok(self.is_held(job, epoch))
    }

    async fn settle(&mut self, worker: WorkerId, end: &Settle) -> Result<Settled, StoreError> {
        let settled = self
            .world
            .settle(self.now, worker, std::slice::from_ref(end));
        let ends = vec![end.clone()];
        self.ops.push(Op::Settle(worker, ends));
        let settled = settled.first().copied().unwrap_or(Settled::Stale);
        if settled == Settled::Done {
            self.completed.push((end.job, end.epoch));
        }
        Ok(settled)
    }

    async fn enqueue(&mut self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, EnqueueError> {
        self.ops.push(Op::Enqueue(jobs.to_vec()));
        self.world.enqueue(self.now, jobs)
    }
}
