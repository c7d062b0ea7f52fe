//! Failures in a row, per category.

use std::time::Duration;

use monitor_backoff::Verdict;

use crate::{Category, Fault, OnSwitch, Policies};

/// Counts the failures in a row of each category, which is what a policy's delay asks for.
///
/// A category's count starts anew with a success, and with a failure of another category where
/// its policy says [`OnSwitch::Reset`]. A check that was called off changes nothing. Counters
/// saturate.
///
/// With the feature `serde` it can be written down and read again, so that a process that is
/// restarted over and over does not try credentials each time as if for the first time.
///
/// ```
/// use std::time::Duration;
/// use monitor_fault::{Category, CategoryStreaks, Policies};
///
/// let (policies, minute) = (Policies::default(), Duration::from_secs(60));
/// let mut streaks = CategoryStreaks::new();
/// let mut delay = |category| {
///     let failures = streaks.failure(category, &policies);
///     policies.get(category).delay(failures, minute).map(|delay| delay.as_secs())
/// };
/// assert_eq!(delay(Category::Network), Some(2));
/// assert_eq!(delay(Category::Timeout), Some(2));
/// assert_eq!(delay(Category::Network), Some(5), "it goes on where it was");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CategoryStreaks {
    /// In the order of `Category::ALL`.
    pub(crate) in_a_row: [u32; Category::COUNT],
    pub(crate) last: Option<Category>,
}

impl CategoryStreaks {
    /// Returns a count that has seen nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            in_a_row: [0; Category::COUNT],
            last: None,
        }
    }

    /// Counts one failure and returns the failures in a row of its category, this one included.
    pub fn failure(&mut self, category: Category, policies: &Policies) -> u32 {
        if category == Category::Cancelled {
            return 0;
        }
        if let Some(last) = self.last
            && last != category
            && policies.get(last).on_switch == OnSwitch::Reset
        {
            self.in_a_row[last.index()] = 0;
        }
        self.last = Some(category);
        let count = &mut self.in_a_row[category.index()];
        *count = count.saturating_add(1);
        *count
    }

    /// Ends every count.
    pub const fn success(&mut self) {
        *self = Self::new();
    }

    /// The wait after a failure that is not to be tried again at all: a year, which is until the
    /// configuration changes or somebody asks for a check.
    pub const SUSPENDED: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    /// Counts what a check came to, and returns how long its category asks to wait; `None` asks for
    /// nothing.
    ///
    /// A success ends every count. A check without a fault that was no success was called off, and
    /// says nothing. The next look comes at the latest of this, of the breaker's `retry_after` and of
    /// the backoff policy's delay after `interval`.
    pub fn wait_after(
        &mut self,
        verdict: Verdict,
        fault: Option<&Fault>,
        policies: &Policies,
        interval: Duration,
    ) -> Option<Duration> {
        if verdict == Verdict::Success {
            self.success();
            return None;
        }
        let fault = fault?;
        let failures = self.failure(fault.category(), policies);
        let wait = policies
            .get(fault.category())
            .delay_after(fault, failures, interval);
        Some(wait.unwrap_or(Self::SUSPENDED))
    }

    /// Returns the failures in a row of `category`.
    #[must_use]
    pub const fn of(&self, category: Category) -> u32 {
        self.in_a_row[category.index()]
    }

    /// Returns the category that failed last, if any did since the last success.
    #[must_use]
    pub const fn last(&self) -> Option<Category> {
        self.last
    }
}
