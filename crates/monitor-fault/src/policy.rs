//! What to do about each category, as data.

use std::time::Duration;

use monitor_backoff::Verdict;

use crate::{Category, Fault};

/// What follows the listed retries of a [`CategoryPolicy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Then {
    /// The check's normal interval.
    Interval,
    /// One try every so often, however short the normal interval is.
    Every(Duration),
    /// No try until the configuration changes or somebody asks for one.
    Suspend,
}

/// How to go on after a failure of one category, as data.
///
/// ```
/// use std::time::Duration;
/// use monitor_fault::{Category, policy_for};
///
/// let minute = Duration::from_secs(60);
/// let network = policy_for(Category::Network);
/// assert_eq!(network.delay(1, minute), Some(Duration::from_secs(2)));
/// assert_eq!(network.delay(9, minute), Some(minute));
/// assert_eq!(policy_for(Category::Configuration).delay(1, minute), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CategoryPolicy {
    /// The category.
    pub category: Category,
    /// The delays after the first, second ... failure in a row.
    pub retries: &'static [Duration],
    /// What follows them.
    pub then: Then,
    /// The failure in a row that is worth an alert; 1 is at once.
    pub alert_after: u32,
    /// What a failure streak and a circuit breaker count: a failure that is the prober's own says
    /// nothing about the target.
    pub verdict: Verdict,
}

impl CategoryPolicy {
    /// Returns how long to wait after `failures` (>= 1) failures in a row of this category.
    ///
    /// A listed retry may come sooner than the normal `interval`. `None` means not at all, until
    /// the configuration changes or somebody asks. No failure (0) means the normal interval.
    #[must_use]
    pub fn delay(&self, failures: u32, interval: Duration) -> Option<Duration> {
        let Some(index) = failures.checked_sub(1) else {
            return Some(interval);
        };
        let listed = usize::try_from(index)
            .ok()
            .and_then(|index| self.retries.get(index));
        match (listed, self.then) {
            (Some(delay), _) => Some(*delay),
            (None, Then::Interval) => Some(interval),
            (None, Then::Every(delay)) => Some(delay.max(interval)),
            (None, Then::Suspend) => None,
        }
    }

    /// Returns the [`delay`](Self::delay) after `fault`, but no less than what the other side
    /// asks for: a negative TTL of DNS, an HTTP `Retry-After`.
    #[must_use]
    pub fn delay_after(
        &self,
        fault: &Fault,
        failures: u32,
        interval: Duration,
    ) -> Option<Duration> {
        let delay = self.delay(failures, interval)?;
        Some(fault.retry_after().map_or(delay, |asked| asked.max(delay)))
    }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const NETWORK: &[Duration] = &[secs(2), secs(5), secs(10)];
const DNS: &[Duration] = &[secs(30), secs(60), secs(120)];
const RATE_LIMIT: &[Duration] = &[secs(60)];
const AUTHENTICATION: &[Duration] = &[secs(60)];

/// Returns the policy of `category`.
///
/// | Category | Retries after | Then | Alert |
/// |---|---|---|---|
/// | network, tls, timeout | 2, 5, 10 s | interval | at the 3rd failure |
/// | dns | 30, 60, 120 s | every 300 s | at the 3rd |
/// | authentication | 60 s | every hour (a lock-out must not be provoked) | at once |
/// | certificate | - | once a day | at once |
/// | configuration | - | suspended | at once |
/// | rate limit | 60 s | every 300 s | at the 3rd |
/// | protocol, assertion, resource, internal | - | interval | at the 3rd |
/// | cancelled | - | interval | never |
#[must_use]
pub const fn policy_for(category: Category) -> CategoryPolicy {
    use Category as C;
    let (retries, then, alert_after): (&'static [Duration], _, _) = match category {
        C::Network | C::Tls | C::Timeout => (NETWORK, Then::Interval, 3),
        C::Dns => (DNS, Then::Every(secs(300)), 3),
        C::Authentication => (AUTHENTICATION, Then::Every(secs(3600)), 1),
        C::Certificate => (&[], Then::Every(secs(86_400)), 1),
        C::Configuration => (&[], Then::Suspend, 1),
        C::RateLimit => (RATE_LIMIT, Then::Every(secs(300)), 3),
        C::Protocol | C::Assertion | C::Resource | C::Internal => (&[], Then::Interval, 3),
        C::Cancelled => (&[], Then::Interval, u32::MAX),
    };
    let verdict = match category {
        C::Configuration | C::Resource | C::Cancelled | C::Internal => Verdict::Ignore,
        _ => Verdict::Failure,
    };
    CategoryPolicy {
        category,
        retries,
        then,
        alert_after,
        verdict,
    }
}
