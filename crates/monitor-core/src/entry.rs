//! A monitor as the core holds it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use monitor_backoff::Policy;
use monitor_breaker::Breaker;
use monitor_model::{Applied, Monitor, MonitorId, Probe, Status};
use monitor_scheduler::{ProbeStatus, Spec, SpecBuilder};

use crate::delivery::Outbox;

/// How a monitor is checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The distance of its due times.
    pub interval: Duration,
    /// How long one check may take. `None`: the interval, 30 s at most.
    pub timeout: Option<Duration>,
    /// How long to wait after failures.
    pub backoff: Policy,
    /// The circuit breaker. `None`: none.
    pub breaker: Option<monitor_breaker::Config>,
    /// Whether a check by hand ends the backoff.
    pub trigger_resets_backoff: bool,
}

impl Default for Settings {
    /// Every 60 s, by the preset `hardened`.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            timeout: None,
            backoff: Policy::hardened(),
            breaker: Some(monitor_breaker::Config::hardened()),
            trigger_resets_backoff: true,
        }
    }
}

impl Settings {
    /// How long one check may take: what is set, or the interval, but 30 s at most.
    #[must_use]
    pub fn effective_timeout(&self) -> Duration {
        self.timeout
            .unwrap_or_else(|| self.interval.min(Duration::from_secs(30)))
    }

    pub(crate) fn spec(&self) -> SpecBuilder {
        Spec::builder(self.interval)
            .timeout(self.effective_timeout())
            .backoff(self.backoff.clone())
            .trigger_resets_backoff(self.trigger_resets_backoff)
    }
}

/// A monitor to be: what it is called, what looks, and how.
#[derive(Clone)]
pub struct Definition {
    /// Its id and name, and the spec that a store keeps. Two definitions with equal `monitor` are
    /// the same one: defining it again changes nothing.
    pub monitor: Monitor,
    /// What looks.
    pub probe: Arc<dyn Probe>,
    /// When and how patiently.
    pub settings: Settings,
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition")
            .field("monitor", &self.monitor)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// What defining a monitor came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defined {
    /// It is new.
    Added,
    /// It was another one before. What was in flight is fenced.
    Edited,
    /// It stands in the store just so; its epoch, state and history go on.
    Unchanged,
}

/// A monitor at one instant.
#[derive(Debug, Clone)]
pub struct View {
    /// The definition.
    pub monitor: Monitor,
    /// The state as of the last commit.
    pub status: Status,
    /// The protocol.
    pub kind: &'static str,
    /// What is checked.
    pub target: String,
    /// How it is checked.
    pub settings: Settings,
    /// The state of its breaker.
    pub breaker: Option<monitor_breaker::Snapshot>,
    /// The state of its schedule.
    pub schedule: Option<ProbeStatus<MonitorId>>,
    /// How many results were fenced since the start of the process.
    pub fenced: u64,
}

/// A defined monitor.
pub(crate) struct Entry {
    pub(crate) definition: Definition,
    pub(crate) breaker: Option<Arc<Breaker>>,
    pub(crate) fenced: AtomicU64,
    /// The row in the store has an older epoch than memory, because a write failed. The next
    /// delivery brings it up to date first.
    pub(crate) behind: AtomicBool,
    pub(crate) outbox: Mutex<Outbox>,
    /// The last status with the store's sequence of the commit that made it.
    status: Mutex<(u64, Status)>,
}

impl Entry {
    pub(crate) fn new(
        definition: Definition,
        breaker: Option<Arc<Breaker>>,
        status: Status,
    ) -> Self {
        Self {
            definition,
            breaker,
            fenced: AtomicU64::new(0),
            behind: AtomicBool::new(false),
            outbox: Mutex::default(),
            status: Mutex::new((0, status)),
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.lock_status().1.clone()
    }

    /// Takes over the state after a commit, unless a later commit's is known already.
    pub(crate) fn applied(&self, applied: &Applied) {
        let mut status = self.lock_status();
        if applied.sequence > status.0 && applied.status.epoch >= status.1.epoch {
            *status = (applied.sequence, applied.status.clone());
        }
    }

    /// Takes over the state after a change of lifecycle or definition.
    pub(crate) fn changed(&self, new: Status) {
        let mut status = self.lock_status();
        if new.epoch >= status.1.epoch {
            status.1 = new;
        }
    }

    pub(crate) fn fenced(&self) -> u64 {
        self.fenced.load(Relaxed)
    }

    fn lock_status(&self) -> MutexGuard<'_, (u64, Status)> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
