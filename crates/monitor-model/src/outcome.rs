//! What became of one due time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What became of one due time of a monitor. Every due time ends in exactly one of these.
///
/// A timeout is not an outcome but a reason: it is [`Down`](Self::Down) with a fault that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Observed: as it should be.
    Up,
    /// Observed: it answers, but not as well as it should.
    Degraded,
    /// Observed: it fails, and the failure is not the prober's own.
    Down,
    /// The prober itself failed, so nothing was learnt about the target.
    Unknown,
    /// Nobody looked, though it was due.
    Missed,
    /// Nobody looked, on purpose: a breaker or a load rule held the check back.
    Suppressed,
    /// The check was called off before it had a result.
    Cancelled,
}

impl Outcome {
    /// All outcomes, in the order of their declaration.
    pub const ALL: [Self; 7] = [
        Self::Up,
        Self::Degraded,
        Self::Down,
        Self::Unknown,
        Self::Missed,
        Self::Suppressed,
        Self::Cancelled,
    ];

    /// The name in JSON, metrics and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Unknown => "unknown",
            Self::Missed => "missed",
            Self::Suppressed => "suppressed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the target was seen: up, degraded or down. Only these count in uptime; the share of
    /// due times that ended in one of them is the coverage.
    #[must_use]
    pub const fn is_observed(self) -> bool {
        matches!(self, Self::Up | Self::Degraded | Self::Down)
    }

    /// Whether this outcome becomes the monitor's status. A due time at which nobody looked leaves
    /// the last verdict standing, with its age.
    #[must_use]
    pub const fn sets_status(self) -> bool {
        self.is_observed() || matches!(self, Self::Unknown)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no outcome or no reason of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no outcome known to this version")]
pub struct UnknownOutcome(pub String);

impl FromStr for Outcome {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<Self, UnknownOutcome> {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
            .ok_or_else(|| UnknownOutcome(text.to_owned()))
    }
}

/// Why a due time was not observed: the reason of a missed, suppressed or cancelled record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unobserved {
    /// The check before it was still running.
    InFlight,
    /// Every permit was taken and the queue was full.
    Overload,
    /// The scheduler itself was held up: a stalled process or a suspended machine.
    Stalled,
    /// The process was not running.
    NotRunning,
    /// The circuit breaker of the monitor was open.
    BreakerOpen,
    /// The process was shutting down.
    Shutdown,
    /// Under load, more important checks took its place.
    Shed,
    /// Under pressure, checks of its priority came less often.
    Stretched,
    /// Under pressure, checks of its priority were not made at all.
    Suspended,
    /// Somebody was at work on the target, as was announced.
    Maintenance,
}

impl Unobserved {
    /// All reasons.
    pub const ALL: [Self; 10] = [
        Self::InFlight,
        Self::Overload,
        Self::Stalled,
        Self::NotRunning,
        Self::BreakerOpen,
        Self::Shutdown,
        Self::Shed,
        Self::Stretched,
        Self::Suspended,
        Self::Maintenance,
    ];

    /// The name in JSON, metrics and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::Overload => "overload",
            Self::Stalled => "stalled",
            Self::NotRunning => "not_running",
            Self::BreakerOpen => "breaker_open",
            Self::Shutdown => "shutdown",
            Self::Shed => "shed",
            Self::Stretched => "stretched",
            Self::Suspended => "suspended",
            Self::Maintenance => "maintenance",
        }
    }

    /// The outcome that a record with this reason has.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::InFlight | Self::Overload | Self::Stalled | Self::NotRunning | Self::Shed => {
                Outcome::Missed
            }
            Self::BreakerOpen | Self::Stretched | Self::Suspended | Self::Maintenance => {
                Outcome::Suppressed
            }
            Self::Shutdown => Outcome::Cancelled,
        }
    }
}

impl fmt::Display for Unobserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Unobserved {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<Self, UnknownOutcome> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or_else(|| UnknownOutcome(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OPS-46: names are unique and read back; of two verdicts the worse is the greater.
    #[test]
    fn names_round_trip() {
        assert!(Outcome::Up < Outcome::Degraded && Outcome::Degraded < Outcome::Down);
        for outcome in Outcome::ALL {
            assert_eq!(outcome.as_str().parse(), Ok(outcome));
        }
        for reason in Unobserved::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
            assert!(
                !reason.outcome().sets_status(),
                "{reason} says nothing about the target"
            );
        }
        assert!("UP".parse::<Outcome>().is_err());
    }

    #[test]
    fn only_what_was_seen_counts() {
        let seen: Vec<_> = Outcome::ALL
            .into_iter()
            .filter(|o| o.is_observed())
            .collect();
        assert_eq!(seen, [Outcome::Up, Outcome::Degraded, Outcome::Down]);
    }
}
