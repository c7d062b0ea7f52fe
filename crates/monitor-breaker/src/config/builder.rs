//! The settings, one by one.

use std::time::Duration;

use monitor_backoff::Policy;

use crate::{Config, ConfigError, Mode, Trip};

/// Builds a [`Config`] and validates it.
///
/// # Defaults
/// Those of [`Config::hardened`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use monitor_breaker::{Config, ConfigError};
///
/// # fn main() -> Result<(), ConfigError> {
/// let config = Config::builder()
///     .time_window(Duration::from_secs(10))
///     .failure_rate(0.5)
///     .minimum_calls(20)
///     .open_duration(Duration::from_secs(10))
///     .build()?;
///
/// let refused = Config::builder().failure_threshold(0).build().expect_err("zero");
/// assert_eq!(refused.to_string(), "failure_threshold is 0; it must be at least 1");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Builder {
    config: Config,
}

impl Builder {
    pub(super) fn from_config(config: Config) -> Builder {
        Builder { config }
    }

    /// Opens after so many failures without a success in between, instead of by a window.
    /// Default: 5.
    pub fn failure_threshold(mut self, failures: u32) -> Self {
        self.config.trip = Trip::Consecutive(failures);
        self
    }

    /// Opens by a rate among the last so many calls, exactly: 1 to 1 000 000, two bits for each.
    /// Each verdict takes the breaker's lock. Default: consecutive failures.
    pub fn count_window(mut self, calls: u32) -> Self {
        self.config.trip = Trip::Count(calls);
        self
    }

    /// Opens by a rate among the calls of the last so much time: 16 ms to 1 day. The window slides
    /// by a sixteenth of it. Default: consecutive failures.
    pub fn time_window(mut self, span: Duration) -> Self {
        self.config.trip = Trip::Time(span);
        self
    }

    /// Sets which share of the calls in the window must have failed, 0.000001 to 1; equality
    /// opens. Needs a window. Default: 0.5.
    pub fn failure_rate(mut self, share: f64) -> Self {
        self.config.failure_rate = Some(share);
        self
    }

    /// Sets which share of the calls in the window must have been slow, 0.000001 to 1; equality
    /// opens. Needs a window and a slow-call threshold. Default: none.
    pub fn slow_call_rate(mut self, share: f64) -> Self {
        self.config.slow_call_rate = Some(share);
        self
    }

    /// Sets from how long on a call is slow. A call that is given up after that has failed, even
    /// without a window. Default: none.
    pub fn slow_call_threshold(mut self, threshold: Duration) -> Self {
        self.config.slow_call_threshold = Some(threshold);
        self
    }

    /// Sets how many calls the window must hold before a rate is looked at. Default: 10, or the
    /// count window if that is smaller.
    pub fn minimum_calls(mut self, calls: u32) -> Self {
        self.config.minimum_calls = Some(calls);
        self
    }

    /// Sets how many trials must succeed before the breaker closes. Default: 2.
    pub fn success_threshold(mut self, successes: u32) -> Self {
        self.config.success_threshold = successes;
        self
    }

    /// Sets how many trials may be in flight at once while half-open. Default: 1.
    pub fn half_open_trials(mut self, trials: u32) -> Self {
        self.config.half_open_trials = trials;
        self
    }

    /// Sets how long a trial may take; without a verdict by then it has failed. Choose it longer
    /// than the call's own timeout. Default: 60 s.
    pub fn trial_deadline(mut self, deadline: Duration) -> Self {
        self.config.trial_deadline = deadline;
        self
    }

    /// Sets the open interval that the open policy grows from. Default: 60 s.
    pub fn open_duration(mut self, duration: Duration) -> Self {
        self.config.open_duration = duration;
        self
    }

    /// Sets how the open interval grows. The policy is asked with the times the breaker opened
    /// since it was last healthy (1, 2, ...) as failures, and the open duration as interval.
    /// Default: ×2 up to 10 min, ±20 %, never below the open duration.
    pub fn open_policy(mut self, policy: Policy) -> Self {
        self.config.open_policy = policy;
        self
    }

    /// Sets how long the breaker must stay closed until its open interval starts anew. Zero: as
    /// soon as it closes. Default: 60 s.
    pub fn healthy_after(mut self, healthy: Duration) -> Self {
        self.config.healthy_after = healthy;
        self
    }

    /// Sets the most that [`Breaker::push_back`](crate::Breaker::push_back) is believed. Default:
    /// 1 h.
    pub fn push_back_max(mut self, longest: Duration) -> Self {
        self.config.push_back_max = longest;
        self
    }

    /// Sets over how long a breaker that closes admits more and more of the calls. Zero: all at
    /// once. Default: zero.
    pub fn ramp(mut self, over: Duration) -> Self {
        self.config.ramp = over;
        self
    }

    /// Sets the share of the calls that a ramp begins with, 0.000001 to 1. Default: 0.1.
    pub fn ramp_from(mut self, share: f64) -> Self {
        self.config.ramp_from = share;
        self
    }

    /// Sets the mode that the breaker starts in. Default: normal.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.config.mode = mode;
        self
    }

    /// Sets the seed of the jitter, so that a run can be repeated. Give each breaker its own.
    /// Default: drawn anew for each breaker.
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = Some(seed);
        self
    }

    /// Returns the settings.
    ///
    /// # Errors
    /// - [`ConfigError::OutOfRange`]: a setting is outside of its range. A duration is at most 365
    ///   days; NaN and infinity are in no range.
    /// - [`ConfigError::Contradiction`]: a rate or a minimum of calls without a window; more
    ///   minimum calls than the count window holds; a slow-call rate without a threshold; a trial
    ///   deadline that is not above the slow-call threshold.
    pub fn build(self) -> Result<Config, ConfigError> {
        self.config.validate()?;
        Ok(self.config)
    }
}
