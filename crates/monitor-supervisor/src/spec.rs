//! What a periodic task is like.

use std::{num::NonZeroU32, time::Duration};

use monitor_backoff::Policy;

use crate::SpecError;

/// The settings of a periodic task, validated.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use monitor_supervisor::TaskSpec;
///
/// let spec = TaskSpec::builder("database").interval(Duration::from_secs(30)).build()?;
/// assert_eq!(spec.name(), "database");
///
/// let refused = TaskSpec::builder("database").interval(Duration::ZERO).build();
/// assert_eq!(
///     refused.map_err(|error| error.to_string()),
///     Err("task database: interval is 0ns: allowed is 1 s to 24 h".into()),
/// );
/// # Ok::<(), monitor_supervisor::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSpec {
    pub(crate) name: String,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) first_after: Duration,
    pub(crate) backoff: Option<Policy>,
    pub(crate) alert_after: NonZeroU32,
    pub(crate) remind_every: Option<Duration>,
    pub(crate) deep_every: Option<NonZeroU32>,
    pub(crate) max_share_percent: Option<u32>,
}

impl TaskSpec {
    /// The shortest interval.
    pub const MIN_INTERVAL: Duration = Duration::from_secs(1);
    /// The longest interval.
    pub const MAX_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

    /// Starts from the defaults.
    pub fn builder(name: impl Into<String>) -> TaskBuilder {
        TaskBuilder(Self {
            name: name.into(),
            interval: Duration::from_secs(300),
            timeout: Duration::from_secs(5),
            first_after: Duration::ZERO,
            backoff: None,
            alert_after: const { NonZeroU32::new(3).unwrap() },
            remind_every: Some(Duration::from_secs(60 * 60)),
            deep_every: None,
            max_share_percent: None,
        })
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the interval.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Refuses an interval that is none.
    pub(crate) fn validate_interval(name: &str, interval: Duration) -> Result<(), SpecError> {
        let allowed = (Self::MIN_INTERVAL, Self::MAX_INTERVAL, "1 s to 24 h");
        within(name, "interval", interval, allowed)
    }
}

/// Builds a [`TaskSpec`].
#[derive(Clone, Debug)]
#[must_use]
pub struct TaskBuilder(TaskSpec);

impl TaskBuilder {
    /// Sets the distance of two ticks, from start to start. Default: 5 min.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.0.interval = interval;
        self
    }

    /// Sets how long a tick may take. Longer than the interval is allowed: ticks that are due
    /// meanwhile are missed, and counted. Default: 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout = timeout;
        self
    }

    /// Sets when the first tick is due. Default: at once.
    pub fn first_after(mut self, first_after: Duration) -> Self {
        self.0.first_after = first_after;
        self
    }

    /// Sets how long to wait after failures, and the jitter of all waits. Default: none, the
    /// interval always.
    pub fn backoff(mut self, policy: Policy) -> Self {
        self.0.backoff = Some(policy);
        self
    }

    /// Sets after how many failures in a row there is an alert. Default: 3.
    pub fn alert_after(mut self, failures: NonZeroU32) -> Self {
        self.0.alert_after = failures;
        self
    }

    /// Sets after how long an alert that goes on is told again; `None` is never. Default: 1 h.
    pub fn remind_every(mut self, remind_every: Option<Duration>) -> Self {
        self.0.remind_every = remind_every;
        self
    }

    /// Asks for a deep look every so many ticks, the first included. Default: the first only.
    pub fn deep_every(mut self, ticks: NonZeroU32) -> Self {
        self.0.deep_every = Some(ticks);
        self
    }

    /// Sets the largest share of time, in per cent, that may pass in ticks: after one that took
    /// long, the next comes later. Default: none.
    pub fn max_share_percent(mut self, percent: u32) -> Self {
        self.0.max_share_percent = Some(percent);
        self
    }

    /// Returns the settings.
    ///
    /// # Errors
    /// [`SpecError::OutOfRange`]: an empty name or one above 128 bytes, an interval outside 1 s to
    /// 24 h, a timeout outside 1 ms to 24 h, a first tick later than 24 h, reminders more often
    /// than every second, a share outside 1 % to 100 %.
    pub fn build(self) -> Result<TaskSpec, SpecError> {
        const DAY: Duration = TaskSpec::MAX_INTERVAL;
        let spec = self.0;
        let name = spec.name.as_str();
        if name.is_empty() || name.len() > 128 {
            let value = format!("{} bytes long", name.len());
            return Err(out_of_range("", "name", value, "1 to 128 bytes"));
        }
        TaskSpec::validate_interval(name, spec.interval)?;
        let allowed = (Duration::from_millis(1), DAY, "1 ms to 24 h");
        within(name, "timeout", spec.timeout, allowed)?;
        let allowed = (Duration::ZERO, DAY, "at most 24 h");
        within(name, "first_after", spec.first_after, allowed)?;
        if let Some(remind_every) = spec.remind_every {
            let allowed = (Duration::from_secs(1), Duration::MAX, "at least 1 s");
            within(name, "remind_every", remind_every, allowed)?;
        }
        if let Some(percent) = spec.max_share_percent
            && !(1..=100).contains(&percent)
        {
            let value = format!("{percent} %");
            return Err(out_of_range(
                name,
                "max_share_percent",
                value,
                "1 % to 100 %",
            ));
        }
        Ok(spec)
    }
}

fn within(
    name: &str,
    field: &'static str,
    value: Duration,
    (from, to, allowed): (Duration, Duration, &'static str),
) -> Result<(), SpecError> {
    if (from..=to).contains(&value) {
        return Ok(());
    }
    Err(out_of_range(name, field, format!("{value:?}"), allowed))
}

fn out_of_range(
    name: &str,
    field: &'static str,
    value: String,
    allowed: &'static str,
) -> SpecError {
    SpecError::OutOfRange {
        task: format!("{name:?}").trim_matches('"').to_owned(),
        field,
        value,
        allowed,
    }
}
