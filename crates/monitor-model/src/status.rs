//! The state of a monitor as of its last committed record.

use std::fmt;
use std::str::FromStr;

use monitor_fault::Fault;
use monitor_operation::Epoch;
use serde::{Deserialize, Serialize};

use crate::{MonitorId, Outcome, Record, UnknownOutcome};

/// Whether a monitor is to be checked. Separate from what was seen: a paused monitor keeps its
/// last verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// Checked on schedule.
    Active,
    /// Not checked until resumed, unless somebody asks for it.
    Paused,
}

impl Lifecycle {
    /// The name in JSON and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
        }
    }
}

impl fmt::Display for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Lifecycle {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<Self, UnknownOutcome> {
        match text {
            "active" => Ok(Self::Active),
            "paused" => Ok(Self::Paused),
            _ => Err(UnknownOutcome(text.to_owned())),
        }
    }
}

/// The state of a monitor as of its last committed record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whose state it is.
    pub monitor: MonitorId,
    /// Whether it is to be checked.
    pub lifecycle: Lifecycle,
    /// The epoch that may write.
    pub epoch: Epoch,
    /// The last verdict: up, degraded, down or unknown. `None` before the first.
    pub outcome: Option<Outcome>,
    /// Since when the outcome is what it is, in unix milliseconds.
    pub since_unix_ms: Option<i64>,
    /// When the last verdict was reached, in unix milliseconds.
    pub checked_unix_ms: Option<i64>,
    /// How many verdicts in a row were this outcome.
    pub streak: u32,
    /// The fault behind the last verdict.
    pub fault: Option<Fault>,
}

impl Status {
    /// The state of a monitor that was never checked.
    #[must_use]
    pub const fn new(monitor: MonitorId, lifecycle: Lifecycle, epoch: Epoch) -> Self {
        Self {
            monitor,
            lifecycle,
            epoch,
            outcome: None,
            since_unix_ms: None,
            checked_unix_ms: None,
            streak: 0,
            fault: None,
        }
    }

    /// The state after `record`. Every store applies a record in this one way.
    ///
    /// A record that is no verdict changes nothing: the last one stands, with its age.
    #[must_use]
    pub fn after(&self, record: &Record) -> Self {
        let outcome = record.outcome();
        if !outcome.sets_status() {
            return self.clone();
        }
        let same = self.outcome == Some(outcome);
        let now = record.started_unix_ms;
        Self {
            outcome: Some(outcome),
            since_unix_ms: if same { self.since_unix_ms } else { Some(now) },
            checked_unix_ms: Some(now),
            streak: if same {
                self.streak.saturating_add(1)
            } else {
                1
            },
            fault: record.fault().cloned(),
            ..self.clone()
        }
    }
}

/// Counts of due times by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Up.
    pub up: u64,
    /// Degraded.
    pub degraded: u64,
    /// Down.
    pub down: u64,
    /// All due times, observed or not.
    pub due: u64,
}

impl Tally {
    /// Nothing counted.
    pub const ZERO: Self = Self {
        up: 0,
        degraded: 0,
        down: 0,
        due: 0,
    };

    /// Counts what another has counted.
    pub const fn merge(&mut self, other: &Self) {
        self.up = self.up.saturating_add(other.up);
        self.degraded = self.degraded.saturating_add(other.degraded);
        self.down = self.down.saturating_add(other.down);
        self.due = self.due.saturating_add(other.due);
    }

    /// Counts one record.
    pub const fn add(&mut self, outcome: Outcome, slots: u32) {
        let slots = slots as u64;
        self.due = self.due.saturating_add(slots);
        match outcome {
            Outcome::Up => self.up = self.up.saturating_add(slots),
            Outcome::Degraded => self.degraded = self.degraded.saturating_add(slots),
            Outcome::Down => self.down = self.down.saturating_add(slots),
            _ => {}
        }
    }

    /// How many were observed.
    #[must_use]
    pub const fn observed(&self) -> u64 {
        self.up
            .saturating_add(self.degraded)
            .saturating_add(self.down)
    }

    /// The share of observed due times that were up or degraded, 0 to 1. `None` without any.
    #[must_use]
    pub fn uptime(&self) -> Option<f64> {
        ratio(self.up.saturating_add(self.degraded), self.observed())
    }

    /// The share of due times that were observed, 0 to 1. `None` when none was due.
    #[must_use]
    pub fn coverage(&self) -> Option<f64> {
        ratio(self.observed(), self.due)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share shown with four digits")]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
