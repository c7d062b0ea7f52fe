//! Random schedules of everything that can happen, against the model.

mod put_in;
mod work;

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::invariants::HandedOut;
use super::pair::Pair;
use super::{Rig, priority};
use crate::{
    Backend, Epoch, JobFilter, JobId, JobState, Outcome, Settle, StoreError, WorkerId, WorkerPulse,
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
            76..80 => self.of_a_job(async |on, job| on.cancel(job).await).await,
            80..84 => self.of_a_job(async |on, job| on.retry(job).await).await,
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

    /// Of any job, ended or not.
    async fn of_a_job(
        &mut self,
        ask: impl AsyncFn(&dyn Backend, JobId) -> Result<Option<bool>, StoreError>,
    ) {
        if let Some(job) = self.pick(&self.jobs.clone()) {
            self.pair.same(self.pair.jobs.both(job), ask).await;
        }
    }

    async fn reprioritise(&mut self) {
        let to = priority(self.rng.random_range(0..6));
        self.of_a_job(async |on, job| on.reprioritise(job, to).await)
            .await;
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

    async fn prune(&mut self) {
        let age = self.wait();
        let limit = if self.one_in(2) { 3 } else { 10_000 };
        let model = self.pair.model.prune(age, limit).await.unwrap();
        let real = self.pair.real.prune(age, limit).await.unwrap();
        assert_eq!(model, real, "R7");
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
