//! Random schedules of everything that can happen, against the model.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::invariants::{self, HandedOut};
use super::pair::Pair;
use super::{Rig, priority};
use crate::{
    Backend, ClaimRequest, Edge, Enqueued, Epoch, JobFilter, JobId, JobState, NewJob, On, Ordering,
    Outcome, Parent, Payload, Register, Settle, Settled, Unmet, When, WorkerId, WorkerPulse,
    WorkerState,
};

/// Schedules in a run of the suite.
const SCHEDULES: u64 = 24;
/// Steps in each of them.
const STEPS: usize = 90;

/// Random schedules over several workers, compared with the model after every step; each failure
/// names its seed. `JOBS_SCHEDULES` in the environment asks for more than the usual two dozen.
///
/// # Panics
/// When backend and model part, or an invariant does not hold.
pub async fn schedules(rig: &dyn Rig) {
    let asked = std::env::var("JOBS_SCHEDULES").ok();
    let schedules = asked.and_then(|n| n.parse().ok()).unwrap_or(SCHEDULES);
    for seed in 0..schedules {
        let mut schedule = Schedule::new(rig, seed).await;
        for step in 0..STEPS {
            schedule.step().await;
            schedule.pair.compare(step % 15 == 14).await;
        }
        schedule.finish().await;
    }
}

struct Schedule {
    pair: Pair,
    rng: SmallRng,
    /// Every registration that there was, ended or not.
    workers: Vec<WorkerId>,
    jobs: Vec<JobId>,
    /// Every right that was ever handed out, and to whom; in the model's ids.
    rights: Vec<(WorkerId, JobId, Epoch)>,
    /// Every pulse that was ever read: old ones are of workers that beat meanwhile.
    pulses: Vec<WorkerPulse>,
    /// The last ends that were sent: a lost reply makes them be sent again.
    sent: Option<(WorkerId, Vec<Settle>)>,
    handed_out: HandedOut,
    tick: i64,
}

impl Schedule {
    async fn new(rig: &dyn Rig, seed: u64) -> Self {
        // Shown by the test harness when the schedule fails.
        println!("schedule {seed}");
        let mut schedule = Self {
            pair: Pair::new(rig).await,
            rng: SmallRng::seed_from_u64(seed),
            workers: Vec::new(),
            jobs: Vec::new(),
            rights: Vec::new(),
            pulses: Vec::new(),
            sent: None,
            handed_out: HandedOut::default(),
            tick: 0,
        };
        schedule.register().await;
        schedule
    }

    async fn step(&mut self) {
        match self.rng.random_range(0..100_u32) {
            0..22 => self.enqueue().await,
            22..42 => self.claim().await,
            42..62 => self.settle().await,
            62..65 => self.lost_reply().await,
            65..67 => self.register().await,
            67..71 => self.beat().await,
            71..76 => self.rescue().await,
            76..80 => self.cancel().await,
            80..84 => self.retry().await,
            84..88 => self.reprioritise().await,
            88..90 => self.pause().await,
            90..92 => self.clock().await,
            92..93 => self.tick().await,
            93..95 => self.progress().await,
            95..97 => self.health().await,
            97..98 => self.leave().await,
            98..99 => self.prune().await,
            _ => self.refused().await,
        }
    }

