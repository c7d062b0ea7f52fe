//! What a breaker shows of itself.

use std::{fmt, time::Duration};

/// The three states of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Every call is admitted.
    Closed,
    /// No call is admitted until the open interval is over.
    Open,
    /// A bounded number of trial calls decides.
    HalfOpen,
}

/// Why a breaker changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The threshold of consecutive failures was reached: closed to open.
    FailureThreshold,
    /// The open interval is over: open to half-open.
    IntervalElapsed,
    /// A trial failed: half-open to open.
    TrialFailed,
    /// A trial brought no verdict within its deadline: half-open to open.
    TrialOverdue,
    /// The threshold of successful trials was reached: half-open to closed.
    SuccessThreshold,
    /// [`Breaker::trip`](crate::Breaker::trip) or [`Breaker::reset`](crate::Breaker::reset).
    Manual,
}

/// One change of state, as a listener is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transition {
    /// The position of this transition, counted from 1 without a gap; also the epoch it began.
    pub sequence: u64,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Why.
    pub cause: Cause,
    /// When, on the caller's clock. A timer's transition is dated when the timer was due, however
    /// late a call noticed.
    pub at: Duration,
}

/// A consistent view of one breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The state.
    pub state: State,
    /// The epoch: the number of transitions so far.
    pub epoch: u64,
    /// Consecutive failures while closed; 0 in any other state.
    pub consecutive_failures: u32,
    /// Trials without a verdict; 0 unless half-open.
    pub trials_in_flight: u32,
    /// Trials that succeeded; 0 unless half-open.
    pub trial_successes: u32,
    /// How long no call has a chance, if that is so: see [`Rejected`](crate::Rejected).
    pub retry_after: Option<Duration>,
    /// How often the breaker opened.
    pub opened_total: u64,
    /// How often it opened since it was last closed: what the open interval grows with.
    pub opened_in_a_row: u32,
    /// Verdicts that came too late, from a permit of an older epoch, and were dropped.
    pub stale_verdicts: u64,
}

impl State {
    /// Returns the state's name: `closed`, `open` or `half_open`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half_open",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Cause {
    /// Returns the cause's name in snake case, as in `failure_threshold`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::FailureThreshold => "failure_threshold",
            Cause::IntervalElapsed => "interval_elapsed",
            Cause::TrialFailed => "trial_failed",
            Cause::TrialOverdue => "trial_overdue",
            Cause::SuccessThreshold => "success_threshold",
            Cause::Manual => "manual",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
