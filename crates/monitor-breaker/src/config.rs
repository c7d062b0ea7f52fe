//! When a breaker opens, how long it stays open, and what closes it.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use monitor_backoff::{Cap, ExponentOrigin, Floor, Jitter, Policy, Schedule};

use crate::ConfigError;

/// The settings of a breaker. Built by [`Config::builder`], which validates them.
///
/// # Default
/// [`Config::hardened`].
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub(crate) failure_threshold: u32,
    pub(crate) success_threshold: u32,
    pub(crate) half_open_trials: u32,
    pub(crate) trial_deadline: Duration,
    pub(crate) open_duration: Duration,
    pub(crate) open_policy: Policy,
    seed: Option<u64>,
}

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
///     .failure_threshold(3)
///     .open_duration(Duration::from_secs(10))
///     .build()?;
///
/// let refused = Config::builder().half_open_trials(0).build();
/// assert_eq!(refused, Err(ConfigError::ZeroCount { field: "half_open_trials" }));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Builder {
    config: Config,
}

impl Config {
    /// Starts from the defaults.
    pub fn builder() -> Builder {
        Builder {
            config: Config::hardened(),
        }
    }

    /// Starts from these settings, to change some of them.
    pub fn to_builder(&self) -> Builder {
        Builder {
            config: self.clone(),
        }
    }

    /// How many consecutive failures open the breaker.
    #[must_use]
    pub const fn failure_threshold(&self) -> u32 {
        self.failure_threshold
    }

    /// Opens after 5 consecutive failures; for 60 s at first, then 120 s, 240 s and so on up to
    /// 10 min, spread by 20 % but never below 60 s; one trial at a time, each with 60 s; closes
    /// after 2 successful trials.
    #[must_use]
    pub fn hardened() -> Config {
        let open_policy = Policy::builder()
            .exponent_origin(ExponentOrigin::FailuresMinusOne)
            .floor(Floor::AtLeastInterval)
            .cap(Cap::IntervalOr(Duration::from_secs(600)))
            .jitter(Jitter::symmetric(0.2));
        Config {
            failure_threshold: 5,
            success_threshold: 2,
            half_open_trials: 1,
            trial_deadline: Duration::from_secs(60),
            open_duration: Duration::from_secs(60),
            open_policy: constant(open_policy),
            seed: None,
        }
    }

    /// Opens after 5 consecutive failures, for exactly 60 s every time; one trial decides.
    #[must_use]
    pub fn mail() -> Config {
        let open_policy = Policy::builder()
            .schedule(Schedule::Fixed(Duration::ZERO))
            .floor(Floor::AtLeastInterval)
            .jitter(Jitter::NONE);
        Config {
            success_threshold: 1,
            open_policy: constant(open_policy),
            ..Config::hardened()
        }
    }

    /// Returns the seed, or one that no other breaker is likely to have: breakers that open
    /// together must not try again together.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
            .unwrap_or_else(|| RandomState::new().build_hasher().finish())
    }
}

impl Default for Config {
    fn default() -> Self {
        Config::hardened()
    }
}

impl Builder {
    /// Sets after how many consecutive failures the breaker opens. Default: 5.
    pub fn failure_threshold(mut self, failures: u32) -> Self {
        self.config.failure_threshold = failures;
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
    /// since it was last closed (1, 2, ...) as failures, and the open duration as interval.
    /// Default: ×2 up to 10 min, ±20 %, never below the open duration.
    pub fn open_policy(mut self, policy: Policy) -> Self {
        self.config.open_policy = policy;
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
    /// - [`ConfigError::ZeroCount`]: a threshold, or the number of trials, is 0.
    /// - [`ConfigError::ZeroDuration`]: the trial deadline or the open duration is 0.
    pub fn build(self) -> Result<Config, ConfigError> {
        let config = self.config;
        let counts = [
            ("failure_threshold", config.failure_threshold),
            ("success_threshold", config.success_threshold),
            ("half_open_trials", config.half_open_trials),
        ];
        for (field, count) in counts {
            if count == 0 {
                return Err(ConfigError::ZeroCount { field });
            }
        }
        let durations = [
            ("trial_deadline", config.trial_deadline),
            ("open_duration", config.open_duration),
        ];
        for (field, duration) in durations {
            if duration.is_zero() {
                return Err(ConfigError::ZeroDuration { field });
            }
        }
        Ok(config)
    }
}

/// Builds a policy that is made of constants only.
fn constant(builder: monitor_backoff::Builder) -> Policy {
    // Cannot fail: no input but the two constants above, and the tests build both.
    builder
        .build()
        .expect("the default open policies are valid")
}
