//! Policies, budgets and retries as a configuration file writes them.
//!
//! Names say their units: durations are whole milliseconds in keys that end in `_ms`. An unknown
//! key is an error, and so is a value that the builders refuse; the message names it. What is not
//! given is the preset's, or the builder's default.
//!
//! # Examples
//! ```
//! use monitor_backoff::{Retry, config::RetryConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config: RetryConfig = toml::from_str(
//!     r#"
//!     max_attempts = 5
//!     total_ms = 30_000
//!
//!     [policy]
//!     preset = "retry"
//!     cap = { fixed_ms = 5_000 }
//!
//!     [budget]
//!     ratio_per_mille = 100
//!     "#,
//! )?;
//! let retry = Retry::try_from(&config)?;
//! assert!(retry.budget().is_some());
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    BackoffError, Base, BudgetError, Cap, ExponentOrigin, Floor, JitterKind, Policy, Retry,
    RetryBudget, RetryConfigError, Schedule, Steps,
};

/// A [`Policy`]: a preset, and what differs from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PolicyConfig {
    /// One of [`Policy::PRESETS`]. Default: `hardened`; for retries, `retry`.
    pub preset: Option<String>,
    /// How the wait grows.
    pub schedule: Option<ScheduleConfig>,
    /// `failures` or `failures_minus_one`.
    pub exponent_origin: Option<OriginConfig>,
    /// The largest exponent.
    pub exponent_cap: Option<u32>,
    /// The shortest wait after a failure.
    pub min_delay_ms: Option<u64>,
    /// How a wait relates to the normal interval.
    pub floor: Option<FloorConfig>,
    /// The longest wait after a failure.
    pub cap: Option<CapConfig>,
    /// How a wait is spread.
    pub jitter: Option<JitterConfig>,
    /// Whether the normal interval is spread as well.
    pub jitter_normal_interval: Option<bool>,
}

/// A [`Schedule`]. A base that is not given is the normal interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the fields are those of the schedule, in milliseconds"
)]
pub enum ScheduleConfig {
    /// [`Schedule::Steps`].
    StepsMs(Vec<u64>),
    /// [`Schedule::Fixed`].
    FixedMs(u64),
    /// [`Schedule::Linear`].
    Linear { base_ms: Option<u64>, step_ms: u64 },
    /// [`Schedule::Exponential`].
    Exponential { base_ms: Option<u64>, factor: f64 },
    /// [`Schedule::Decorrelated`].
    Decorrelated { base_ms: Option<u64>, factor: f64 },
}

/// An [`ExponentOrigin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OriginConfig {
    /// [`ExponentOrigin::Failures`].
    Failures,
    /// [`ExponentOrigin::FailuresMinusOne`].
    FailuresMinusOne,
}

/// A [`Floor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the fields are those of the floor, in milliseconds"
)]
pub enum FloorConfig {
    /// [`Floor::Absolute`].
    Absolute,
    /// [`Floor::AtLeastInterval`].
    AtLeastInterval,
    /// [`Floor::FastConfirm`].
    FastConfirm { count: u32, delay_ms: u64 },
}

/// A [`Cap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CapConfig {
    /// [`Cap::Fixed`].
    FixedMs(u64),
    /// [`Cap::IntervalOr`].
    IntervalOrMs(u64),
}

/// A [`JitterKind`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JitterConfig {
    /// [`JitterKind::None`].
    None,
    /// [`JitterKind::Full`].
    Full,
    /// [`JitterKind::Equal`].
    Equal,
    /// [`JitterKind::Symmetric`]: 0.2 is ±20 %.
    Symmetric(f64),
}

/// A [`RetryBudget`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BudgetConfig {
    /// How many retries 1000 requests pay for.
    pub ratio_per_mille: Option<u32>,
    /// Tokens that are paid in every second.
    pub min_per_second: Option<u32>,
    /// The most tokens that are saved up.
    pub capacity: Option<u32>,
}

/// A [`Retry`], with a budget of its own if there is a `budget`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RetryConfig {
    /// How long is waited. Default: the preset `retry`.
    pub policy: PolicyConfig,
    /// The most attempts, the first included; 0 is refused. Default: 3.
    pub max_attempts: Option<u32>,
    /// The time for a whole call.
    pub total_ms: Option<u64>,
    /// The least time of an attempt.
    pub min_attempt_ms: Option<u64>,
    /// The longest push-back that is waited for.
    pub max_push_back_ms: Option<u64>,
    /// The budget of retries.
    pub budget: Option<BudgetConfig>,
}

