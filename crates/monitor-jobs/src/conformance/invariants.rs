//! What holds of any database at any time, whatever the model thinks: each a named check.

use std::collections::{BTreeMap, BTreeSet};

use crate::{ClaimedJob, Epoch, Execution, JobId, JobState, JobView, WorkerState, WorkerView};

/// Of everything that can be seen, after any step, when nothing is left to release.
pub(super) fn hold(jobs: &[JobView], workers: &[WorkerView]) {
    let states: BTreeMap<JobId, JobState> = jobs.iter().map(|job| (job.id, job.state)).collect();
    for job in jobs {
        w2_holders_are_alive(job, workers);
        d2_nothing_is_blocked_on_nothing(job);
        d3_nothing_waits_for_ended_parents(job, &states);
        d6_parents_are_older(job);
        p1_never_less_urgent_than_itself(job);
        r1_attempts_are_bounded(job);
    }
    for worker in workers {
        c4_capacity_holds(worker, jobs);
    }
}

fn w2_holders_are_alive(job: &JobView, workers: &[WorkerView]) {
    assert_eq!(
        job.state == JobState::Running,
        job.worker.is_some(),
        "W2: {job:?}"
    );
    if let Some(holder) = job.worker {
        let holder = workers.iter().find(|worker| worker.id == holder);
        let alive = holder.is_some_and(|holder| holder.state != WorkerState::Failed);
        assert!(alive, "W2: job {} is held by {holder:?}", job.id);
    }
}

fn c4_capacity_holds(worker: &WorkerView, jobs: &[JobView]) {
    let held = jobs
        .iter()
        .filter(|job| job.worker == Some(worker.id))
        .count();
    assert_eq!(held, worker.held as usize, "C4: {worker:?}");
    assert!(worker.held <= worker.capacity, "C4: {worker:?}");
}

fn d2_nothing_is_blocked_on_nothing(job: &JobView) {
    if job.state == JobState::Blocked {
        assert!(job.pending > 0, "D2: job {} waits for nothing", job.id);
    }
    if matches!(
        job.state,
        JobState::Ready | JobState::Scheduled | JobState::Running
    ) {
        assert_eq!(
            job.pending, 0,
            "D1, S7: job {} goes before its parents",
            job.id
        );
    }
}

fn d3_nothing_waits_for_ended_parents(job: &JobView, states: &BTreeMap<JobId, JobState>) {
    let alive = |parent: &JobId| states.get(parent).is_some_and(|state| !state.is_terminal());
    let unended = job
        .parents
        .iter()
        .filter(|edge| alive(&edge.parent))
        .count();
    assert!(
        job.pending as usize <= unended,
        "D1, D3: job {} counts ended parents",
        job.id
    );
}

fn d6_parents_are_older(job: &JobView) {
    let older = job.parents.iter().all(|edge| edge.parent < job.id);
    assert!(older, "D6: job {} waits for {:?}", job.id, job.parents);
}

fn p1_never_less_urgent_than_itself(job: &JobView) {
    assert!(job.effective_priority >= job.priority, "P1: {job:?}");
}

fn r1_attempts_are_bounded(job: &JobView) {
    assert!(job.attempt <= job.max_attempts, "R1: {job:?}");
}

/// Of the attempts of a job.
pub(super) fn history(job: &JobView, rows: &[Execution]) {
    f2_epochs_rise(rows);
    let open = rows
        .iter()
        .filter(|row| row.ended_unix_ms.is_none())
        .count();
    assert!(
        open <= usize::from(job.state == JobState::Running),
        "JOB-16: job {}",
        job.id
    );
    let completed = rows
        .iter()
        .filter(|row| row.outcome == Some("completed"))
        .count();
    assert!(
        completed <= 1,
        "F1: job {} was completed {completed} times",
        job.id
    );
}

fn f2_epochs_rise(rows: &[Execution]) {
    let rise = rows.windows(2).all(|pair| pair[0].epoch < pair[1].epoch);
    assert!(rise, "F2: {rows:?}");
}

/// What was handed out in a schedule so far.
#[derive(Debug, Default)]
pub(super) struct HandedOut {
    epochs: BTreeMap<JobId, Epoch>,
    ended: BTreeSet<(JobId, Epoch)>,
}

impl HandedOut {
    /// C1, C2, F2: a claim's answer, in the backend's ids.
    pub(super) fn claimed(&mut self, limit: u32, jobs: &[ClaimedJob]) {
        assert!(
            jobs.len() <= limit as usize,
            "C1: {} of {limit}",
            jobs.len()
        );
        for job in jobs {
            let before = self.epochs.insert(job.id, job.epoch);
            assert!(
                before.is_none_or(|before| before < job.epoch),
                "F2: {job:?}"
            );
        }
    }

    /// F1: an end that was accepted.
    pub(super) fn ended(&mut self, job: JobId, epoch: Epoch) {
        assert!(
            self.ended.insert((job, epoch)),
            "F1: job {job} under {epoch} ended twice"
        );
    }
}

/// C2, C3: the rows of a claim against what was ready before it.
pub(super) fn claim_is_fair(claimed: &[JobId], ready: &[JobView], limit: usize) {
    let mut order: Vec<_> = ready.iter().map(|job| (job.sort_key, job.id)).collect();
    order.sort_unstable();
    let expected: Vec<_> = order.into_iter().map(|(_, id)| id).take(limit).collect();
    assert_eq!(
        claimed, expected,
        "C2, C3, P3: the most urgent of the open queues, in order"
    );
}
