//! What a breaker shows of itself.

use std::{fmt, time::Duration};

use crate::Counts;

/// The states of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Every call is admitted.
    Closed,
    /// No call is admitted until the open interval is over.
    Open,
    /// A bounded number of trial calls decides.
    HalfOpen,
    /// The trials succeeded: a growing share of the calls is admitted.
    Recovering,
}

/// How much of a say a breaker has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It admits and refuses by its state.
    #[default]
    Normal,
    /// It changes its state by the calls that it would admit, and refuses none: what it would have
    /// refused is admitted, counted in [`Snapshot::shadow_rejected`], and its verdict is dropped.
    Shadow,
    /// It refuses every call, until the mode is changed.
    ForcedOpen,
    /// It admits every call and counts none.
    Disabled,
}

/// Why a breaker changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The threshold of consecutive failures was reached: closed or recovering to open.
    FailureThreshold,
    /// The failure rate of the window was met: closed or recovering to open.
    FailureRate,
    /// The rate of slow calls of the window was met: closed or recovering to open.
    SlowCallRate,
    /// The open interval is over: open to half-open.
    IntervalElapsed,
    /// A trial failed, or was slow where slow calls open: half-open to open.
    TrialFailed,
    /// A trial brought no verdict within its deadline: half-open to open.
    TrialOverdue,
    /// The threshold of successful trials was reached: half-open to closed, or to recovering.
    SuccessThreshold,
    /// The ramp is over: recovering to closed.
    RampOver,
    /// Enough other instances found the target down: closed or recovering to open.
    Peers,
    /// [`Breaker::set_mode`](crate::Breaker::set_mode): to open or to closed.
    ModeChanged,
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
    /// The mode that the breaker is in.
    pub mode: Mode,
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
    /// The mode. Forced open, the state is open; disabled, it is closed.
    pub mode: Mode,
    /// The epoch: the number of transitions so far.
    pub epoch: u64,
    /// Consecutive failures while closed or recovering; 0 in any other state, or with a window.
    pub consecutive_failures: u32,
    /// What is in the window, while closed or recovering; `None` otherwise, or without a window.
    pub window: Option<Counts>,
    /// How many of a hundred calls are admitted: 100 closed, 0 open or half-open with every trial
    /// taken, in between while recovering.
    pub admitted_percent: u32,
    /// Trials without a verdict; 0 unless half-open.
    pub trials_in_flight: u32,
    /// Trials that succeeded; 0 unless half-open.
    pub trial_successes: u32,
    /// How long no call has a chance, if that is so: see [`Rejected`](crate::Rejected).
    pub retry_after: Option<Duration>,
    /// How often the breaker opened.
    pub opened_total: u64,
    /// How often it opened since it was last healthy: what the open interval grows with.
    pub opened_in_a_row: u32,
    /// Failures that would have opened it, had not so many others of its registry been open.
    pub suppressed_openings: u64,
    /// Calls that were admitted in shadow mode only.
    pub shadow_rejected: u64,
    /// Verdicts that came too late, from a permit of an older epoch, and were dropped.
    pub stale_verdicts: u64,
}

impl State {
    /// Returns the state's name: `closed`, `open`, `half_open` or `recovering`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half_open",
            State::Recovering => "recovering",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Mode {
    /// Returns the mode's name in snake case, as in `forced_open`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Normal => "normal",
            Mode::Shadow => "shadow",
            Mode::ForcedOpen => "forced_open",
            Mode::Disabled => "disabled",
        }
    }
}

impl fmt::Display for Mode {
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
            Cause::FailureRate => "failure_rate",
            Cause::SlowCallRate => "slow_call_rate",
            Cause::IntervalElapsed => "interval_elapsed",
            Cause::TrialFailed => "trial_failed",
            Cause::TrialOverdue => "trial_overdue",
            Cause::SuccessThreshold => "success_threshold",
            Cause::RampOver => "ramp_over",
            Cause::Peers => "peers",
            Cause::ModeChanged => "mode_changed",
            Cause::Manual => "manual",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