/// What is wrong with a configuration that could be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A preset that does not exist.
    #[error("preset is {name:?}; it must be one of {}", Policy::PRESETS.join(", "))]
    UnknownPreset {
        /// The rejected name.
        name: String,
    },
    /// A policy that contradicts itself.
    #[error("policy: {0}")]
    Policy(#[from] BackoffError),
    /// A budget that makes no sense.
    #[error("budget: {0}")]
    Budget(#[from] BudgetError),
    /// Retries that make no sense.
    #[error("retry: {0}")]
    Retry(#[from] RetryConfigError),
}

impl PolicyConfig {
    fn policy(&self, default: Policy) -> Result<Policy, ConfigError> {
        let preset = match &self.preset {
            Some(name) => Policy::preset(name)
                .ok_or_else(|| ConfigError::UnknownPreset { name: name.clone() })?,
            None => default,
        };
        let mut jitter = *preset.jitter();
        if let Some(config) = self.jitter {
            jitter.kind = config.into();
        }
        if let Some(normal_interval) = self.jitter_normal_interval {
            jitter.normal_interval = normal_interval;
        }
        let mut builder = preset.to_builder().jitter(jitter);
        if let Some(schedule) = &self.schedule {
            builder = builder.schedule(schedule.into());
        }
        if let Some(origin) = self.exponent_origin {
            builder = builder.exponent_origin(origin.into());
        }
        if self.exponent_cap.is_some() {
            builder = builder.exponent_cap(self.exponent_cap);
        }
        if let Some(min_delay) = self.min_delay_ms {
            builder = builder.min_delay(Duration::from_millis(min_delay));
        }
        if let Some(floor) = self.floor {
            builder = builder.floor(floor.into());
        }
        if let Some(cap) = self.cap {
            builder = builder.cap(cap.into());
        }
        Ok(builder.build()?)
    }
}

impl TryFrom<&PolicyConfig> for Policy {
    type Error = ConfigError;

    fn try_from(config: &PolicyConfig) -> Result<Policy, ConfigError> {
        config.policy(Policy::default())
    }
}

impl TryFrom<&BudgetConfig> for RetryBudget {
    type Error = ConfigError;

    fn try_from(config: &BudgetConfig) -> Result<RetryBudget, ConfigError> {
        let mut builder = RetryBudget::builder();
        if let Some(ratio) = config.ratio_per_mille {
            builder = builder.ratio_per_mille(ratio);
        }
        if let Some(rate) = config.min_per_second {
            builder = builder.min_per_second(rate);
        }
        if let Some(capacity) = config.capacity {
            builder = builder.capacity(capacity);
        }
        Ok(builder.build()?)
    }
}

impl TryFrom<&RetryConfig> for Retry {
    type Error = ConfigError;

    fn try_from(config: &RetryConfig) -> Result<Retry, ConfigError> {
        let mut builder = Retry::builder(config.policy.policy(Policy::retry())?);
        if let Some(max_attempts) = config.max_attempts {
            builder = builder.max_attempts(max_attempts);
        }
        if let Some(total) = config.total_ms {
            builder = builder.total(Duration::from_millis(total));
        }
        if let Some(min_attempt) = config.min_attempt_ms {
            builder = builder.min_attempt(Duration::from_millis(min_attempt));
        }
        if let Some(max_push_back) = config.max_push_back_ms {
            builder = builder.max_push_back(Duration::from_millis(max_push_back));
        }
        if let Some(budget) = &config.budget {
            builder = builder.budget(budget.try_into()?);
        }
        Ok(builder.build()?)
    }
}

impl From<&ScheduleConfig> for Schedule {
    fn from(config: &ScheduleConfig) -> Schedule {
        let base = |millis: Option<u64>| match millis {
            Some(millis) => Base::Fixed(Duration::from_millis(millis)),
            None => Base::Interval,
        };
        match config {
            ScheduleConfig::StepsMs(steps) => {
                let steps: Vec<_> = steps.iter().copied().map(Duration::from_millis).collect();
                Schedule::Steps(Steps::new(&steps))
            }
            ScheduleConfig::FixedMs(wait) => Schedule::Fixed(Duration::from_millis(*wait)),
            ScheduleConfig::Linear { base_ms, step_ms } => Schedule::Linear {
                base: base(*base_ms),
                step: Duration::from_millis(*step_ms),
            },
            ScheduleConfig::Exponential { base_ms, factor } => Schedule::Exponential {
                base: base(*base_ms),
                factor: *factor,
            },
            ScheduleConfig::Decorrelated { base_ms, factor } => Schedule::Decorrelated {
                base: base(*base_ms),
                factor: *factor,
            },
        }
    }
}

impl From<OriginConfig> for ExponentOrigin {
    fn from(config: OriginConfig) -> ExponentOrigin {
        match config {
            OriginConfig::Failures => ExponentOrigin::Failures,
            OriginConfig::FailuresMinusOne => ExponentOrigin::FailuresMinusOne,
        }
    }
}

impl From<FloorConfig> for Floor {
    fn from(config: FloorConfig) -> Floor {
        match config {
            FloorConfig::Absolute => Floor::Absolute,
            FloorConfig::AtLeastInterval => Floor::AtLeastInterval,
            FloorConfig::FastConfirm { count, delay_ms } => Floor::FastConfirm {
                count,
                delay: Duration::from_millis(delay_ms),
            },
        }
    }
}

impl From<CapConfig> for Cap {
    fn from(config: CapConfig) -> Cap {
        match config {
            CapConfig::FixedMs(longest) => Cap::Fixed(Duration::from_millis(longest)),
            CapConfig::IntervalOrMs(longest) => Cap::IntervalOr(Duration::from_millis(longest)),
        }
    }
}

impl From<JitterConfig> for JitterKind {
    fn from(config: JitterConfig) -> JitterKind {
        match config {
            JitterConfig::None => JitterKind::None,
            JitterConfig::Full => JitterKind::Full,
            JitterConfig::Equal => JitterKind::Equal,
            JitterConfig::Symmetric(ratio) => JitterKind::Symmetric { ratio },
        }
    }
}
