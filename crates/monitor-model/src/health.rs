//! One verdict over many monitors.

use serde::Serialize;

use crate::Outcome;

/// The verdict over many monitors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rating {
    /// More than half of what has a verdict is well.
    Healthy,
    /// Half or less is.
    Unhealthy,
    /// There are monitors, and none has a verdict yet.
    Unknown,
}

/// A [`Rating`] and what it was reached from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Health {
    /// The verdict.
    pub rating: Rating,
    /// Active monitors.
    pub total: usize,
    /// Those whose last verdict is up.
    pub up: usize,
    /// Those whose last verdict is degraded; each counts as half.
    pub degraded: usize,
    /// Those whose last verdict is down.
    pub down: usize,
    /// Those without a verdict about the target: never checked, or unknown.
    pub without_verdict: usize,
}

impl Health {
    /// The healthy share of those with a verdict, 0 to 1. `None` when none has one.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share shown with a few digits"
    )]
    pub fn ratio(&self) -> Option<f64> {
        let judged = self.up + self.degraded + self.down;
        (judged > 0).then(|| (self.up as f64 + self.degraded as f64 / 2.0) / judged as f64)
    }
}

/// Rates the last verdicts of the active monitors by the strict majority rule.
///
/// Healthy when *more* than half are well: up counts one, degraded a half, and whatever is not a
/// verdict about the target counts on neither side. No monitors at all is healthy.
///
/// ```
/// use monitor_model::{Outcome, Rating, majority};
/// let half = [Some(Outcome::Up), Some(Outcome::Down)];
/// assert_eq!(majority(half).rating, Rating::Unhealthy);
/// ```
pub fn majority(verdicts: impl IntoIterator<Item = Option<Outcome>>) -> Health {
    let mut health = Health {
        rating: Rating::Healthy,
        total: 0,
        up: 0,
        degraded: 0,
        down: 0,
        without_verdict: 0,
    };
    for verdict in verdicts {
        health.total += 1;
        match verdict {
            Some(Outcome::Up) => health.up += 1,
            Some(Outcome::Degraded) => health.degraded += 1,
            Some(Outcome::Down) => health.down += 1,
            _ => health.without_verdict += 1,
        }
    }
    // In halves, so that the comparison is exact.
    let judged = health.up + health.degraded + health.down;
    let halves = 2 * health.up + health.degraded;
    health.rating = match judged {
        0 if health.total == 0 => Rating::Healthy,
        0 => Rating::Unknown,
        _ if halves > judged => Rating::Healthy,
        _ => Rating::Unhealthy,
    };
    health
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Degraded, Down, Missed, Unknown, Up};

    /// ROB-28, ROB-31: strict majority; degraded counts half; nothing known is not healthy.
    #[test]
    fn the_rule_in_a_table() {
        let cases: &[(&[Option<Outcome>], Rating)] = &[
            (&[], Rating::Healthy),
            (&[None], Rating::Unknown),
            (&[Some(Unknown), Some(Missed), None], Rating::Unknown),
            (&[Some(Up)], Rating::Healthy),
            (&[Some(Down)], Rating::Unhealthy),
            (&[Some(Degraded)], Rating::Unhealthy),
            (&[Some(Degraded), Some(Up)], Rating::Healthy),
            (
                &[Some(Up), Some(Up), Some(Down), Some(Down)],
                Rating::Unhealthy,
            ),
            (&[Some(Up), Some(Up), Some(Up), Some(Down)], Rating::Healthy),
            (
                &[Some(Up), Some(Up), Some(Down), None, Some(Unknown)],
                Rating::Healthy,
            ),
        ];
        for (verdicts, rating) in cases {
            assert_eq!(
                majority(verdicts.iter().copied()).rating,
                *rating,
                "{verdicts:?}"
            );
        }
    }
}
