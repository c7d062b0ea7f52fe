//! When a failed attempt is made again.

use std::collections::BTreeMap;
use std::time::Duration;

use monitor_backoff::{Class, Jitter, Policy, RetryBudget};
use monitor_fault::Category;
use rand::Rng;

/// When a failed attempt is made again: how long to wait, by the category of the failure.
///
/// Default: `min(1000 * 2^n, 60 000)` ms after attempt `n + 1`, spread over its upper half so that
/// many do not return at once; what the failure itself calls permanent is not repeated.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    policy: Policy,
    /// `None`: a failure of that category is permanent.
    categories: BTreeMap<Category, Option<Policy>>,
    budget: Option<RetryBudget>,
    max_elapsed: Option<Duration>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        let jittered = Policy::jobs_retry().to_builder().jitter(Jitter::EQUAL);
        Self::new(jittered.build().unwrap_or(Policy::jobs_retry()))
    }
}

impl RetryPolicy {
    /// All failures wait by that policy.
    #[must_use]
    pub const fn new(policy: Policy) -> Self {
        Self {
            policy,
            categories: BTreeMap::new(),
            budget: None,
            max_elapsed: None,
        }
    }

    /// Failures of that category wait by a policy of their own.
    #[must_use]
    pub fn category(mut self, category: Category, policy: Policy) -> Self {
        self.categories.insert(category, Some(policy));
        self
    }

    /// Failures of that category are permanent: not again, whatever is left.
    #[must_use]
    pub fn permanent(mut self, category: Category) -> Self {
        self.categories.insert(category, None);
        self
    }

    /// Retries are paid from that budget. When it is empty a retry is put off for as long as the
    /// policy ever waits; no job is buried for it.
    #[must_use]
    pub fn budget(mut self, budget: RetryBudget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// A job that was put in longer ago than that is not tried again.
    #[must_use]
    pub fn max_elapsed(mut self, max_elapsed: Duration) -> Self {
        self.max_elapsed = Some(max_elapsed);
        self
    }

    pub(crate) const fn longest_life(&self) -> Option<Duration> {
        self.max_elapsed
    }

    /// An attempt was made at all: what pays for retries.
    pub(crate) fn attempted(&self) {
        if let Some(budget) = &self.budget {
            budget.deposit();
        }
    }

    /// How long to wait after `attempt` attempts, the last of which failed so; `None`: not again.
    pub(crate) fn wait(
        &self,
        attempt: u16,
        failure: &Failed,
        now: Duration,
        rng: &mut impl Rng,
    ) -> Option<Duration> {
        let category = self.categories.get(&failure.category);
        let policy = match category {
            Some(policy) => policy.as_ref()?,
            None if failure.permanent => return None,
            None => &self.policy,
        };
        if let (Some(longest), Some(age)) = (self.max_elapsed, failure.age)
            && age >= longest
        {
            return None;
        }
        let drawn = policy.delay(u32::from(attempt.max(1)), Duration::ZERO, rng);
        let wait = drawn.max(failure.asked.unwrap_or_default());
        match self
            .budget
            .as_ref()
            .map(|budget| budget.withdraw_at(now, Class::Transient))
        {
            Some(Err(_)) => Some(wait.max(policy.nominal(u32::from(u16::MAX), Duration::ZERO))),
            Some(Ok(token)) => {
                token.spend();
                Some(wait)
            }
            None => Some(wait),
        }
    }
}

/// A failure as far as its repetition goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failed {
    pub(crate) category: Category,
    pub(crate) permanent: bool,
    /// How long it asks to wait at least.
    pub(crate) asked: Option<Duration>,
    /// How long ago the job was put in, if that is known.
    pub(crate) age: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    const NETWORK: Failed = Failed {
        category: Category::Network,
        permanent: false,
        asked: None,
        age: None,
    };

    fn wait(policy: &RetryPolicy, attempt: u16, failed: Failed) -> Option<Duration> {
        policy.wait(
            attempt,
            &failed,
            Duration::ZERO,
            &mut SmallRng::seed_from_u64(1),
        )
    }

    /// JOB-5, JOB-37, R2: 1, 2, 4, ... 60 s, the upper half of each, and never above 60.
    #[test]
    fn the_default_doubles_up_to_a_minute() {
        let policy = RetryPolicy::default();
        for (attempt, most) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (1000, 60)] {
            let waited = wait(&policy, attempt, NETWORK).unwrap().as_secs_f64();
            let most = f64::from(most);
            assert!(
                (most / 2.0..=most).contains(&waited),
                "{attempt}: {waited} of {most}"
            );
        }
        let claim = Policy::jobs_claim();
        let waits = [1, 2, 3].map(|failures| claim.nominal(failures, Duration::ZERO).as_millis());
        assert_eq!(waits, [100, 200, 400], "JOB-5: the waits of a claim");
    }

    /// JOB-50: permanent errors are not repeated, by the failure's word or by its category.
    #[test]
    fn permanent_is_permanent() {
        let policy = RetryPolicy::default().permanent(Category::Authentication);
        let permanent = Failed {
            permanent: true,
            ..NETWORK
        };
        assert_eq!(wait(&policy, 1, permanent), None);
        let denied = Failed {
            category: Category::Authentication,
            ..NETWORK
        };
        assert_eq!(wait(&policy, 1, denied), None);
        let own = RetryPolicy::default().category(Category::Network, Policy::jobs_claim());
        assert_eq!(wait(&own, 1, permanent), Some(Duration::from_millis(100)));
    }

    /// JOB-50: an empty budget puts retries off, it buries nothing; age does.
    #[test]
    fn budget_and_age() {
        let budget = RetryBudget::builder().build().unwrap();
        let policy = RetryPolicy::new(Policy::jobs_retry()).budget(budget);
        let minute = Duration::from_secs(60);
        let waits: Vec<_> = (0..200)
            .map(|_| wait(&policy, 1, NETWORK).unwrap())
            .collect();
        assert!(waits.contains(&Duration::from_secs(1)) && waits.last() == Some(&minute));
        let old = RetryPolicy::default().max_elapsed(minute);
        let age = Some(minute);
        assert_eq!(wait(&old, 1, Failed { age, ..NETWORK }), None);
        let asked = Some(minute * 9);
        assert_eq!(wait(&old, 1, Failed { asked, ..NETWORK }), asked);
    }
}
