//! Building a policy, and refusing one that contradicts itself.

use core::time::Duration;

use crate::{
    BackoffError, Base, Cap, ExponentOrigin, Floor, Jitter, JitterKind, Policy, Schedule, Steps,
    nanos::{min, nanos},
};

/// The growth factors a policy accepts. Below, rounding would hide the growth.
const FACTORS: (f64, f64) = (1.01, 100.0);

/// Builds a [`Policy`] and validates it. Everything here is `const`: a policy can be a constant
/// whose mistakes are compile errors.
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
/// const POLICY: Policy = match Policy::builder()
///     .schedule(Schedule::Fixed(Duration::from_secs(30)))
///     .floor(Floor::Absolute)
///     .cap(Cap::Fixed(Duration::from_secs(33)))
///     .jitter(Jitter::symmetric(0.1))
///     .build()
/// {
///     Ok(policy) => policy,
///     Err(_) => panic!("the policy contradicts itself"),
/// };
/// assert_eq!(POLICY.nominal(9, Duration::from_secs(5)), Duration::from_secs(30));
///
/// let refused = POLICY.to_builder().jitter(Jitter::symmetric(20.0)).build();
/// assert_eq!(refused, Err(BackoffError::Ratio { ratio: 20.0 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Builder {
    schedule: Schedule,
    origin: ExponentOrigin,
    exponent_cap: Option<u32>,
    min_delay: Duration,
    floor: Floor,
    cap: Cap,
    jitter: Jitter,
}

impl Builder {
    pub(crate) const fn new() -> Self {
        Builder {
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
        }
    }

    pub(crate) const fn exponential(base: Duration, longest: Duration) -> Self {
        Builder::new()
            .schedule(Schedule::Exponential {
                base: Base::Fixed(base),
                factor: 2.0,
            })
            .exponent_origin(ExponentOrigin::FailuresMinusOne)
            .floor(Floor::Absolute)
            .cap(Cap::Fixed(longest))
            .jitter(Jitter::FULL)
    }

    pub(crate) const fn from_policy(policy: Policy) -> Self {
        Builder {
            schedule: policy.schedule,
            origin: policy.origin,
            exponent_cap: policy.exponent_cap(),
            min_delay: policy.min_delay(),
            floor: policy.floor,
            cap: policy.cap(),
            jitter: policy.jitter,
        }
    }

    /// Sets how the wait grows. Default: exponential from the interval, ×2.
    pub const fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// Sets which exponent belongs to the first failure. Default: [`ExponentOrigin::Failures`].
    pub const fn exponent_origin(mut self, origin: ExponentOrigin) -> Self {
        self.origin = origin;
        self
    }

    /// Sets the largest exponent; `None` is no limit. Default: `None`.
    pub const fn exponent_cap(mut self, cap: Option<u32>) -> Self {
        self.exponent_cap = cap;
        self
    }

    /// Sets the shortest wait after a failure. It holds after jitter, and says nothing about the
    /// normal interval. Default: zero.
    pub const fn min_delay(mut self, min_delay: Duration) -> Self {
        self.min_delay = min_delay;
        self
    }

    /// Sets how a wait relates to the normal interval. Default: [`Floor::AtLeastInterval`].
    pub const fn floor(mut self, floor: Floor) -> Self {
        self.floor = floor;
        self
    }

    /// Sets the longest wait after a failure. It holds after jitter. Default:
    /// [`Cap::IntervalOr`] 60 min.
    pub const fn cap(mut self, cap: Cap) -> Self {
        self.cap = cap;
        self
    }

    /// Sets the jitter. Default: ±20 % on every wait.
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Returns the policy.
    ///
    /// # Errors
    /// - [`BackoffError::NoSteps`], [`BackoffError::TooManySteps`], [`BackoffError::FallingSteps`]:
    ///   a table that is empty, too long, or falls.
    /// - [`BackoffError::Factor`]: a factor outside 1.01 to 100, or not finite.
    /// - [`BackoffError::Zero`]: a fixed base of zero that could not grow, or a step of zero.
    /// - [`BackoffError::TooLong`]: a duration of 584 years or more.
    /// - [`BackoffError::BaseAboveCap`]: a fixed base (or wait) above the cap.
    /// - [`BackoffError::Ratio`]: a jitter ratio outside 0 to 1, or not a number.
    /// - [`BackoffError::MinDelayAboveCap`]: a minimum above the cap.
    /// - [`BackoffError::ConfirmationBelowMinDelay`]: a confirming look below the minimum.
    pub const fn build(self) -> Result<Policy, BackoffError> {
        if let Some(error) = self.problem() {
            return Err(error);
        }
        let mut policy = Policy {
            schedule: self.schedule,
            jitter: self.jitter,
            share: self.jitter.share(),
            floor: self.floor,
            min_delay: nanos(self.min_delay),
            cap: nanos(self.cap.duration()),
            cap_yields_to_interval: matches!(self.cap, Cap::IntervalOr(_)),
            origin: self.origin,
            exponent_cap: match self.exponent_cap {
                Some(limit) => limit,
                None => u32::MAX,
            },
            settled_from: u64::MAX,
            settled: (0, 0),
        };
        let ignores_interval =
            matches!(self.floor, Floor::Absolute) && matches!(self.cap, Cap::Fixed(_));
        if ignores_interval && let Some(failures) = settles_from(&policy) {
            policy.settled_from = failures as u64;
            policy.settled = policy.window_at(failures, 0);
        }
        Ok(policy)
    }

