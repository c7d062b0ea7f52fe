//! All that is known about one monitor at one moment.

use std::time::Duration;

use monitor_fault::{Layer, Reason};
use monitor_model::{Lifecycle, Monitor, Outcome, Phases, Record, Status, Tally};

/// All that the page needs to know about one monitor.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// What is watched.
    pub(crate) monitor: Monitor,
    /// The state as of the last commit.
    pub(crate) status: Status,
    /// The protocol, such as `http`.
    pub(crate) kind: &'static str,
    /// The target as shown to people.
    pub(crate) target: String,
    /// The last due times, oldest first; at most [`SLOTS`](super::SLOTS).
    pub(crate) points: Vec<Point>,
    /// Counts of the last 24 hours.
    pub(crate) tally: Tally,
    /// The distance of its due times when all is well.
    pub(crate) interval: Duration,
    /// By which share of the interval a start may be displaced, 0 to 1.
    pub(crate) jitter: f64,
    /// When it is checked next, in unix milliseconds.
    pub(crate) next_unix_ms: Option<i64>,
    /// Since when a check is running, in unix milliseconds.
    pub(crate) running_since_unix_ms: Option<i64>,
    /// Whether the running check does not end though its time is over.
    pub(crate) stuck: bool,
    /// The wait after failures in a row, when it is in force.
    pub(crate) backoff: Option<Duration>,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// Its breaker, if it has one.
    pub(crate) breaker: Option<Breaker>,
    /// Permits of the process in use, and how many there are.
    pub(crate) permits: (usize, usize),
    /// Until when somebody works on the target, in unix milliseconds; it is not checked meanwhile.
    pub(crate) maintenance_until_unix_ms: Option<i64>,
    /// Whether its verdicts come and go.
    pub(crate) is_flapping: bool,
    /// Results whose right to write was gone, since the start of the process.
    pub(crate) fenced: u64,
}

impl Subject {
    /// Whether it is to be checked.
    pub(crate) fn is_active(&self) -> bool {
        self.status.lifecycle == Lifecycle::Active
    }

    /// Whether it is checked now: it is to be, and nobody is at work on its target.
    pub(crate) fn is_checked(&self) -> bool {
        self.is_active() && self.maintenance_until_unix_ms.is_none()
    }

    /// The last verdict of a monitor that is checked now; nothing for any other, whatever it was.
    pub(crate) fn verdict(&self) -> Option<Outcome> {
        self.status.outcome.filter(|_| self.is_checked())
    }
}

/// A circuit breaker as shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breaker {
    /// Checks pass.
    Closed {
        /// Failures in a row.
        failures: u32,
        /// How many of them open it.
        of: u32,
    },
    /// Checks are held back.
    Open {
        /// For how much longer.
        retry_after: Duration,
    },
    /// One check decides.
    HalfOpen,
}

/// One record of history, as small as the page can do with: there are many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) due_unix_ms: i64,
    /// The distance of its slots in milliseconds.
    pub(crate) interval_ms: i64,
    /// How many consecutive due times it stands for.
    pub(crate) slots: u32,
    pub(crate) outcome: Outcome,
    /// How long the look took, in microseconds; nothing when nobody looked.
    pub(crate) took_us: Option<u32>,
    /// Microseconds of each phase in the order of `Phase::ALL`; zero for one that did not happen.
    pub(crate) phases_us: [u32; 5],
    pub(crate) fault: Option<(Layer, Reason)>,
}

impl From<&Record> for Point {
    fn from(record: &Record) -> Self {
        Self {
            due_unix_ms: record.due_unix_ms,
            interval_ms: record.interval_ms,
            slots: record.slots.max(1),
            outcome: record.outcome(),
            took_us: record.took.map(micros),
            phases_us: phases(record.phases()),
            fault: record.fault().map(|fault| (fault.layer(), fault.reason())),
        }
    }
}

impl Point {
    /// How long the target took to answer; nothing when it did not.
    pub(crate) fn answered(&self) -> Option<Duration> {
        let answered = matches!(self.outcome, Outcome::Up | Outcome::Degraded);
        let took = self.took_us.filter(|_| answered)?;
        Some(Duration::from_micros(u64::from(took)))
    }
}

fn phases(phases: &Phases) -> [u32; 5] {
    let mut us = [0; 5];
    for (slot, (_, took)) in phases
        .iter()
        .map(|(phase, took)| (phase as usize, (phase, took)))
    {
        us[slot] = micros(took);
    }
    us
}

/// Saturates at 71 minutes, beyond any timeout.
fn micros(took: Duration) -> u32 {
    u32::try_from(took.as_micros()).unwrap_or(u32::MAX)
}
