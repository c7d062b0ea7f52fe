//! How one key is to run.

use std::{hash::Hash, time::Duration};

use monitor_backoff::Policy;

use crate::{
    Class, Phase, SpecError,
    kernel::{Grid, Tick, millis},
};

/// How one key is to run: validated, so that a scheduler never meets a bad one.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use monitor_scheduler::{Phase, Spec};
///
/// let spec = Spec::builder(Duration::from_secs(60))
///     .timeout(Duration::from_secs(10))
///     .phase(Phase::of(b"web-1"))
///     .build()?;
/// assert_eq!(spec.interval(), Duration::from_secs(60));
///
/// assert!(Spec::builder(Duration::from_millis(99)).build().is_err());
/// # Ok::<(), monitor_scheduler::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    interval: Duration,
    timeout: Duration,
    backoff: Policy,
    phase: Phase,
    immediate: bool,
    after: Option<Duration>,
    trigger_resets: bool,
    class: Class,
}

impl Spec {
    /// The shortest interval, 100 ms.
    pub const MIN_INTERVAL: Duration = Duration::from_millis(100);
    /// The longest interval, 30 days.
    pub const MAX_INTERVAL: Duration = Duration::from_secs(30 * 86_400);
    /// The timeout is the interval but no more than this, unless set otherwise: 30 s.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
    /// The longest timeout, one day.
    pub const MAX_TIMEOUT: Duration = Duration::from_secs(86_400);

    /// Starts the spec of a key that runs once every `interval`: 100 ms to 30 days, in whole
    /// milliseconds.
    pub fn builder(interval: Duration) -> SpecBuilder {
        SpecBuilder {
            interval,
            timeout: None,
            backoff: Policy::default(),
            phase: Phase::default(),
            immediate: false,
            after: None,
            trigger_resets: true,
            class: Class::default(),
        }
    }

    /// Returns the time from one slot to the next.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Returns how long a run may take before it is cancelled.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns how long to wait after a failure, and how far starts are spread.
    #[must_use]
    pub fn backoff(&self) -> &Policy {
        &self.backoff
    }

    /// Returns where in the interval the slots lie.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns the first slot of `key` that is not before `unix`, both in unix time: for those who
    /// reckon what was due while nothing ran.
    #[must_use]
    pub fn slot_at_or_after(&self, key: &impl Hash, unix: Duration) -> Duration {
        let interval_ms = millis(self.interval);
        let phase_ms = self.phase.offset_ms(key, interval_ms);
        // A spec keeps it below 30 days.
        let grid = Grid::of_unix(phase_ms, interval_ms as u32, 0);
        grid.at_or_after(Tick::ceil(unix)).duration()
    }

    /// Returns how much the key matters.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    pub(crate) fn immediate(&self) -> bool {
        self.immediate
    }

    pub(crate) fn after(&self) -> Option<Duration> {
        self.after
    }

    pub(crate) fn trigger_resets(&self) -> bool {
        self.trigger_resets
    }
}

/// Builds a [`Spec`].
///
/// # Defaults
///
/// Timeout `min(interval, 30 s)`, [`Policy::default`], the phase hashed from the key, first run at
/// the first slot, a manual trigger resets the backoff, [`Class::Normal`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct SpecBuilder {
    interval: Duration,
    timeout: Option<Duration>,
    backoff: Policy,
    phase: Phase,
    immediate: bool,
    after: Option<Duration>,
    trigger_resets: bool,
    class: Class,
}

impl SpecBuilder {
    /// Sets how long a run may take before it is cancelled: 1 ms to 1 day. May exceed the interval.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets how long to wait after a failure, and with its jitter how far starts are spread.
    pub fn backoff(mut self, backoff: Policy) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets where in the interval the slots lie.
    pub fn phase(mut self, phase: Phase) -> Self {
        self.phase = phase;
        self
    }

    /// Sets whether a key that is new runs at once, and from then on in its slots.
    ///
    /// At once means as soon as there is a permit for which nobody is in the queue, in the order in
    /// which keys came, and in its first slot at the latest: thousands of new keys neither fill the
    /// queue nor are missed. If a run from before it was cancelled is still going on, after that.
    pub fn immediate(mut self, immediate: bool) -> Self {
        self.immediate = immediate;
        self
    }

    /// Sets the last due time, in unix time, that is accounted for already: the first one of a new
    /// key comes after it. For the history that outlives a restart.
    ///
    /// A time more than one interval ahead is taken for a clock that was set back, and cut there.
    pub fn after(mut self, unix: Duration) -> Self {
        self.after = Some(unix);
        self
    }

    /// Sets whether a manual trigger ends the backoff.
    pub fn trigger_resets_backoff(mut self, resets: bool) -> Self {
        self.trigger_resets = resets;
        self
    }

    /// Sets how much the key matters where there are not permits for all.
    pub fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// Checks the settings and makes the spec.
    ///
    /// # Errors
    ///
    /// - [`IntervalRange`](SpecError::IntervalRange): not within 100 ms to 30 d;
    /// - [`IntervalFraction`](SpecError::IntervalFraction): not in whole milliseconds;
    /// - [`TimeoutRange`](SpecError::TimeoutRange): not within 1 ms to 1 d.
    pub fn build(self) -> Result<Spec, SpecError> {
        let Self {
            interval,
            timeout,
            backoff,
            phase,
            immediate,
            after,
            trigger_resets,
            class,
        } = self;
        if !(Spec::MIN_INTERVAL..=Spec::MAX_INTERVAL).contains(&interval) {
            return Err(SpecError::IntervalRange { interval });
        }
        if interval.subsec_nanos() % 1_000_000 != 0 {
            return Err(SpecError::IntervalFraction { interval });
        }
        let timeout = timeout.unwrap_or(interval.min(Spec::DEFAULT_TIMEOUT));
        if !(Duration::from_millis(1)..=Spec::MAX_TIMEOUT).contains(&timeout) {
            return Err(SpecError::TimeoutRange { timeout });
        }
        Ok(Spec {
            interval,
            timeout,
            backoff,
            phase,
            immediate,
            after,
            trigger_resets,
            class,
        })
    }
}
