//! What can be wrong with a policy.

use core::time::Duration;

use crate::Steps;

/// Why [`Builder::build`](crate::Builder::build) refused a policy.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BackoffError {
    /// A table of steps without a step.
    #[error("schedule: a table of steps needs at least one step")]
    NoSteps,
    /// A table of too many steps.
    #[error("schedule: {given} steps; a table has 1 to {max}, and its last one repeats", max = Steps::MAX)]
    TooManySteps {
        /// How many were given.
        given: usize,
    },
    /// A step that is shorter than the one before it.
    #[error(
        "schedule: step {index} is {step:?}, shorter than the {previous:?} before it; \
         steps must not fall"
    )]
    FallingSteps {
        /// The position of the shorter step, counted from 0.
        index: usize,
        /// The shorter step.
        step: Duration,
        /// The step before it.
        previous: Duration,
    },
    /// A growth factor that does not grow, or is not a usable number.
    #[error(
        "schedule: factor is {factor}; it must be 1.01 to 100 (a wait that does not grow is a \
         fixed schedule)"
    )]
    Factor {
        /// The rejected factor.
        factor: f64,
    },
    /// A duration of zero where nothing could grow from it.
    #[error("{field} is zero; it must be 1 ns to 584 years")]
    Zero {
        /// The setting.
        field: &'static str,
    },
    /// A duration that does not fit into nanoseconds.
    #[error("{field} is {duration:?}; it must be shorter than 584 years")]
    TooLong {
        /// The setting.
        field: &'static str,
        /// The rejected duration.
        duration: Duration,
    },
    /// A schedule that starts above its cap.
    #[error("schedule: base is {base:?}, longer than the cap of {cap:?}")]
    BaseAboveCap {
        /// The fixed base.
        base: Duration,
        /// The cap's own duration.
        cap: Duration,
    },
    /// A jitter ratio outside 0 to 1, or not a number.
    #[error("jitter: ratio is {ratio}; it must be 0 to 1, where 0.2 means ±20 %")]
    Ratio {
        /// The rejected ratio.
        ratio: f64,
    },
    /// A minimum above the cap.
    #[error("min_delay is {min_delay:?}, longer than the cap of {cap:?}")]
    MinDelayAboveCap {
        /// The minimum.
        min_delay: Duration,
        /// The cap's own duration.
        cap: Duration,
    },
    /// A confirming look that would come sooner than the policy's minimum.
    #[error("fast-confirm delay is {delay:?}, shorter than the min_delay of {min_delay:?}")]
    ConfirmationBelowMinDelay {
        /// The wait before each confirming look.
        delay: Duration,
        /// The minimum.
        min_delay: Duration,
    },
}
