//! The whole database as plain maps, and what a worker does to it: obviously right, never fast.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::rows::{EdgeRow, ExecutionRow, Job, Worker};
use crate::kernel::attempts::{End, LOST_ERROR, Next, To};
use crate::kernel::edges::waiting;
use crate::kernel::limits;
use crate::kernel::ordering::whole_ms;
use crate::kernel::standing::Health;
use crate::{
    Beat, Claim, ClaimError, ClaimRequest, EnqueueError, Epoch, JobId, JobState, NewJob, Outcome,
    Register, Rescued, Settle, Settled, WorkerId, WorkerPulse, WorkerState,
};

/// Deterministic: the same calls with the same times make the same world, which is what the
/// journal relies on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct World {
    /// The last number given out, of each kind.
    pub(super) last_job: i64,
    pub(super) last_worker: i64,
    pub(super) last_epoch: i64,
    pub(super) jobs: BTreeMap<JobId, Job>,
    /// By child, then parent.
    pub(super) edges: BTreeMap<(JobId, JobId), EdgeRow>,
    /// The same the other way round.
    pub(super) children: BTreeSet<(JobId, JobId)>,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    pub(super) executions: BTreeMap<(JobId, Epoch), ExecutionRow>,
    pub(super) paused: BTreeSet<String>,
    pub(super) ticks: BTreeMap<String, i64>,
    /// By queue and tenant.
    pub(super) fair: BTreeMap<(String, String), i64>,
}

impl World {
    pub(super) fn register(&mut self, now: i64, register: &Register) -> WorkerId {
        self.last_worker += 1;
        let id = WorkerId(self.last_worker);
        self.workers.insert(id, Worker::new(id, register, now));
        id
    }

    pub(super) fn beat(&mut self, now: i64, worker: WorkerId) -> Option<Beat> {
        let row = self.live(worker)?;
        row.beats += 1;
        row.seen_ms = now;
        let drain = row.draining;
        let cancel = self
            .held_by(worker)
            .filter(|job| job.cancel_requested)
            .filter_map(|job| Some((job.id, job.epoch?)))
            .collect();
        Some(Beat { drain, cancel })
    }

    pub(super) fn drain(&mut self, worker: WorkerId) -> bool {
        let row = self.live(worker);
        row.map(|row| row.draining = true).is_some()
    }

    pub(super) fn set_health(&mut self, worker: WorkerId, health: WorkerState) -> bool {
        let row = self.live(worker);
        row.map(|row| row.health = Health::of(health)).is_some()
    }

    pub(super) fn deregister(&mut self, now: i64, worker: WorkerId) -> bool {
        if self.live(worker).is_none() {
            return false;
        }
        let held: Vec<JobId> = self.held_by(worker).map(|job| job.id).collect();
        let mut ended = Vec::new();
        for id in held {
            if let Some(job) = self.jobs.get(&id) {
                let next = job.attempt().settle(&Outcome::Release);
                self.leave(now, id, next, End::Released, None, &mut ended);
            }
        }
        self.workers.remove(&worker);
        self.resolve(now, ended);
        true
    }

    pub(super) fn claim(&mut self, now: i64, request: &ClaimRequest) -> Result<Claim, ClaimError> {
        let id = request.worker;
        let held = u32::try_from(self.held_by(id).count()).unwrap_or(u32::MAX);
        let worker = self.live(id).ok_or(ClaimError::UnknownWorker(id))?;
        let state = worker.standing(held).state();
        if !state.may_claim() {
            return Err(ClaimError::NotClaiming {
                worker: id,
                state: state.as_str(),
            });
        }
        let free = worker.capacity.saturating_sub(held);
        if free == 0 && request.limit > 0 {
            return Err(ClaimError::AtCapacity { worker: id, held });
        }
        let queues = worker.queues.clone();
        let served = |queue: &String| queues.contains(queue) && !self.paused.contains(queue);
        let mut ready: Vec<(i64, JobId)> = self
            .jobs
            .values()
            .filter(|job| job.state.as_of(job.run_at_ms, now) == JobState::Ready)
            .filter(|job| served(&job.queue))
            .map(|job| (job.key, job.id))
            .collect();
        ready.sort_unstable();
        let next_due = self
            .jobs
            .values()
            .filter(|job| job.state == JobState::Scheduled && served(&job.queue))
            .map(|job| job.run_at_ms - now)
            .filter(|wait| *wait > 0)
            .min()
            .filter(|_| ready.is_empty());
        ready.truncate(request.limit.min(free) as usize);
        let jobs = self.hand_out(now, request, &ready);
        let next_due = next_due.map(|wait| Duration::from_millis(wait.unsigned_abs()));
        Ok(Claim { jobs, next_due })
    }

    fn hand_out(
        &mut self,
        now: i64,
        request: &ClaimRequest,
        chosen: &[(i64, JobId)],
    ) -> Vec<crate::ClaimedJob> {
        if chosen.is_empty() {
            return Vec::new();
        }
        self.last_epoch += 1;
        let epoch = Epoch(self.last_epoch);
        let mut name = String::new();
        if let Some(worker) = self.live(request.worker) {
            worker.has_claimed = true;
            name.clone_from(&worker.name);
        }
        let mut claimed = Vec::with_capacity(chosen.len());
        for (_, id) in chosen {
            let Some(job) = self.jobs.get_mut(id) else {
                continue;
            };
            job.state = JobState::Running;
            job.attempt = job.attempt.saturating_add(1);
            job.epoch = Some(epoch);
            job.worker = Some(request.worker);
            claimed.push(job.claimed(epoch));
            if request.history {
                let row = ExecutionRow {
                    job: *id,
                    epoch,
                    attempt: job.attempt,
                    worker: request.worker,
                    worker_name: name.clone(),
                    started_ms: now,
                    ended: None,
                    error: None,
                };
                self.executions.insert((*id, epoch), row);
            }
        }
        claimed
    }

