//! Every change of the in-memory database as a value: what its journal keeps.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::world::World;
use crate::{
    ClaimRequest, Epoch, JobId, NewJob, Priority, Register, Settle, WorkerId, WorkerPulse,
    WorkerState,
};

/// A change. Carried out again at the same time on the same world it comes to the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Op {
    Register(Register),
    Beat(WorkerId),
    Drain(WorkerId),
    Health(WorkerId, WorkerState),
    Deregister(WorkerId),
    Enqueue(Vec<NewJob>),
    Claim(ClaimRequest),
    Settle(WorkerId, Vec<Settle>),
    Progress(JobId, Epoch, u8, String),
    Cancel(JobId),
    Retry(JobId),
    Reprioritise(JobId, Priority),
    Paused(String, bool),
    Rescue(WorkerPulse, u32),
    Tick(String, i64, NewJob),
    Prune(Duration, u32),
    /// A transaction: all of them, or none.
    All(Vec<Op>),
}

impl World {
    /// Carries out a change, whatever it answers.
    pub(super) fn replay(&mut self, now: i64, op: &Op) {
        match op {
            Op::Register(register) => {
                let _ = self.register(now, register);
            }
            Op::Beat(worker) => {
                let _ = self.beat(now, *worker);
            }
            Op::Drain(worker) => {
                let _ = self.drain(*worker);
            }
            Op::Health(worker, health) => {
                let _ = self.set_health(*worker, *health);
            }
            Op::Deregister(worker) => {
                let _ = self.deregister(now, *worker);
            }
            Op::Enqueue(jobs) => {
                let _ = self.enqueue(now, jobs);
            }
            Op::Claim(request) => {
                let _ = self.claim(now, request);
            }
            Op::Settle(worker, ends) => {
                let _ = self.settle(now, *worker, ends);
            }
            Op::Progress(job, epoch, percent, text) => {
                let _ = self.progress(*job, *epoch, *percent, text);
            }
            Op::Cancel(job) => {
                let _ = self.cancel(now, *job);
            }
            Op::Retry(job) => {
                let _ = self.retry(now, *job);
            }
            Op::Reprioritise(job, priority) => {
                let _ = self.reprioritise(*job, *priority);
            }
            Op::Paused(queue, paused) => self.set_paused(queue, *paused),
            Op::Rescue(pulse, limit) => {
                let _ = self.rescue(now, pulse, *limit);
            }
            Op::Tick(schedule, tick, job) => {
                let _ = self.tick(now, schedule, *tick, job);
            }
            Op::All(ops) => ops.iter().for_each(|op| self.replay(now, op)),
            Op::Prune(age, limit) => {
                let _ = self.prune(now, *age, *limit);
            }
        }
    }
}