    const fn problem(&self) -> Option<BackoffError> {
        let cap = self.cap.duration();
        if let Some(error) = too_long("cap", cap) {
            return Some(error);
        }
        if let Some(error) = too_long("min_delay", self.min_delay) {
            return Some(error);
        }
        if let Some(error) = schedule_problem(&self.schedule, cap) {
            return Some(error);
        }
        if let JitterKind::Symmetric { ratio } = self.jitter.kind
            && !(ratio >= 0.0 && ratio <= 1.0)
        {
            return Some(BackoffError::Ratio { ratio });
        }
        let min_delay = self.min_delay;
        if nanos(min_delay) > nanos(cap) {
            return Some(BackoffError::MinDelayAboveCap { min_delay, cap });
        }
        if let Floor::FastConfirm { delay, .. } = self.floor {
            if nanos(delay) < nanos(min_delay) {
                return Some(BackoffError::ConfirmationBelowMinDelay { delay, min_delay });
            }
            return too_long("fast-confirm delay", delay);
        }
        None
    }
}

/// Returns from how many failures on the policy's window stays what it is, if that is known.
const fn settles_from(policy: &Policy) -> Option<u32> {
    match policy.schedule {
        Schedule::Fixed(_) => Some(1),
        // A table that is valid is short.
        Schedule::Steps(steps) => Some(steps.given() as u32),
        _ => match policy.schedule.reaches(policy.cap) {
            Some(exponent) => {
                let exponent = min(exponent as u64, policy.exponent_cap as u64) as u32;
                Some(exponent.saturating_add(1))
            }
            None => None,
        },
    }
}

const fn schedule_problem(schedule: &Schedule, cap: Duration) -> Option<BackoffError> {
    match *schedule {
        Schedule::Steps(ref steps) => steps_problem(steps),
        Schedule::Fixed(wait) => base_problem(Base::Fixed(wait), cap),
        Schedule::Linear { base, step } => {
            if step.is_zero() {
                return Some(BackoffError::Zero {
                    field: "schedule: step",
                });
            }
            if let Some(error) = too_long("schedule: step", step) {
                return Some(error);
            }
            base_problem(base, cap)
        }
        Schedule::Exponential { base, factor } | Schedule::Decorrelated { base, factor } => {
            if !(factor >= FACTORS.0 && factor <= FACTORS.1) {
                return Some(BackoffError::Factor { factor });
            }
            if let Base::Fixed(Duration::ZERO) = base {
                return Some(BackoffError::Zero {
                    field: "schedule: base",
                });
            }
            base_problem(base, cap)
        }
    }
}

const fn steps_problem(steps: &Steps) -> Option<BackoffError> {
    let given = steps.given();
    if given == 0 {
        return Some(BackoffError::NoSteps);
    }
    if given > Steps::MAX {
        return Some(BackoffError::TooManySteps { given });
    }
    let mut index = 1;
    while index < given {
        let (previous, step) = (steps.after(index as u32), steps.after(index as u32 + 1));
        if step < previous {
            return Some(BackoffError::FallingSteps {
                index,
                step: Duration::from_nanos(step),
                previous: Duration::from_nanos(previous),
            });
        }
        index += 1;
    }
    // The longest one; what is longer than a `u64` was cut to it.
    too_long(
        "schedule: step",
        Duration::from_nanos(steps.after(u32::MAX)),
    )
}

const fn base_problem(base: Base, cap: Duration) -> Option<BackoffError> {
    match base {
        Base::Fixed(base) if nanos(base) > nanos(cap) => {
            Some(BackoffError::BaseAboveCap { base, cap })
        }
        _ => None,
    }
}

const fn too_long(field: &'static str, duration: Duration) -> Option<BackoffError> {
    if nanos(duration) == u64::MAX {
        Some(BackoffError::TooLong { field, duration })
    } else {
        None
    }
}
