//! When a breaker opens, how long it stays open, and what closes it.

mod builder;
#[cfg(feature = "serde")]
mod settings;
mod validate;

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use monitor_backoff::{Cap, ExponentOrigin, Floor, Jitter, Policy, Schedule};

pub use self::builder::Builder;
use crate::{
    Mode,
    window::{Rate, Rates},
};

/// The settings of a breaker. Built by [`Config::builder`], which validates them.
///
/// With the feature `serde` it can be deserialised: each key has its unit in its name, an unknown
/// key is an error, and what is left out is as in [`Config::hardened`].
///
/// # Default
/// [`Config::hardened`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(try_from = "settings::Settings")
)]
pub struct Config {
    pub(crate) trip: Trip,
    failure_rate: Option<f64>,
    slow_call_rate: Option<f64>,
    pub(crate) slow_call_threshold: Option<Duration>,
    minimum_calls: Option<u32>,
    pub(crate) success_threshold: u32,
    pub(crate) half_open_trials: u32,
    pub(crate) trial_deadline: Duration,
    pub(crate) open_duration: Duration,
    pub(crate) open_policy: Policy,
    pub(crate) healthy_after: Duration,
    pub(crate) push_back_max: Duration,
    pub(crate) ramp: Duration,
    pub(crate) ramp_from: f64,
    pub(crate) mode: Mode,
    seed: Option<u64>,
}

/// What a closed breaker counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trip {
    /// Failures in a row; at this many it opens.
    Consecutive(u32),
    /// The last so many calls, exactly; it opens at a rate.
    Count(u32),
    /// The calls of the last so much time; it opens at a rate.
    Time(Duration),
}

/// The failure rate of a window that was given none.
const FAILURE_RATE: f64 = 0.5;
/// The minimum of calls of a window that was given none, if it is that large.
const MINIMUM_CALLS: u32 = 10;

impl Config {
    /// Starts from the defaults.
    pub fn builder() -> Builder {
        Config::hardened().to_builder()
    }

    /// Starts from these settings, to change some of them.
    pub fn to_builder(&self) -> Builder {
        Builder::from_config(self.clone())
    }

    /// Opens after 5 consecutive failures; for 60 s at first, then 120 s, 240 s and so on up to
    /// 10 min, spread by 20 % but never below 60 s, and anew from 60 s once it was closed for
    /// 60 s; one trial at a time, each with 60 s; closes after 2 successful trials, without a ramp.
    #[must_use]
    pub fn hardened() -> Config {
        Config {
            trip: Trip::Consecutive(5),
            failure_rate: None,
            slow_call_rate: None,
            slow_call_threshold: None,
            minimum_calls: None,
            success_threshold: 2,
            half_open_trials: 1,
            trial_deadline: Duration::from_secs(60),
            open_duration: Duration::from_secs(60),
            open_policy: constant(doubling(Duration::from_secs(600))),
            healthy_after: Duration::from_secs(60),
            push_back_max: Duration::from_secs(3600),
            ramp: Duration::ZERO,
            ramp_from: 0.1,
            mode: Mode::Normal,
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

    /// For many calls per second from one process: opens when half of at least 20 calls within
    /// 10 s failed; for 5 s at first, then 10 s, 20 s and so on up to 2 min; three trials at a
    /// time, each with 10 s; after 3 successes it admits 10 % of the calls, and all after 10 s.
    #[must_use]
    pub fn service() -> Config {
        Config {
            trip: Trip::Time(Duration::from_secs(10)),
            failure_rate: Some(FAILURE_RATE),
            minimum_calls: Some(20),
            success_threshold: 3,
            half_open_trials: 3,
            trial_deadline: Duration::from_secs(10),
            open_duration: Duration::from_secs(5),
            open_policy: constant(doubling(Duration::from_secs(120))),
            ramp: Duration::from_secs(10),
            ..Config::hardened()
        }
    }

    /// What is counted while closed.
    #[must_use]
    pub const fn trip(&self) -> Trip {
        self.trip
    }

    /// The fewest failures that open the breaker: those in a row, or those that meet the failure
    /// rate among the minimum of calls.
    #[must_use]
    pub fn failure_threshold(&self) -> u32 {
        match self.trip {
            Trip::Consecutive(failures) => failures,
            Trip::Count(_) | Trip::Time(_) => {
                let minimum_calls = f64::from(self.minimum_calls());
                // At most the minimum of calls, and a failure at least.
                ((minimum_calls * self.failure_rate()).ceil() as u32).max(1)
            }
        }
    }

    /// Returns the share of calls that must fail, in a window.
    pub(crate) fn failure_rate(&self) -> f64 {
        self.failure_rate.unwrap_or(FAILURE_RATE)
    }

    pub(crate) fn minimum_calls(&self) -> u32 {
        self.minimum_calls.unwrap_or(match self.trip {
            Trip::Count(calls) => calls.min(MINIMUM_CALLS),
            Trip::Consecutive(_) | Trip::Time(_) => MINIMUM_CALLS,
        })
    }

    /// Returns when a window opens the breaker; `None` without a window.
    pub(crate) fn rates(&self) -> Option<Rates> {
        if let Trip::Consecutive(_) = self.trip {
            return None;
        }
        Some(Rates {
            failure: Rate::new(self.failure_rate())?,
            slow: self.slow_call_rate.and_then(Rate::new),
            minimum_calls: self.minimum_calls(),
        })
    }

    /// Returns whether a trial that is slow has failed: where slow calls open the breaker, they
    /// must not close it.
    pub(crate) const fn slow_trials_fail(&self) -> bool {
        self.slow_call_rate.is_some()
    }

    /// Returns the longest open interval that the policy can draw.
    pub(crate) fn longest_open(&self) -> Duration {
        *self.open_policy.range(u32::MAX, self.open_duration).end()
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

/// Doubles with each opening up to `longest`, spread by 20 %, never below the open duration.
fn doubling(longest: Duration) -> monitor_backoff::Builder {
    Policy::builder()
        .exponent_origin(ExponentOrigin::FailuresMinusOne)
        .floor(Floor::AtLeastInterval)
        .cap(Cap::IntervalOr(longest))
        .jitter(Jitter::symmetric(0.2))
}

/// Builds a policy that is made of constants only.
fn constant(builder: monitor_backoff::Builder) -> Policy {
    // Cannot fail: no input but the constants above, and the tests build each.
    builder
        .build()
        .expect("the default open policies are valid")
}
