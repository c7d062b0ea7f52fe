//! Building a policy, and refusing one that contradicts itself.

use std::time::Duration;

use crate::{BackoffError, Base, Cap, ExponentOrigin, Floor, Jitter, JitterKind, Policy, Schedule};

/// The growth factors a policy accepts. Below, rounding would hide the growth.
const FACTOR: std::ops::RangeInclusive<f64> = 1.01..=100.0;

/// Builds a [`Policy`] and validates it.
///
/// # Defaults
/// Exponential from the interval, ×2; exponent = failures, without a limit; no minimum;
/// [`Floor::AtLeastInterval`]; [`Cap::IntervalOr`] 60 min; ±20 % on every wait.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use monitor_backoff::{BackoffError, Cap, Floor, Jitter, Policy, Schedule};
///
/// # fn main() -> Result<(), BackoffError> {
/// let policy = Policy::builder()
///     .schedule(Schedule::Fixed(Duration::from_secs(30)))
///     .floor(Floor::Absolute)
///     .cap(Cap::Fixed(Duration::from_secs(33)))
///     .jitter(Jitter::symmetric(0.1))
///     .build()?;
/// assert_eq!(policy.nominal(9, Duration::from_secs(5)), Duration::from_secs(30));
///
/// let refused = policy.to_builder().jitter(Jitter::symmetric(20.0)).build();
/// assert_eq!(refused, Err(BackoffError::Ratio { ratio: 20.0 }));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Builder {
    policy: Policy,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Builder::from_policy(Policy {
            schedule: Schedule::Exponential {
                base: Base::Interval,
                factor: 2.0,
            },
            origin: ExponentOrigin::Failures,
            exponent_cap: None,
            min_delay: Duration::ZERO,
            floor: Floor::AtLeastInterval,
            cap: Cap::IntervalOr(Duration::from_secs(3600)),
            jitter: Jitter::symmetric(0.2),
        })
    }

    pub(crate) fn from_policy(policy: Policy) -> Self {
        Builder { policy }
    }

    /// Sets how the wait grows. Default: exponential from the interval, ×2.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.policy.schedule = schedule;
        self
    }

    /// Sets which exponent belongs to the first failure. Default: [`ExponentOrigin::Failures`].
    pub fn exponent_origin(mut self, origin: ExponentOrigin) -> Self {
        self.policy.origin = origin;
        self
    }

    /// Sets the largest exponent; `None` is no limit. Default: `None`.
    pub fn exponent_cap(mut self, cap: Option<u32>) -> Self {
        self.policy.exponent_cap = cap;
        self
    }

    /// Sets the shortest wait after a failure. It holds after jitter, and says nothing about the
    /// normal interval. Default: zero.
    pub fn min_delay(mut self, min_delay: Duration) -> Self {
        self.policy.min_delay = min_delay;
        self
    }

    /// Sets how a wait relates to the normal interval. Default: [`Floor::AtLeastInterval`].
    pub fn floor(mut self, floor: Floor) -> Self {
        self.policy.floor = floor;
        self
    }

    /// Sets the longest wait after a failure. It holds after jitter. Default:
    /// [`Cap::IntervalOr`] 60 min.
    pub fn cap(mut self, cap: Cap) -> Self {
        self.policy.cap = cap;
        self
    }

    /// Sets the jitter. Default: ±20 % on every wait.
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.policy.jitter = jitter;
        self
    }

    /// Returns the policy.
    ///
    /// # Errors
    /// - [`BackoffError::NoSteps`], [`BackoffError::FallingSteps`]: a table that is empty or falls.
    /// - [`BackoffError::Factor`]: a factor outside 1.01 to 100, or not finite.
    /// - [`BackoffError::BaseAboveCap`]: a fixed base (or wait) above the cap.
    /// - [`BackoffError::Ratio`]: a jitter ratio outside 0 to 1, or not a number.
    /// - [`BackoffError::MinDelayAboveCap`]: a minimum above the cap.
    /// - [`BackoffError::ConfirmationBelowMinDelay`]: a confirming look below the minimum.
    pub fn build(self) -> Result<Policy, BackoffError> {
        let policy = self.policy;
        let cap = policy.cap.duration();
        check_schedule(&policy.schedule, cap)?;
        if let JitterKind::Symmetric { ratio } = policy.jitter.kind
            && !(0.0..=1.0).contains(&ratio)
        {
            return Err(BackoffError::Ratio { ratio });
        }
        let min_delay = policy.min_delay;
        if min_delay > cap {
            return Err(BackoffError::MinDelayAboveCap { min_delay, cap });
        }
        match policy.floor {
            Floor::FastConfirm { delay, .. } if delay < min_delay => {
                Err(BackoffError::ConfirmationBelowMinDelay { delay, min_delay })
            }
            _ => Ok(policy),
        }
    }
}

fn check_schedule(schedule: &Schedule, cap: Duration) -> Result<(), BackoffError> {
    let base_below_cap = |base| match base {
        Base::Fixed(base) if base > cap => Err(BackoffError::BaseAboveCap { base, cap }),
        _ => Ok(()),
    };
    match schedule {
        Schedule::Steps(steps) => check_steps(steps),
        Schedule::Fixed(wait) => base_below_cap(Base::Fixed(*wait)),
        Schedule::Linear { base, step: _ } => base_below_cap(*base),
        Schedule::Exponential { base, factor } => {
            if !FACTOR.contains(factor) {
                return Err(BackoffError::Factor { factor: *factor });
            }
            base_below_cap(*base)
        }
    }
}

fn check_steps(steps: &[Duration]) -> Result<(), BackoffError> {
    if steps.is_empty() {
        return Err(BackoffError::NoSteps);
    }
    for (index, pair) in steps.windows(2).enumerate() {
        if let [previous, step] = *pair
            && step < previous
        {
            return Err(BackoffError::FallingSteps {
                index: index + 1,
                step,
                previous,
            });
        }
    }
    Ok(())
}
