//! Keeping the house: rescuing, releasing, pruning, ticking. Any number of nodes may do it; no one
//! leads.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use crate::kernel::observer::Observer;
use crate::stats::Counters;
use crate::{Backend, Jobs, Rescued, StoreError, StoreErrorKind, WorkerPulse};

/// Rows of one slice.
const SLICE: u32 = 5_000;
/// How long the rescue of a slice may take: one that hangs holds up that of nobody else.
const LONGEST_RESCUE: Duration = Duration::from_secs(10);

/// What a node does for all.
///
/// Defaults: rescuing and releasing always; ended jobs are pruned after seven days; no schedules.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Upkeep {
    /// After what time ended jobs, their executions and failed workers are removed; `None`: never.
    pub prune_after: Option<Duration>,
    /// How often to look for something to remove.
    pub prune_every: Duration,
    /// How often to look for releases that were left for later.
    pub release_every: Duration,
    /// Schedules that put in jobs.
    #[cfg(feature = "cron")]
    pub schedules: Vec<crate::Schedule>,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            prune_after: Some(Duration::from_secs(7 * 86_400)),
            prune_every: Duration::from_secs(60),
            release_every: Duration::from_millis(200),
            #[cfg(feature = "cron")]
            schedules: Vec::new(),
        }
    }
}

impl Upkeep {
    /// With that schedule, too.
    #[cfg(feature = "cron")]
    #[must_use]
    pub fn schedule(mut self, schedule: crate::Schedule) -> Self {
        self.schedules.push(schedule);
        self
    }

    /// With that time after which ended jobs are removed.
    #[must_use]
    pub fn prune_after(self, prune_after: impl Into<Option<Duration>>) -> Self {
        Self {
            prune_after: prune_after.into(),
            ..self
        }
    }
}

impl Jobs {
    /// Keeps the house without a worker, until the guard is dropped. Looks for dead workers four
    /// times in the shortest lease of those that are registered, and in `lease` at least.
    #[must_use]
    pub fn keep(&self, upkeep: Upkeep, lease: Duration) -> Keeping {
        start(self, upkeep, lease)
    }
}

/// The house is kept as long as this lives.
#[derive(Debug)]
pub struct Keeping(Vec<JoinHandle<()>>);

impl Drop for Keeping {
    fn drop(&mut self) {
        // Each step is a transaction: none is left half done.
        self.0.iter().for_each(JoinHandle::abort);
    }
}

pub(crate) fn start(jobs: &Jobs, upkeep: Upkeep, lease: Duration) -> Keeping {
    let house = House {
        backend: Arc::clone(jobs.backend()),
        counters: jobs.counters().clone(),
    };
    let mut tasks = vec![
        tokio::spawn(house.clone().rescue(lease)),
        tokio::spawn(house.clone().release(upkeep.release_every)),
    ];
    if let Some(age) = upkeep.prune_after {
        tasks.push(tokio::spawn(house.clone().prune(age, upkeep.prune_every)));
    }
    #[cfg(feature = "cron")]
    for schedule in upkeep.schedules {
        tasks.push(tokio::spawn(house.clone().tick(schedule)));
    }
    Keeping(tasks)
}

#[derive(Clone)]
struct House {
    backend: Arc<dyn Backend>,
    counters: Counters,
}

impl House {
    async fn rescue(self, lease: Duration) {
        let origin = Instant::now();
        let mut observer = Observer::default();
        loop {
            if let Err(error) = self.sweep(&mut observer, origin).await {
                debug!(%error, "nobody is given up: who cannot look does not judge");
                observer.blinded();
            }
            sleep(observer.next_look(lease)).await;
        }
    }

    /// Looks, and gives up who is dead: each by itself, so that one who cannot be rescued stands in
    /// nobody's way. Fails, as a look does, if there was somebody to rescue and the database was
    /// not to be had for any of them.
    async fn sweep(&self, observer: &mut Observer, origin: Instant) -> Result<(), StoreError> {
        let pulses = self.backend.pulses().await?;
        let (mut reached, mut outage) = (false, None);
        for pulse in observer.look(origin.elapsed(), &pulses) {
            match self.give_up(&pulse).await {
                Ok(()) => reached = true,
                Err(error) if error.kind.is_worth_repeating() => {
                    debug!(worker = %pulse.worker, %error, "a rescue waits for the next look");
                    outage = Some(error);
                }
                Err(error) => warn!(worker = %pulse.worker, %error, "cannot be rescued"),
            }
        }
        outage.filter(|_| !reached).map_or(Ok(()), Err)
    }

    async fn give_up(&self, pulse: &WorkerPulse) -> Result<(), StoreError> {
        loop {
            let rescued = self.rescue_slice(pulse).await?;
            self.counters.rescued(rescued);
            if rescued.alive {
                return Ok(());
            }
            let (requeued, buried) = (rescued.requeued, rescued.buried);
            if rescued.retired {
                info!(worker = %pulse.worker, requeued, buried, "a worker was given up");
                return Ok(());
            }
            if requeued + buried == 0 {
                // Others have locked what is left: until the next look.
                return Ok(());
            }
        }
    }

    async fn rescue_slice(&self, pulse: &WorkerPulse) -> Result<Rescued, StoreError> {
        let rescue = timeout(LONGEST_RESCUE, self.backend.rescue(pulse, SLICE)).await;
        rescue.unwrap_or_else(|elapsed| {
            Err(StoreError {
                action: "rescue jobs",
                kind: StoreErrorKind::Ambiguous,
                source: elapsed.into(),
            })
        })
    }

    async fn release(self, every: Duration) {
        loop {
            match self.backend.release(SLICE).await {
                Ok(0) => sleep(every).await,
                Ok(edges) => self.counters.released_later(edges),
                Err(error) => {
                    debug!(%error, "releases wait");
                    sleep(every).await;
                }
            }
        }
    }

    async fn prune(self, age: Duration, every: Duration) {
        loop {
            match self.backend.prune(age, SLICE).await {
                Ok(removed) if removed == SLICE => {}
                Ok(_) => sleep(every).await,
                Err(error) => {
                    debug!(%error, "nothing is removed");
                    sleep(every).await;
                }
            }
        }
    }

    #[cfg(feature = "cron")]
    async fn tick(self, schedule: crate::Schedule) {
        /// The time of the database is asked for at least so often: its clock may be put.
        const LOOK: Duration = Duration::from_secs(30);
        let mut from = None;
        loop {
            let wait = match self.tick_missed(&schedule, &mut from).await {
                Ok(wait) => wait.unwrap_or(LOOK).min(LOOK),
                Err(error) => {
                    debug!(schedule = %schedule.name, %error, "a tick waits");
                    Duration::from_secs(1)
                }
            };
            sleep(wait).await;
        }
    }

    /// Puts in what is due, and says when the next tick is.
    #[cfg(feature = "cron")]
    async fn tick_missed(
        &self,
        schedule: &crate::Schedule,
        from: &mut Option<i64>,
    ) -> Result<Option<Duration>, crate::EnqueueError> {
        let now = self.backend.now_unix_ms().await?;
        // A schedule that never ticked begins now.
        let begun = *from.get_or_insert(now);
        let last = self
            .backend
            .last_tick(&schedule.name)
            .await?
            .unwrap_or(begun);
        for tick in schedule.cron.missed(last, now, schedule.catch_up.max(1)) {
            self.backend
                .tick(&schedule.name, tick, &schedule.job)
                .await?;
        }
        Ok(schedule.until_next(now))
    }
}
