//! An alert that rises with the persistence of the trouble.

use std::time::Duration;

use monitor_backoff::Verdict;

use crate::{Category, Policies};

/// Raises an alert's level while a check keeps failing, and resolves it with the first success.
///
/// The levels are the steps of [`CategoryPolicy::alerts`](crate::CategoryPolicy): how many
/// failures in a row, and for how long. All categories count together, so that a trouble with two
/// faces is no younger than it is, and the steps are those of the category that failed last. The
/// prober's own failures count apart from the target's. A check that was called off changes
/// nothing.
///
/// It is a value that neither knows a clock nor sleeps. `now` is the time since any fixed instant;
/// a clock that goes back makes a trouble younger and nothing else. Levels that are reached
/// between two checks are told by [`tick`](Self::tick), which is due at
/// [`next_at`](Self::next_at).
///
/// With the feature `serde` it can be written down and read again. If `now` is then counted from
/// an instant that outlives the process, such as the beginning of 1970, a restart tells nothing
/// twice.
///
/// ```
/// use std::time::Duration;
/// use monitor_fault::{AlertChange, Category, Escalation, Policies};
///
/// let (policies, minute) = (Policies::default(), Duration::from_secs(60));
/// let mut alert = Escalation::new();
/// assert_eq!(alert.failure(minute, Category::Network, &policies), None);
/// assert_eq!(alert.failure(2 * minute, Category::Timeout, &policies), None);
/// let raised = alert.failure(3 * minute, Category::Network, &policies);
/// assert!(matches!(raised, Some(AlertChange::Raised { level: 1, failures: 3, .. })));
///
/// let due = alert.next_at(&policies).expect("a second level");
/// assert_eq!(due, 16 * minute);
/// assert!(matches!(alert.tick(due, &policies), Some(AlertChange::Raised { level: 2, .. })));
/// assert!(matches!(alert.success(17 * minute), Some(AlertChange::Resolved { level: 2, .. })));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Escalation {
    /// The target's trouble and the prober's own.
    troubles: [Option<Trouble>; 2],
    /// INV-FAULT-2: the highest level that was told since the last success; it only rises, so
    /// that each level is told once.
    told: usize,
    acknowledged: bool,
    silent_until: Option<Duration>,
}

/// Failures in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Trouble {
    /// Of the last failure.
    category: Category,
    failures: u32,
    since: Duration,
}

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlertChange {
    /// The trouble has reached a level, perhaps past others.
    Raised {
        /// The level told before; 0 if none was.
        from: usize,
        /// The level now.
        level: usize,
        /// What failed last, on the side (target or prober) that reached the level.
        category: Category,
        /// The failures in a row.
        failures: u32,
        /// The time since the first of them.
        lasted: Duration,
    },
    /// It is over.
    Resolved {
        /// The level that it had reached.
        level: usize,
        /// The time since its first failure.
        lasted: Duration,
    },
}

impl Escalation {
    /// Returns an alert without a trouble.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            troubles: [None, None],
            told: 0,
            acknowledged: false,
            silent_until: None,
        }
    }

    /// Counts one failure. Returns a level that is reached by it, or was reached since.
    pub fn failure(
        &mut self,
        now: Duration,
        category: Category,
        policies: &Policies,
    ) -> Option<AlertChange> {
        if category != Category::Cancelled {
            let own = policies.get(category).verdict == Verdict::Ignore;
            let trouble = self.troubles[usize::from(own)].get_or_insert(Trouble {
                category,
                failures: 0,
                since: now,
            });
            trouble.category = category;
            trouble.failures = trouble.failures.saturating_add(1);
        }
        self.tick(now, policies)
    }

    /// Ends the trouble and its acknowledgement. Returns its end, if anybody was told of it: also
    /// while silent, for who was alarmed must hear that it is over.
    pub fn success(&mut self, now: Duration) -> Option<AlertChange> {
        let since = self.since();
        let level = std::mem::take(&mut self.told);
        self.troubles = [None, None];
        self.acknowledged = false;
        (level > 0).then(|| AlertChange::Resolved {
            level,
            lasted: now.saturating_sub(since.unwrap_or(now)),
        })
    }

    /// Returns a level that is reached by now and was not told yet.
    pub fn tick(&mut self, now: Duration, policies: &Policies) -> Option<AlertChange> {
        if self.acknowledged || self.silent_until.is_some_and(|until| now < until) {
            return None;
        }
        self.silent_until = None;
        let reached = |trouble: &Trouble| {
            let lasted = now.saturating_sub(trouble.since);
            let policy = policies.get(trouble.category);
            (policy.level(trouble.failures, lasted), *trouble, lasted)
        };
        // Of two that reach the same level the last is taken: the target's.
        let troubles = self.troubles.iter().rev().flatten();
        let (level, trouble, lasted) = troubles.map(reached).max_by_key(|(level, ..)| *level)?;
        if level <= self.told {
            return None;
        }
        let from = std::mem::replace(&mut self.told, level);
        Some(AlertChange::Raised {
            from,
            level,
            category: trouble.category,
            failures: trouble.failures,
            lasted,
        })
    }

    /// Returns when [`tick`](Self::tick) will next have something to tell if nothing else happens
    /// until then; `None` if that needs another failure, or somebody's doing.
    #[must_use]
    pub fn next_at(&self, policies: &Policies) -> Option<Duration> {
        if self.acknowledged {
            return None;
        }
        let next = |trouble: &Trouble| {
            let step = policies.get(trouble.category).alerts.get(self.told)?;
            let waits = trouble.failures >= step.failures;
            waits.then(|| trouble.since.saturating_add(step.after))
        };
        let at = self.troubles.iter().flatten().filter_map(next).min()?;
        Some(at.max(self.silent_until.unwrap_or_default()))
    }

    /// Somebody is on it: nothing more is told until the next success. `false` if there is no
    /// trouble.
    pub fn acknowledge(&mut self) -> bool {
        self.acknowledged = self.since().is_some();
        self.acknowledged
    }

    /// Tells nothing before `until`, except the end of what was told already. What has been
    /// reached meanwhile is told then, if it has not ended. It holds for later troubles too.
    pub const fn silence(&mut self, until: Duration) {
        self.silent_until = Some(until);
    }

    /// Returns the highest level that was told since the last success; 0 is none.
    #[must_use]
    pub const fn level(&self) -> usize {
        self.told
    }

    /// Returns when the first failure of the present trouble was, if there is one.
    #[must_use]
    pub fn since(&self) -> Option<Duration> {
        self.troubles.iter().flatten().map(|t| t.since).min()
    }
}
