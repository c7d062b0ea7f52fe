//! A monitor as the core holds it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use monitor_backoff::Policy;
use monitor_breaker::Breaker;
use monitor_fault::{CategoryStreaks, Policies};
use monitor_model::{
    Footprint, InvalidId, Lifecycle, Monitor, MonitorId, Observation, Outcome, Probe, Source,
    Status,
};
use monitor_operation::Epoch;
use monitor_scheduler::{Class, ProbeStatus, Spec, SpecBuilder};

use crate::delivery::Outbox;
use crate::flapping::Flapping;
use crate::maintenance::Maintenance;

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
    /// How much it matters where not all can be checked: for want of permits, and under pressure.
    pub class: Class,
    /// What to wait for after a failure of each category: the next check comes at the latest of
    /// this, of the backoff and of the breaker. `None`: whatever failed, the backoff says.
    pub by_category: Option<Policies>,
    /// When it is not checked because somebody works on its target.
    pub maintenance: Maintenance,
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
            class: Class::Normal,
            by_category: None,
            maintenance: Maintenance::default(),
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
            .backoff(self.backoff)
            .trigger_resets_backoff(self.trigger_resets_backoff)
            .class(self.class)
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
    /// The pool of connections that the probe keeps for itself, if it does: to be shown, and to be
    /// closed with the core.
    pub pool: Option<OwnPool>,
}

impl Definition {
    /// A monitor called `id` that asks `look` at every `interval`; everything else is at its
    /// default. `look` says what it saw as in [`probe_fn`](monitor_model::probe_fn).
    ///
    /// Defined again with another interval it is edited. Another function alone is not noticed:
    /// give [`monitor.spec`](Monitor::spec) a text that changes with what it does.
    ///
    /// ```
    /// use std::time::Duration;
    /// use monitor_core::{Definition, model::Observation};
    ///
    /// let every = Duration::from_secs(60);
    /// let disk = Definition::check("disk", every, || async { Observation::up() })?;
    /// assert_eq!(disk.probe.target(), "disk");
    /// assert!(Definition::check("no id", every, || async { Observation::up() }).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When `id` is none. An interval that is none is refused when it is
    /// [defined](crate::Core::define).
    pub fn check<F, Fut>(id: &str, interval: Duration, look: F) -> Result<Self, InvalidId>
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Into<Observation>> + Send + 'static,
    {
        Ok(Self {
            monitor: Monitor {
                id: id.parse()?,
                name: id.into(),
                source: Source::Api,
                spec: format!("{{\"intervalMs\":{}}}", interval.as_millis()),
            },
            probe: Arc::new(monitor_model::probe_fn(id, look)),
            settings: Settings {
                interval,
                ..Settings::default()
            },
            pool: None,
        })
    }
}

#[cfg(feature = "pool")]
use crate::pools::OwnPool;

/// A pool that a monitor brings along. There is none without the feature `pool`.
#[cfg(not(feature = "pool"))]
#[derive(Debug, Clone)]
pub struct OwnPool(std::convert::Infallible);

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
    /// Until when somebody works on the target, in unix time: it is not checked meanwhile.
    pub maintenance_until: Option<Duration>,
    /// Whether its verdicts come and go, as of those since the start of the process or its last
    /// edit.
    pub flapping: Flapping,
    /// How many bytes its checks and their unwritten results hold, as far as is accounted for.
    pub footprint: Footprint,
    /// How many results were fenced since the start of the process.
    pub fenced: u64,
}

/// A defined monitor.
pub(crate) struct Entry {
    pub(crate) definition: Definition,
    pub(crate) breaker: Option<Arc<Breaker>>,
    pub(crate) fenced: AtomicU64,
    pub(crate) footprint: Footprint,
    /// Failures in a row, where the settings tell categories apart.
    pub(crate) streaks: Mutex<CategoryStreaks>,
    /// Changed by the holder of the row alone.
    flapping: Mutex<Flapping>,
    /// INV-CORE-5: held from the question to the store until its answer is taken over and told,
    /// so that status and events follow the order in which the store wrote. Whoever changes the
    /// monitor has fenced it before he waits here.
    pub(crate) row: tokio::sync::Mutex<Row>,
    pub(crate) outbox: Mutex<Outbox>,
    /// Changed by the holder of the row alone.
    status: Mutex<Status>,
}

/// What is known of a monitor's row in the store.
#[derive(Debug)]
pub(crate) struct Row {
    /// It has an older epoch than memory, because a write failed. Whoever writes next brings it up
    /// to date first.
    pub(crate) is_behind: bool,
}

impl Entry {
    pub(crate) fn new(
        definition: Definition,
        breaker: Option<Arc<Breaker>>,
        status: Status,
        is_behind: bool,
    ) -> Self {
        Self {
            definition,
            breaker,
            fenced: AtomicU64::new(0),
            footprint: Footprint::default(),
            streaks: Mutex::default(),
            flapping: Mutex::default(),
            row: tokio::sync::Mutex::new(Row { is_behind }),
            outbox: Mutex::default(),
            status: Mutex::new(status),
        }
    }

    pub(crate) fn status(&self) -> Status {
        let status = self.status.lock();
        status.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over what the store has written.
    pub(crate) fn wrote(&self, row: &mut Row, status: Status) {
        row.is_behind = false;
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    pub(crate) fn flapping(&self) -> Flapping {
        *self.flapping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a committed outcome in. What it comes to, if it began or ceased to flap.
    pub(crate) fn saw(&self, outcome: Outcome) -> Option<Flapping> {
        let mut flapping = self.flapping.lock().unwrap_or_else(PoisonError::into_inner);
        flapping.record(outcome).then_some(*flapping)
    }

    /// Notes a change that the store did not take: it holds in memory alone.
    pub(crate) fn fell_behind(&self, row: &mut Row, epoch: Epoch, lifecycle: Lifecycle) {
        row.is_behind = true;
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.epoch = epoch;
        status.lifecycle = lifecycle;
    }

    /// What becomes of its own pool from now on is not told any more.
    pub(crate) fn leave_pool(&self) {
        #[cfg(feature = "pool")]
        if let Some(own) = &self.definition.pool {
            own.changes.detach();
        }
    }

    pub(crate) fn fenced(&self) -> u64 {
        self.fenced.load(Relaxed)
    }
}
