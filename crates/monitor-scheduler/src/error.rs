//! What can go wrong, one enum per operation.

use std::time::Duration;

use monitor_operation::RegisterError;
use thiserror::Error;

/// Why a [`Spec`](crate::Spec) was not built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The interval is too short or too long.
    #[error("interval {interval:?} is outside of 100 ms to 30 d")]
    IntervalRange {
        /// The interval as given.
        interval: Duration,
    },
    /// The interval has a fraction of a millisecond, so its slots would not lie on whole ones.
    #[error("interval {interval:?} is not a whole number of milliseconds")]
    IntervalFraction {
        /// The interval as given.
        interval: Duration,
    },
    /// The timeout is too short or too long.
    #[error("timeout {timeout:?} is outside of 1 ms to 1 d")]
    TimeoutRange {
        /// The timeout as given.
        timeout: Duration,
    },
}

/// Why a key was not scheduled. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The scheduler is shutting down or has shut down.
    #[error("the scheduler is shut down and takes no more keys")]
    ShutDown,
    /// The registry of operations did not take the key.
    #[error("the key could not be registered for operations")]
    Register(#[from] RegisterError),
}
