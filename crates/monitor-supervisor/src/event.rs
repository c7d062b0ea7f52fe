//! What is worth telling about a task.

use std::{fmt, sync::Arc, time::Duration};

use crate::Outcome;

/// Something that happened to a task. Told when it changes, not with every tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The name of the task.
    pub task: Arc<str>,
    /// The number of the tick, from 1.
    pub tick: u64,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// It fails, or fails otherwise than before.
    Failing {
        /// How.
        outcome: Outcome,
    },
    /// It failed as often in a row as is worth an alert. Once, until it is resolved.
    Alert {
        /// How many times in a row.
        failures: u32,
        /// How, the last time.
        outcome: Outcome,
    },
    /// An alert goes on.
    Reminder {
        /// How many times in a row.
        failures: u32,
        /// How, the last time.
        outcome: Outcome,
        /// Since the first failure.
        lasting: Duration,
    },
    /// It is well again.
    Recovered {
        /// How many times in a row it had failed.
        failures: u32,
        /// Whether that was worth an alert, which is thereby resolved.
        alerted: bool,
        /// Since the first failure.
        lasted: Duration,
    },
    /// A tick that has had its time goes on, although it was dropped or because nobody is left to
    /// drop it: it blocks its thread, or all of them. No further tick begins before it has ended.
    Stuck,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, tick, what } = self;
        write!(f, "{task}, tick {tick}: ")?;
        match what {
            What::Failing { outcome } => write!(f, "{outcome}"),
            What::Alert { failures, outcome } => {
                write!(f, "failed {failures} times in a row: {outcome}")
            }
            What::Reminder {
                failures,
                outcome,
                lasting,
            } => {
                let lasting = crate::Uptime(*lasting);
                write!(f, "still failing, {failures} times in {lasting}: {outcome}")
            }
            What::Recovered {
                failures, lasted, ..
            } => {
                let lasted = crate::Uptime(*lasted);
                write!(f, "well again after {failures} failures in {lasted}")
            }
            What::Stuck => f.write_str("stuck: it timed out and does not end"),
        }
    }
}
