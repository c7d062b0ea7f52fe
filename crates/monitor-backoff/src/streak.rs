//! Consecutive failures, kept apart from the totals.

use crate::Verdict;

/// Counts consecutive failures, and keeps the totals apart from them.
///
/// Every counter saturates: a monitor that has failed for ever keeps failing, it never overflows
/// back to its normal interval.
///
/// # Examples
/// ```
/// use monitor_backoff::{FailureStreak, Verdict};
///
/// let mut streak = FailureStreak::new();
/// assert_eq!(streak.record(Verdict::Failure), 1);
/// assert_eq!(streak.record(Verdict::Failure), 2);
/// assert_eq!(streak.record(Verdict::Ignore), 2); // says nothing, changes nothing
/// assert_eq!(streak.record(Verdict::Success), 0);
/// assert_eq!(streak.failures_total(), 2); // the history stays
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailureStreak {
    consecutive: u32,
    failures_total: u64,
    successes_total: u64,
}

impl FailureStreak {
    /// Returns a streak that has seen nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        FailureStreak {
            consecutive: 0,
            failures_total: 0,
            successes_total: 0,
        }
    }

    /// Counts one verdict and returns the number of consecutive failures after it, which is the
    /// `failures` that [`Policy::delay`](crate::Policy::delay) wants.
    pub fn record(&mut self, verdict: Verdict) -> u32 {
        match verdict {
            Verdict::Success => {
                self.consecutive = 0;
                self.successes_total = self.successes_total.saturating_add(1);
            }
            Verdict::Failure => {
                self.consecutive = self.consecutive.saturating_add(1);
                self.failures_total = self.failures_total.saturating_add(1);
            }
            Verdict::Ignore => {}
        }
        self.consecutive
    }

    /// Ends the streak without a success, as an operator's reset does. The totals stay.
    pub fn reset(&mut self) {
        self.consecutive = 0;
    }

    /// Returns the failures since the last success, or since the start.
    #[must_use]
    pub const fn consecutive(&self) -> u32 {
        self.consecutive
    }

    /// Returns every failure ever recorded.
    #[must_use]
    pub const fn failures_total(&self) -> u64 {
        self.failures_total
    }

    /// Returns every success ever recorded.
    #[must_use]
    pub const fn successes_total(&self) -> u64 {
        self.successes_total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ROB-41, PRB-12: fail, fail, ok leaves no streak and totals of two and one.
    #[test]
    fn a_success_ends_the_streak_and_keeps_the_totals() {
        let mut streak = FailureStreak::new();
        streak.record(Verdict::Failure);
        streak.record(Verdict::Failure);
        assert_eq!(streak.consecutive(), 2);
        assert_eq!(streak.record(Verdict::Success), 0);
        assert_eq!((streak.failures_total(), streak.successes_total()), (2, 1));
    }

    #[test]
    fn an_ignored_run_neither_lengthens_nor_ends_a_streak() {
        let mut streak = FailureStreak::new();
        streak.record(Verdict::Failure);
        let before = streak;
        assert_eq!(streak.record(Verdict::Ignore), 1);
        assert_eq!(streak, before);
    }

    #[test]
    fn counters_saturate() {
        let mut streak = FailureStreak {
            consecutive: u32::MAX,
            failures_total: u64::MAX,
            successes_total: u64::MAX,
        };
        assert_eq!(streak.record(Verdict::Failure), u32::MAX);
        streak.record(Verdict::Success);
        assert_eq!(
            (streak.failures_total(), streak.successes_total()),
            (u64::MAX, u64::MAX)
        );
    }

    #[test]
    fn a_reset_keeps_the_history() {
        let mut streak = FailureStreak::new();
        streak.record(Verdict::Failure);
        streak.reset();
        assert_eq!((streak.consecutive(), streak.failures_total()), (0, 1));
        assert_eq!(streak.successes_total(), 0);
    }
}