    pub(super) fn settle(&mut self, now: i64, worker: WorkerId, ends: &[Settle]) -> Vec<Settled> {
        let mut ended = Vec::new();
        let answers = ends
            .iter()
            .map(|end| self.settle_one(now, worker, end, &mut ended))
            .collect();
        self.resolve(now, ended);
        answers
    }

    fn settle_one(
        &mut self,
        now: i64,
        worker: WorkerId,
        settle: &Settle,
        ended: &mut Vec<JobId>,
    ) -> Settled {
        let end = End::of(&settle.outcome);
        let Some(job) = self.jobs.get_mut(&settle.job) else {
            return Settled::Stale;
        };
        if job.epoch != Some(settle.epoch) {
            return Settled::Stale;
        }
        if job.state != JobState::Running {
            return if job.last_end == Some(end) {
                Settled::Already
            } else {
                Settled::Stale
            };
        }
        if job.worker != Some(worker) {
            return Settled::Stale;
        }
        let mut error = None;
        match &settle.outcome {
            Outcome::Complete { result } => job.result.clone_from(result),
            Outcome::Fail { error: text, .. } => {
                job.last_error = Some(limits::text(text));
                error.clone_from(&job.last_error);
            }
            _ => {}
        }
        let next = job.attempt().settle(&settle.outcome);
        self.leave(now, settle.job, next, end, error, ended);
        Settled::Done
    }

    /// A running job leaves its worker.
    fn leave(
        &mut self,
        now: i64,
        id: JobId,
        next: Next,
        end: End,
        error: Option<String>,
        ended: &mut Vec<JobId>,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        job.attempt = next.attempt;
        job.crashes = next.crashes;
        job.worker = None;
        job.cancel_requested = false;
        job.last_end = Some(end);
        if let Some(row) = job
            .epoch
            .and_then(|epoch| self.executions.get_mut(&(id, epoch)))
        {
            row.ended = Some((now, end));
            row.error = error;
        }
        match next.to {
            To::Ready => {}
            To::After(wait) => job.run_at_ms = now.saturating_add(whole_ms(wait)),
            To::Ended(state) => {
                job.state = state;
                job.ended_ms = Some(now);
                ended.push(id);
                return;
            }
        }
        job.state = waiting(job.pending, job.holds, job.run_at_ms, now);
    }

    pub(super) fn progress(&mut self, job: JobId, epoch: Epoch, percent: u8, text: &str) -> bool {
        let job = self.jobs.get_mut(&job);
        let owned = job.filter(|job| job.state == JobState::Running && job.epoch == Some(epoch));
        owned
            .map(|job| job.progress = Some((percent.min(100), limits::text(text))))
            .is_some()
    }

    pub(super) fn rescue(&mut self, now: i64, pulse: &WorkerPulse, limit: u32) -> Rescued {
        let mut rescued = Rescued::default();
        let Some(worker) = self.live(pulse.worker) else {
            rescued.retired = true;
            return rescued;
        };
        if worker.beats != pulse.beats {
            rescued.alive = true;
            return rescued;
        }
        let held: Vec<JobId> = self.held_by(pulse.worker).map(|job| job.id).collect();
        let taken = held.len().min(limit as usize);
        let mut ended = Vec::new();
        for id in held.iter().take(taken) {
            let Some(job) = self.jobs.get_mut(id) else {
                continue;
            };
            let next = job.attempt().lose();
            if next.to == To::Ended(JobState::Dead) {
                job.last_error = Some(LOST_ERROR.to_owned());
                rescued.buried += 1;
            } else {
                rescued.requeued += 1;
            }
            self.leave(now, *id, next, End::Lost, None, &mut ended);
        }
        if taken == held.len() {
            rescued.retired = true;
            if let Some(worker) = self.live(pulse.worker) {
                worker.failed_ms = Some(now);
            }
        }
        self.resolve(now, ended);
        rescued
    }

    pub(super) fn set_paused(&mut self, queue: &str, paused: bool) {
        if paused {
            self.paused.insert(queue.to_owned());
        } else {
            self.paused.remove(queue);
        }
    }

    pub(super) fn tick(
        &mut self,
        now: i64,
        schedule: &str,
        tick_unix_ms: i64,
        job: &NewJob,
    ) -> Result<Option<JobId>, EnqueueError> {
        let last = self.ticks.get(schedule);
        if last.is_some_and(|last| tick_unix_ms <= *last) {
            return Ok(None);
        }
        let put_in = self.enqueue(now, std::slice::from_ref(job))?;
        self.ticks.insert(schedule.to_owned(), tick_unix_ms);
        Ok(put_in.first().map(|enqueued| enqueued.id()))
    }

    /// The row of a worker that is neither deregistered nor given up.
    pub(super) fn live(&mut self, worker: WorkerId) -> Option<&mut Worker> {
        let row = self.workers.get_mut(&worker)?;
        row.failed_ms.is_none().then_some(row)
    }

    /// The jobs in a worker's hands, by id.
    pub(super) fn held_by(&self, worker: WorkerId) -> impl Iterator<Item = &Job> {
        self.jobs
            .values()
            .filter(move |job| job.worker == Some(worker))
    }
}
