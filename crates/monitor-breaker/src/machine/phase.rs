//! What the machine has to remember, phase by phase.

use std::{num::NonZeroU64, time::Duration};

use crate::{
    Cause, Config, Counts, Mode, Trip,
    ramp::Ramp,
    window::{CountWindow, Rates, Record},
};

#[derive(Debug)]
pub(super) enum Phase {
    Closed,
    Recovering(Ramp),
    Open {
        /// `None`: until the mode is changed.
        until: Option<Duration>,
    },
    HalfOpen {
        successes: u32,
        trials: Trials,
    },
    Disabled,
}

/// The trials in flight, oldest first.
///
/// INV-BREAKER-1: never more than `half_open_trials`.
/// INV-BREAKER-3: each leaves by its verdict, by its permit's drop, or by its deadline.
#[derive(Debug, Default)]
pub(super) struct Trials(Vec<Trial>);

#[derive(Debug)]
struct Trial {
    id: NonZeroU64,
    deadline: Duration,
}

/// What a closed or recovering breaker has counted.
#[derive(Debug)]
pub(super) enum Tally {
    Consecutive {
        failures: u32,
        threshold: u32,
    },
    Count {
        window: CountWindow,
        rates: Rates,
    },
    /// Counted without the lock.
    Elsewhere,
}

impl Phase {
    /// Returns the phase that a mode begins with.
    pub(super) fn of_mode(mode: Mode) -> Phase {
        match mode {
            Mode::Normal | Mode::Shadow => Phase::Closed,
            Mode::ForcedOpen => Phase::Open { until: None },
            Mode::Disabled => Phase::Disabled,
        }
    }

    pub(super) fn half_open() -> Phase {
        Phase::HalfOpen {
            successes: 0,
            trials: Trials::default(),
        }
    }
}

impl Trials {
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn begin(&mut self, id: NonZeroU64, deadline: Duration) {
        self.0.push(Trial { id, deadline });
    }

    pub(super) fn end(&mut self, id: Option<NonZeroU64>) {
        self.0.retain(|trial| Some(trial.id) != id);
    }

    /// All trials have the same time, so the oldest is due first.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.0.first().map(|trial| trial.deadline)
    }
}

impl Tally {
    pub(super) fn new(config: &Config) -> Tally {
        match (config.trip, config.rates()) {
            (Trip::Consecutive(threshold), _) => Tally::Consecutive {
                failures: 0,
                threshold,
            },
            (Trip::Count(calls), Some(rates)) => Tally::Count {
                window: CountWindow::new(calls),
                rates,
            },
            (Trip::Count(_) | Trip::Time(_), _) => Tally::Elsewhere,
        }
    }

    /// Takes in a verdict, and returns why the breaker opens if it does. A success never opens it.
    pub(super) fn record(&mut self, call: Record) -> Option<Cause> {
        match self {
            Tally::Consecutive { failures, .. } if !call.failed => {
                *failures = 0;
                None
            }
            Tally::Consecutive {
                failures,
                threshold,
            } => {
                *failures = failures.saturating_add(1);
                (*failures >= *threshold).then_some(Cause::FailureThreshold)
            }
            Tally::Count { window, rates } => {
                window.push(call);
                if call.is_bad() {
                    rates.exceeded(window.counts())
                } else {
                    None
                }
            }
            Tally::Elsewhere => None,
        }
    }

    pub(super) fn clear(&mut self) {
        match self {
            Tally::Consecutive { failures, .. } => *failures = 0,
            Tally::Count { window, .. } => window.clear(),
            Tally::Elsewhere => {}
        }
    }

    /// Returns whether a success would change nothing.
    pub(super) fn is_clean(&self) -> bool {
        matches!(self, Tally::Consecutive { failures: 0, .. })
    }

    pub(super) fn consecutive_failures(&self) -> u32 {
        match self {
            Tally::Consecutive { failures, .. } => *failures,
            Tally::Count { .. } | Tally::Elsewhere => 0,
        }
    }

    pub(super) fn counts(&self) -> Option<Counts> {
        match self {
            Tally::Consecutive { .. } => None,
            Tally::Count { window, .. } => Some(window.counts()),
            Tally::Elsewhere => Some(Counts::default()),
        }
    }
}
