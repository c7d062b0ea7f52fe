//! Rates in integers: a threshold is met exactly, whatever the number of calls.

use crate::{Cause, window::Counts};

const MILLION: u64 = 1_000_000;

/// A share of calls above 0 and up to 1, in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(u32);

/// When the counts of a window open the breaker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) failure: Rate,
    pub(crate) slow: Option<Rate>,
    pub(crate) minimum_calls: u32,
}

impl Rate {
    /// What a share must lie in; the least is one in a million.
    pub(crate) const RANGE: &'static str = "0.000001 to 1";

    /// Returns the rate that is nearest to `share`, or `None` outside of the range.
    pub(crate) fn new(share: f64) -> Option<Rate> {
        let millionths = (share * MILLION as f64).round();
        // NaN is in no range.
        let in_range = share <= 1.0 && (1.0..=MILLION as f64).contains(&millionths);
        in_range.then_some(Rate(millionths as u32))
    }

    /// Returns whether `part` of `whole` is at least this share.
    fn is_met(self, part: u64, whole: u64) -> bool {
        u128::from(part) * u128::from(MILLION) >= u128::from(whole) * u128::from(self.0)
    }
}

impl Rates {
    /// Returns which rate is met, if the calls are enough to tell.
    pub(crate) fn exceeded(&self, counts: Counts) -> Option<Cause> {
        if counts.calls < u64::from(self.minimum_calls) {
            None
        } else if self.failure.is_met(counts.failures, counts.calls) {
            Some(Cause::FailureRate)
        } else if (self.slow).is_some_and(|slow| slow.is_met(counts.slow_calls, counts.calls)) {
            Some(Cause::SlowCallRate)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ROB-13: in floating point, 0.07 x 100 is more than 7.
    #[test]
    fn a_rate_is_met_exactly() {
        for percent in 1..=100_u32 {
            let rate = Rate::new(f64::from(percent) / 100.0).expect("in range");
            let percent = u64::from(percent);
            for hundreds in [1, 7, 10_000_000_000] {
                assert!(rate.is_met(percent * hundreds, 100 * hundreds));
                assert!(!rate.is_met(percent * hundreds - 1, 100 * hundreds));
            }
        }
    }

    #[test]
    fn what_is_no_share_is_refused() {
        let refused = [0.0, -0.5, 1.000_001, f64::NAN, f64::INFINITY, 0.000_000_4];
        assert!(refused.into_iter().all(|share| Rate::new(share).is_none()));
        assert_eq!(Rate::new(0.000_001), Some(Rate(1)));
        assert_eq!(Rate::new(1.0), Some(Rate(1_000_000)));
    }
}
