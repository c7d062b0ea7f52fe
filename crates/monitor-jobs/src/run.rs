//! What a worker does all day: claim, run, note, drain.

use std::future::Future;
use std::time::Duration;

use monitor_backoff::Policy;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};
use tracing::{info, warn};

use crate::attempt::Verdict;
use crate::claimed::Claimed;
use crate::kernel::health::Health;
use crate::kernel::pace::{Ask, Pace};
use crate::kernel::predict::{Advice, Predictor};
use crate::signal::{Signal, Stop};
use crate::{ClaimError, Drained, Outcome, Registered, Worker, WorkerState};

/// How long a job of a kind that this worker does not know is left to others.
const UNKNOWN_KIND: Duration = Duration::from_secs(10);
/// How long a claim waits for work before it looks around.
const CLAIM_WAIT: Duration = Duration::from_secs(5);

/// How often a worker that waits looks at its own health.
const LOOK_AROUND: Duration = Duration::from_secs(1);
/// A worker that was asked to drain through the database finishes what it holds. Nobody waits
/// longer.
pub(crate) const NO_DEADLINE: Duration = Duration::from_secs(365 * 86_400);

/// A worker at work.
pub(crate) struct Run {
    worker: Worker,
    running: JoinSet<Verdict>,
    stops: Vec<Signal>,
    health: Health,
    predictor: Predictor,
    told: WorkerState,
    report: Drained,
    rng: SmallRng,
    origin: Instant,
}

impl Run {
    pub(crate) fn new(worker: Worker) -> Self {
        Self {
            worker,
            running: JoinSet::new(),
            stops: Vec::new(),
            health: Health::default(),
            predictor: Predictor::new(),
            told: WorkerState::Idle,
            report: Drained::default(),
            rng: SmallRng::seed_from_u64(seed()),
            origin: Instant::now(),
        }
    }

    pub(crate) async fn run(
        mut self,
        mut registered: Registered,
        mut ending: watch::Receiver<Option<Instant>>,
    ) -> Drained {
        loop {
            let deadline = self.work(&registered, &mut ending).await;
            if let Some(deadline) = deadline {
                self.drain(deadline).await;
                // Whoever does not answer within a lease is given up by others anyway.
                let _ = timeout(self.worker.register.lease, registered.close()).await;
                return self.report;
            }
            // It was given up. Its handlers were told; a new registration starts afresh.
            drop(registered);
            match self.register(&mut ending).await {
                Some(anew) => registered = anew,
                None => return self.report,
            }
        }
    }

    /// Claims and runs until it is to end, by when, or is lost: `None`.
    async fn work(
        &mut self,
        registered: &Registered,
        ending: &mut watch::Receiver<Option<Instant>>,
    ) -> Option<Instant> {
        // Goes on while attempts end: what it brings is not handed back for that.
        let mut claim = None;
        let mut pace = Pace::default();
        let mut look_around = interval(LOOK_AROUND);
        loop {
            if let Some(deadline) = *ending.borrow() {
                return Some(deadline);
            }
            if registered.is_lost() {
                return None;
            }
            if registered.is_draining() {
                return Some(Instant::now() + NO_DEADLINE);
            }
            self.tell_health(registered).await;
            // Whatever changes from here on is noticed.
            let changed = registered.changed();
            let mut linger = None;
            if claim.is_none() {
                let capacity = self.worker.register.capacity as usize;
                match pace.ask(self.origin.elapsed(), self.slots(registered), capacity) {
                    Ask::Nothing => {}
                    Ask::Later(wait) => linger = Some(wait),
                    Ask::Now(slots) => {
                        let slots = u32::try_from(slots).unwrap_or(u32::MAX);
                        claim = Some(Box::pin(registered.claim(slots, CLAIM_WAIT)));
                    }
                }
            }
            tokio::select! {
                claimed = answer(&mut claim) => {
                    claim = None;
                    self.take(claimed).await;
                }
                () = changed => {}
                () = after(linger) => {}
                _ = look_around.tick() => {}
                () = asked_to_end(ending) => {}
                Some(verdict) = self.running.join_next() => {
                    self.note(verdict.ok());
                    self.note_others();
                }
            }
        }
    }

    fn slots(&self, registered: &Registered) -> usize {
        if self.told == WorkerState::Failing {
            return 0;
        }
        let capacity = self.worker.register.capacity as usize;
        let running = capacity.saturating_sub(self.running.len());
        registered.free().min(running)
    }

