//! Whether a target comes and goes, which is another thing than being down.

use monitor_model::Outcome;

/// How many changes from one verdict to the next are remembered.
const REMEMBERED: u32 = 20;
/// From this share of changes on it flaps, in per cent.
const HIGH_PERCENT: u32 = 30;
/// Below this share it does not any more. In between it is what it was.
const LOW_PERCENT: u32 = 20;

/// How often the verdicts of a monitor changed lately, and whether that is flapping.
///
/// Of the last 20 steps from one verdict (up, degraded, down) to the next, the share that were
/// changes, each weighing from 0.75, the oldest, to 1.25, the newest. A target flaps from 30 % on,
/// which is the sixth change in a row, until it is below 20 %, which takes fifteen verdicts without
/// a change at most. What is no verdict about the target counts for nothing.
///
/// Source: the detection of state flapping of Nagios, with its thresholds for services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flapping {
    last: Option<Outcome>,
    /// Whether each remembered step was a change; the newest is the lowest bit.
    changes: u32,
    is_flapping: bool,
}

impl Flapping {
    /// Whether it flaps.
    #[must_use]
    pub const fn is_flapping(&self) -> bool {
        self.is_flapping
    }

    /// The weighed share of changes among the last steps, in whole per cent.
    #[must_use]
    pub fn percent(&self) -> u32 {
        let changes = (0..REMEMBERED).filter(|age| self.changes & 1 << age != 0);
        // In thousandths, falling from 1250 to 750 with age; together they are a thousand each.
        let weights = changes.map(|age| 1250 - 500 * age / (REMEMBERED - 1));
        weights.sum::<u32>() / (10 * REMEMBERED)
    }

    /// Takes a committed outcome in. True when it began or ceased to flap.
    pub(crate) fn record(&mut self, outcome: Outcome) -> bool {
        if !outcome.is_observed() {
            return false;
        }
        let changed = self
            .last
            .replace(outcome)
            .is_some_and(|last| last != outcome);
        self.changes = (self.changes << 1 | u32::from(changed)) & ((1 << REMEMBERED) - 1);
        let before = self.is_flapping;
        let edge = if before { LOW_PERCENT } else { HIGH_PERCENT };
        self.is_flapping = self.percent() >= edge;
        self.is_flapping != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Degraded, Down, Missed, Suppressed, Unknown, Up};

    fn after(outcomes: impl IntoIterator<Item = Outcome>) -> Flapping {
        let mut flapping = Flapping::default();
        outcomes.into_iter().for_each(|outcome| {
            flapping.record(outcome);
        });
        flapping
    }

    /// ROB-33: going down and staying there, or coming back once, is no flapping.
    #[test]
    fn a_failure_is_no_flapping() {
        let long = |outcome| [outcome; 50].into_iter();
        assert_eq!(after(long(Down)).percent(), 0);
        let outage = after(long(Up).chain(long(Down)).chain([Up]));
        assert!(!outage.is_flapping() && outage.percent() == 6, "{outage:?}");
    }

    /// ROB-33: it flaps with the sixth change in a row, and no more when it has been steady for long
    /// enough; in between it is what it was.
    #[test]
    fn it_begins_high_and_ends_low() {
        let mut flapping = after([Up; 30]);
        let mut began = None;
        for change in 1..=20 {
            let outcome = if change % 2 == 1 { Down } else { Up };
            if flapping.record(outcome) {
                assert!(began.replace(change).is_none(), "it begins once");
            }
        }
        assert_eq!((began, flapping.percent()), (Some(6), 100));
        let mut steady = 0;
        while !flapping.record(Up) {
            steady += 1;
            assert!(flapping.is_flapping() && steady < 20);
        }
        assert_eq!(steady, 15);
        assert!(flapping.percent() < LOW_PERCENT);
        assert!(
            !flapping.record(Down) && flapping.percent() < HIGH_PERCENT,
            "in between"
        );
    }

    /// ROB-33: what says nothing about the target is no change; degraded is a verdict of its own.
    #[test]
    fn what_nobody_saw_is_no_change() {
        let mut steady = Flapping::default();
        for _ in 0..30 {
            for outcome in [Up, Unknown, Missed, Suppressed] {
                assert!(!steady.record(outcome));
            }
        }
        assert_eq!(steady.percent(), 0);
        assert!(after([Up, Degraded].repeat(10)).is_flapping());
    }
}