    /// Whatever is left runs to its end: nothing is stuck, and nothing was lost.
    async fn finish(&mut self) {
        self.pair.advance(10 * 365 * 86_400_000).await;
        for queue in ["a", "b"] {
            self.pair.real.set_paused(queue, false).await.unwrap();
            self.pair.model.set_paused(queue, false).await.unwrap();
        }
        for pulse in self.pair.model.pulses().await.unwrap() {
            self.rescue_from(pulse, 1_000).await;
        }
        self.register_for(&["a", "b"]).await;
        let last = self.workers[self.workers.len() - 1];
        loop {
            self.pair.compare(false).await;
            let claimed = self.claim_for(last, 50).await;
            if claimed.is_empty() {
                break;
            }
            let ends = claimed.into_iter().map(|(job, epoch)| Settle {
                job,
                epoch,
                outcome: Outcome::Complete { result: None },
            });
            self.settle_for(last, ends.collect()).await;
        }
        self.pair.compare(true).await;
        let filter = JobFilter {
            limit: 100_000,
            ..JobFilter::default()
        };
        for job in self.pair.model.list(&filter).await.unwrap() {
            let waits = matches!(job.state, JobState::Held | JobState::Blocked);
            assert!(job.state.is_terminal() || waits, "R4: {job:?} is stuck");
        }
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.rng.random_range(0..from.len())].clone())
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.rng.random_range(0..n) == 0
    }

    fn wait(&mut self) -> Duration {
        let choices = [0, 0, 5_000, 60_000];
        Duration::from_millis(choices[self.rng.random_range(0..choices.len())])
    }

    async fn register(&mut self) {
        let queues: [&[&str]; 3] = [&["a"], &["b"], &["a", "b"]];
        let chosen = queues[self.rng.random_range(0..3)];
        self.register_for(chosen).await;
    }

    async fn register_for(&mut self, queues: &[&str]) {
        let register = Register {
            name: "twin".to_owned(),
            queues: queues.iter().map(|queue| (*queue).to_owned()).collect(),
            capacity: self.rng.random_range(1..8),
            lease: Duration::from_secs(30),
        };
        let model = self.pair.model.register(&register).await.unwrap();
        let real = self.pair.real.register(&register).await.expect("W1");
        self.pair.workers.same(model, real);
        self.workers.push(model);
    }

    fn new_job(&mut self, place: usize) -> NewJob {
        let mut new = NewJob::new("work", Payload::default());
        new.queue = if self.one_in(3) { "b" } else { "a" }.to_owned();
        new.priority = priority(self.rng.random_range(0..6));
        new.inherit_priority = !self.one_in(5);
        new.max_attempts = self.rng.random_range(1..4);
        new.max_crashes = self.rng.random_range(1..3);
        new.tenant = self.one_in(2).then(|| "tenant".to_owned());
        new.timeout = self.one_in(3).then(|| Duration::from_millis(1_500));
        new.ordering = match self.rng.random_range(0..8) {
            0 => Ordering::Fifo,
            1 => Ordering::Strict,
            2 => Ordering::Deadline {
                unix_ms: self.pair.now() + self.rng.random_range(0..100_000),
            },
            3 => Ordering::Fair {
                weight: self.rng.random_range(1..5),
            },
            _ => Ordering::default(),
        };
        if self.one_in(5) {
            new.when = When::In(self.wait());
        }
        if self.one_in(6) {
            let keys = ["x", "y", "z"];
            new.unique_key = self.pick(&keys).map(str::to_owned);
        }
        for _ in 0..self.rng.random_range(0..4) {
            self.add_parent(&mut new, place);
        }
        new
    }

    fn add_parent(&mut self, new: &mut NewJob, place: usize) {
        let parent = if place > 0 && self.one_in(2) {
            Some(Parent::Earlier(self.rng.random_range(0..place)))
        } else {
            let recent = self.jobs.len().saturating_sub(12);
            let recent = self.jobs[recent..].to_vec();
            self.pick(&recent).map(Parent::Job)
        };
        let on = self.pick(&[On::Success, On::Success, On::Finished, On::Failure]);
        let unmet = self.pick(&[Unmet::Hold, Unmet::Cancel, Unmet::Fail, Unmet::Run]);
        if let (Some(parent), Some(on), Some(unmet)) = (parent, on, unmet)
            && !new.parents.iter().any(|edge| edge.parent == parent)
        {
            new.parents.push(Edge { parent, on, unmet });
        }
    }

    async fn enqueue(&mut self) {
        let call: Vec<_> = (0..self.rng.random_range(1..6))
            .map(|place| self.new_job(place))
            .collect();
        let real = self.pair.real.enqueue(&self.pair.real_jobs(&call)).await;
        let model = self.pair.model.enqueue(&call).await;
        match (model, real) {
            (Ok(model), Ok(real)) => {
                for (model, real) in model.into_iter().zip(real) {
                    let (new, real_new) = (
                        matches!(model, Enqueued::New(_)),
                        matches!(real, Enqueued::New(_)),
                    );
                    assert_eq!(new, real_new, "{model:?} {real:?}");
                    self.pair.jobs.same(model.id(), real.id());
                    if new {
                        self.jobs.push(model.id());
                    }
                }
            }
            (Err(model), Err(real)) => same_kind(&model, &real),
            (model, real) => panic!("R6: {model:?} and {real:?}"),
        }
    }

    async fn claim(&mut self) {
        let limit = self.rng.random_range(0..5);
        if let Some(worker) = self.pick(&self.workers.clone()) {
            self.claim_for(worker, limit).await;
        }
    }

    async fn claim_for(&mut self, worker: WorkerId, limit: u32) -> Vec<(JobId, Epoch)> {
        let ready = self.ready_for(worker).await;
        let request = |worker| ClaimRequest {
            worker,
            limit,
            history: true,
        };
        let model = self.pair.model.claim(&request(worker)).await;
        let real = request(self.pair.workers.real(worker));
        let real = self.pair.real.claim(&real).await;
        let (model, real) = match (model, real) {
            (Ok(model), Ok(real)) => (model.jobs, real.jobs),
            (Err(model), Err(real)) => {
                same_kind(&model, &real);
                return Vec::new();
            }
            (model, real) => panic!("R6, W3: {model:?} and {real:?}"),
        };
        self.handed_out.claimed(limit, &real);
        assert_eq!(model.len(), real.len(), "R6: {model:?} and {real:?}");
        for (model, real) in model.iter().zip(&real) {
            self.pair.epochs.same(model.epoch, real.epoch);
            let mut named = real.clone();
            (named.id, named.epoch) = (self.pair.jobs.model(real.id), model.epoch);
            assert_eq!(*model, named, "R6: claimed");
        }
        let ids: Vec<_> = model.iter().map(|job| job.id).collect();
        invariants::claim_is_fair(&ids, &ready, ids.len());
        let rights: Vec<_> = model.iter().map(|job| (job.id, job.epoch)).collect();
        let theirs = rights.iter().map(|(job, epoch)| (worker, *job, *epoch));
        self.rights.extend(theirs);
        rights
    }

    /// The ready jobs of a worker's open queues, as the backend shows them.
    async fn ready_for(&self, worker: WorkerId) -> Vec<crate::JobView> {
        let workers = self.pair.model.workers().await.unwrap();
        let Some(view) = workers.into_iter().find(|view| view.id == worker) else {
            return Vec::new();
        };
        let queues = self.pair.real.queues().await.unwrap();
        let open = queues.iter().filter(|queue| !queue.paused);
        let open = open.filter(|queue| view.queues.contains(&queue.name));
        let mut ready = Vec::new();
        for queue in open {
            let filter = JobFilter {
                queue: Some(queue.name.clone()),
                state: Some(JobState::Ready),
                limit: 10_000,
                ..JobFilter::default()
            };
            ready.extend(self.pair.real.list(&filter).await.unwrap());
        }
        for job in &mut ready {
            job.id = self.pair.jobs.model(job.id);
        }
        ready
    }

    fn outcome(&mut self) -> Outcome {
        match self.rng.random_range(0..10) {
            0..4 => Outcome::Complete {
                result: self.one_in(2).then(Payload::default),
            },
            4..7 => Outcome::Fail {
                error: "it went wrong".to_owned(),
                retry_in: (!self.one_in(3)).then(|| self.wait()),
            },
            7 => Outcome::Snooze(self.wait()),
            8 => Outcome::Cancelled,
            _ => Outcome::Release,
        }
    }

    /// Rights that stand and rights that are long gone, by their holder or by another.
    async fn settle(&mut self) {
        let recent = self.rights.len().saturating_sub(10);
        let recent = self.rights[recent..].to_vec();
        let Some((mut worker, ..)) = self.pick(&recent) else {
            return;
        };
        let theirs: Vec<_> = recent
            .into_iter()
            .filter(|(holder, ..)| *holder == worker)
            .collect();
        if self.one_in(12) {
            worker = self.pick(&self.workers.clone()).unwrap_or(worker);
        }
        let mut ends = Vec::new();
        for _ in 0..self.rng.random_range(1..5) {
            if let Some((_, job, epoch)) = self.pick(&theirs) {
                let outcome = self.outcome();
                ends.push(Settle {
                    job,
                    epoch,
                    outcome,
                });
            }
        }
        self.settle_for(worker, ends).await;
    }

    async fn settle_for(&mut self, worker: WorkerId, ends: Vec<Settle>) {
        let answers = self.send(worker, &ends).await;
        for (end, answer) in ends.iter().zip(answers) {
            if answer == Settled::Done {
                self.handed_out.ended(end.job, end.epoch);
            }
        }
        self.sent = Some((worker, ends));
    }

    async fn send(&self, worker: WorkerId, ends: &[Settle]) -> Vec<Settled> {
        let named: Vec<_> = ends
            .iter()
            .map(|end| Settle {
                job: self.pair.jobs.real(end.job),
                epoch: self.pair.epochs.real(end.epoch),
                outcome: end.outcome.clone(),
            })
            .collect();
        let model = self.pair.model.settle(worker, ends).await.unwrap();
        let worker = self.pair.workers.real(worker);
        let real = self.pair.real.settle(worker, &named).await.expect("W1, D9");
        assert_eq!(model, real, "R6, F3: {ends:?}");
        real
    }

    /// The reply to the last ends was lost: they are sent again, and nothing happens twice.
    async fn lost_reply(&mut self) {
        if let Some((worker, ends)) = self.sent.clone() {
            for answer in self.send(worker, &ends).await {
                assert_ne!(answer, Settled::Done, "F5: {ends:?}");
            }
        }
    }

    async fn beat(&mut self) {
        if let Some(worker) = self.pick(&self.workers.clone()) {
            let model = self.pair.model.beat(worker).await.unwrap();
            let real = self.pair.real.beat(self.pair.workers.real(worker)).await;
            let real = real.unwrap().map(|mut beat| {
                for (job, epoch) in &mut beat.cancel {
                    *job = self.pair.jobs.model(*job);
                    *epoch = self.pair.epochs.model(*epoch);
                }
                beat
            });
            assert_eq!(model, real, "R3, R6");
        }
        self.pulses.extend(self.pair.model.pulses().await.unwrap());
    }

    /// A worker that died, or one that only paused and will say its ends later; by an old pulse, one
    /// that beat meanwhile.
    async fn rescue(&mut self) {
        if self.one_in(3) {
            self.pulses = self.pair.model.pulses().await.unwrap();
        }
        if let Some(pulse) = self.pick(&self.pulses.clone()) {
            let limit = self.rng.random_range(0..4);
            self.rescue_from(pulse, limit).await;
        }
    }

    async fn rescue_from(&self, pulse: WorkerPulse, limit: u32) {
        let real = WorkerPulse {
            worker: self.pair.workers.real(pulse.worker),
            ..pulse
        };
        let model = self.pair.model.rescue(&pulse, limit).await.unwrap();
        let real = self.pair.real.rescue(&real, limit).await.expect("W1");
        assert_eq!(model, real, "R6, W5");
    }

    async fn cancel(&mut self) {
        if let Some(job) = self.pick(&self.jobs.clone()) {
            let model = self.pair.model.cancel(job).await.unwrap();
            let real = self.pair.real.cancel(self.pair.jobs.real(job)).await;
            assert_eq!(model, real.unwrap(), "R6");
        }
    }

    async fn retry(&mut self) {
        if let Some(job) = self.pick(&self.jobs.clone()) {
            let model = self.pair.model.retry(job).await.unwrap();
            let real = self.pair.real.retry(self.pair.jobs.real(job)).await;
            assert_eq!(model, real.unwrap(), "R6: job {job}");
        }
    }

    async fn reprioritise(&mut self) {
        let to = priority(self.rng.random_range(0..6));
        if let Some(job) = self.pick(&self.jobs.clone()) {
            let model = self.pair.model.reprioritise(job, to).await.unwrap();
            let real = self
                .pair
                .real
                .reprioritise(self.pair.jobs.real(job), to)
                .await;
            assert_eq!(model, real.unwrap(), "R6");
        }
    }

    async fn pause(&mut self) {
        let queue = if self.one_in(2) { "a" } else { "b" };
        let paused = self.one_in(2);
        self.pair.model.set_paused(queue, paused).await.unwrap();
        self.pair.real.set_paused(queue, paused).await.unwrap();
    }

    /// Forward, and backward, but not so far that a job which became due would not be any more: its
    /// row may have been rewritten, or not.
    async fn clock(&mut self) {
        let by = [1, 5_000, 60_000, 3_600_000, -7_000, -3_600_000];
        let Some(by) = self.pick(&by) else { return };
        let ready = JobFilter {
            state: Some(JobState::Ready),
            limit: 100_000,
            ..JobFilter::default()
        };
        let due = self.pair.model.list(&ready).await.unwrap();
        let became_due = due
            .iter()
            .filter(|job| job.run_at_unix_ms > job.enqueued_unix_ms);
        let floor = became_due.map(|job| job.run_at_unix_ms).max();
        let now = self.pair.now();
        let by = by.max(floor.map_or(by, |floor| floor - now));
        self.pair.advance(by).await;
    }

    async fn tick(&mut self) {
        self.tick += self.rng.random_range(0..3);
        let job = self.new_job(0);
        let real = self.pair.real_jobs(std::slice::from_ref(&job));
        let model = self.pair.model.tick("s", self.tick, &job).await;
        let real = self.pair.real.tick("s", self.tick, &real[0]).await;
        match (model, real) {
            (Ok(Some(model)), Ok(Some(real))) => {
                self.pair.jobs.same(model, real);
                self.jobs.push(model);
            }
            (Ok(None), Ok(None)) => {}
            (Err(model), Err(real)) => same_kind(&model, &real),
            (model, real) => panic!("R5, R6: {model:?} and {real:?}"),
        }
    }

    async fn progress(&mut self) {
        if let Some((_, job, epoch)) = self.pick(&self.rights.clone()) {
            let percent = self.rng.random_range(0..101);
            let model = self
                .pair
                .model
                .progress(job, epoch, percent, "so far")
                .await;
            let (job, epoch) = (self.pair.jobs.real(job), self.pair.epochs.real(epoch));
            let real = self.pair.real.progress(job, epoch, percent, "so far").await;
            assert_eq!(model.unwrap(), real.unwrap(), "F3");
        }
    }

    async fn health(&mut self) {
        let states = [
            WorkerState::Idle,
            WorkerState::Degraded,
            WorkerState::Failing,
        ];
        let (Some(worker), Some(state)) = (self.pick(&self.workers.clone()), self.pick(&states))
        else {
            return;
        };
        let model = self.pair.model.set_health(worker, state).await.unwrap();
        let real = self.pair.workers.real(worker);
        assert_eq!(model, self.pair.real.set_health(real, state).await.unwrap());
        if self.one_in(4) {
            let model = self.pair.model.drain(worker).await.unwrap();
            assert_eq!(model, self.pair.real.drain(real).await.unwrap());
        }
    }

    async fn leave(&mut self) {
        if let Some(worker) = self.pick(&self.workers.clone()) {
            let model = self.pair.model.deregister(worker).await.unwrap();
            let real = self.pair.workers.real(worker);
            assert_eq!(model, self.pair.real.deregister(real).await.expect("W1"));
        }
    }

    async fn prune(&mut self) {
        let age = self.wait();
        let limit = if self.one_in(2) { 3 } else { 10_000 };
        let model = self.pair.model.prune(age, limit).await.unwrap();
        let real = self.pair.real.prune(age, limit).await.unwrap();
        assert_eq!(model, real, "R7");
    }

    /// What is refused leaves nothing.
    async fn refused(&mut self) {
        let call = [self.new_job(0), NewJob::new("No Name", Payload::default())];
        assert!(
            self.pair
                .real
                .enqueue(&self.pair.real_jobs(&call))
                .await
                .is_err()
        );
        assert!(self.pair.model.enqueue(&call).await.is_err());
    }
}

/// Errors name ids, which differ: the kinds are compared.
fn same_kind(model: &impl std::fmt::Debug, real: &impl std::fmt::Debug) {
    let kind = |error: String| error.split([' ', '(', '{']).next().map(str::to_owned);
    assert_eq!(
        kind(format!("{model:?}")),
        kind(format!("{real:?}")),
        "R6: {model:?} and {real:?}"
    );
}