    fn note_others(&mut self) {
        while let Some(verdict) = self.running.try_join_next() {
            self.note(verdict.ok());
        }
    }

    async fn take(&mut self, claimed: Result<Vec<Claimed>, ClaimError>) {
        match claimed {
            Ok(claimed) => {
                for claimed in claimed {
                    self.begin(claimed);
                }
            }
            // What is to be done about these is seen at the head of the loop.
            Err(ClaimError::UnknownWorker(_) | ClaimError::NotClaiming { .. }) => {
                sleep(Duration::from_millis(50)).await;
            }
            Err(ClaimError::AtCapacity { .. }) => sleep(Duration::from_millis(5)).await,
            Err(error) => {
                warn!(%error, "nothing can be claimed");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }

    fn begin(&mut self, claimed: Claimed) {
        let Some(kind) = self.worker.kinds.get(&claimed.job().kind).cloned() else {
            warn!(job = %claimed.job().id, kind = %claimed.job().kind, "no handler for this kind");
            self.running.spawn(async move {
                // Too late is as good.
                let _ = claimed.end(Outcome::Snooze(UNKNOWN_KIND)).await;
                Verdict::Nothing
            });
            return;
        };
        if self.stops.len() > 2 * self.worker.register.capacity as usize {
            self.stops.retain(|signal| !signal.is_last());
        }
        self.stops.push(claimed.signal().clone());
        let rng = SmallRng::seed_from_u64(self.rng.random());
        self.running
            .spawn(kind.run(claimed, self.worker.grace, rng));
    }

    fn note(&mut self, verdict: Option<Verdict>) {
        self.report.finished += 1;
        match verdict {
            Some(Verdict::Nothing) => {}
            Some(verdict) => {
                let now = self.origin.elapsed();
                self.health.record(now, verdict == Verdict::Own);
                self.predictor.push(self.health.rate());
            }
            None => warn!("the task of an attempt was lost"),
        }
    }

    /// Tells the database of a change of its health. What is predicted is advice, and only said.
    async fn tell_health(&mut self, registered: &Registered) {
        let state = self.health.state(self.origin.elapsed());
        if state == self.told {
            return;
        }
        if self.predictor.advice() == Advice::Restart {
            info!(worker = %registered.id(), "more and more of its attempts fail: a restart may help");
        }
        if registered.set_health(state).await.is_ok() {
            self.told = state;
        }
    }

    async fn register(
        &mut self,
        ending: &mut watch::Receiver<Option<Instant>>,
    ) -> Option<Registered> {
        let policy = Policy::retry();
        let mut failures = 0;
        loop {
            if ending.borrow().is_some() {
                return None;
            }
            match self
                .worker
                .jobs
                .register(self.worker.register.clone())
                .await
            {
                Ok(registered) => {
                    info!(worker = %registered.id(), "registered anew");
                    self.told = WorkerState::Idle;
                    return Some(registered.history(self.worker.history));
                }
                Err(error) => {
                    failures += 1;
                    warn!(%error, failures, "cannot register");
                    sleep(policy.delay(failures, Duration::ZERO, &mut self.rng)).await;
                }
            }
        }
    }

    async fn drain(&mut self, deadline: Instant) {
        loop {
            tokio::select! {
                ended = self.running.join_next() => match ended {
                    Some(verdict) => self.note(verdict.ok()),
                    None => return,
                },
                () = sleep_until(deadline) => break,
            }
        }
        for signal in self.stops.drain(..) {
            signal.fire(Stop::Shutdown);
        }
        while let Some(verdict) = self.running.join_next().await {
            match verdict {
                Ok(Verdict::Nothing) => self.report.handed_back += 1,
                verdict => self.note(verdict.ok()),
            }
        }
    }
}

/// Waits for a claim that is on its way; for ever when there is none.
async fn answer<F: Future + Unpin>(claim: &mut Option<F>) -> F::Output {
    match claim {
        Some(claim) => claim.await,
        None => std::future::pending().await,
    }
}

async fn after(wait: Option<Duration>) {
    match wait {
        Some(wait) => sleep(wait).await,
        None => std::future::pending().await,
    }
}

async fn asked_to_end(ending: &mut watch::Receiver<Option<Instant>>) {
    // Its handle says so before it is gone.
    let _ = ending.wait_for(Option::is_some).await;
}

/// Seeds differ between processes without a source of randomness of their own.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0_u8)
}
