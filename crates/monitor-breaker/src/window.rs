//! What a closed breaker knows about its last calls, and when that is too much.

mod count;
mod rates;
mod time;

pub(crate) use self::{
    count::CountWindow,
    rates::{Rate, Rates},
    time::{Recorded, TimeWindow},
};

/// The calls in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Counts {
    /// Calls with a verdict: successes and failures.
    pub calls: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that took at least the slow-call threshold, failed or not.
    pub slow_calls: u64,
}

/// What a window is told of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) failed: bool,
    pub(crate) slow: bool,
}

impl Record {
    /// Returns whether the call may raise a rate.
    pub(crate) const fn is_bad(self) -> bool {
        self.failed || self.slow
    }
}
