//! What to do about a category, as data.

use std::borrow::Cow;
use std::time::Duration;

use monitor_backoff::Verdict;

use crate::name::named;
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

named! {
    /// What becomes of a category's count of failures when another category fails.
    ///
    /// Default: [`Keep`](Self::Keep).
    "switch rule", OnSwitch {
        /// It stays until a success: two categories that alternate do not restart each other's
        /// retries.
        Keep = "keep",
        /// It starts anew, and so do the retries.
        Reset = "reset",
    }
}

/// When an alert's level is reached: both must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertStep {
    /// At least so many failures in a row, at least 1.
    pub failures: u32,
    /// At least so long since the first of them.
    pub after: Duration,
}

/// How to go on after a failure of one category, as data.
///
/// A row of [`Policies`](crate::Policies), which checks what is put into it.
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
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CategoryPolicy {
    /// The category.
    pub category: Category,
    /// The delays after the first, second ... failure of this category in a row.
    pub retries: Cow<'static, [Duration]>,
    /// What follows them.
    pub then: Then,
    /// The most that the other side may ask to wait; what exceeds it is cut. However long a
    /// negative TTL is, no answer puts off its own check for good.
    pub asked_at_most: Duration,
    /// What becomes of the count of failures when another category fails.
    pub on_switch: OnSwitch,
    /// When the alert's levels 1, 2 ... are reached. Nothing listed is never.
    pub alerts: Cow<'static, [AlertStep]>,
    /// What a failure streak and a circuit breaker count: a failure that is the prober's own says
    /// nothing about the target.
    pub verdict: Verdict,
}

impl CategoryPolicy {
    /// Returns how long to wait after `failures` (>= 1) failures in a row of this category.
    ///
    /// A listed retry may come sooner than the normal `interval`. `None` means not at all, until
    /// the configuration changes or somebody asks. No failure (0) means the normal interval.
    ///
    /// There is no jitter in it: the next look comes at the latest of this, of the breaker's
    /// `retry_after` and of the backoff policy's delay, which spreads the looks of many checks.
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
    /// asks for (a negative TTL of DNS, an HTTP `Retry-After`), as far as
    /// [`asked_at_most`](Self::asked_at_most) allows.
    #[must_use]
    pub fn delay_after(
        &self,
        fault: &Fault,
        failures: u32,
        interval: Duration,
    ) -> Option<Duration> {
        let delay = self.delay(failures, interval)?;
        let asked = fault.retry_after().unwrap_or_default();
        Some(asked.min(self.asked_at_most).max(delay))
    }

    /// Returns the failure in a row that is worth an alert, if any ever is; 1 is at once.
    #[must_use]
    pub fn alert_after(&self) -> Option<u32> {
        self.alerts.first().map(|step| step.failures)
    }

    /// Returns the alert's level after `failures` in a row over `lasted`: how many of the steps
    /// are reached, one after the other.
    #[must_use]
    pub fn level(&self, failures: u32, lasted: Duration) -> usize {
        let reached = |step: &&AlertStep| failures >= step.failures.max(1) && lasted >= step.after;
        self.alerts.iter().take_while(reached).count()
    }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn step(failures: u32, after: Duration) -> AlertStep {
    AlertStep { failures, after }
}

const HOUR: Duration = secs(3600);
const DAY: Duration = secs(86_400);

const NETWORK: &[Duration] = &[secs(2), secs(5), secs(10)];
const DNS: &[Duration] = &[secs(30), secs(60), secs(120)];
const MINUTE: &[Duration] = &[secs(60)];

/// It has to be seen three times: the listed retries confirm it.
const CONFIRMED: &[AlertStep] = &[step(3, secs(0)), step(3, secs(900)), step(3, HOUR)];
/// One failure is enough, the one retry confirms it: waiting makes it no better.
const AT_ONCE: &[AlertStep] = &[step(1, secs(0)), step(2, secs(0)), step(2, HOUR)];
/// One failure is enough, and there are days to act before anybody else has to know.
const DAILY: &[AlertStep] = &[step(1, secs(0)), step(1, DAY), step(1, secs(3 * 86_400))];
/// One failure is all there will be.
const ONCE: &[AlertStep] = &[step(1, secs(0)), step(1, HOUR), step(1, DAY)];

/// Returns the default policy of `category`.
///
/// | Category | Retries after | Then | Alert levels 1, 2, 3 |
/// |---|---|---|---|
/// | network, tls, timeout | 2, 5, 10 s | interval | 3rd failure, 15 min, 1 h |
/// | dns | 30, 60, 120 s | every 300 s | 3rd failure, 15 min, 1 h |
/// | authentication | 60 s | every hour (a lock-out must not be provoked) | at once, 2nd failure, 1 h |
/// | certificate | - | once a day | at once, 1 day, 3 days |
/// | configuration | - | suspended | at once, 1 h, 1 day |
/// | rate limit | 60 s | every 300 s | 3rd failure, 15 min, 1 h |
/// | protocol, assertion, resource, internal | - | interval | 3rd failure, 15 min, 1 h |
/// | cancelled | - | interval | never |
///
/// Every category [keeps](OnSwitch::Keep) its count of failures when another one fails, and lets the
/// other side ask for an hour at most.
#[must_use]
pub const fn policy_for(category: Category) -> CategoryPolicy {
    use Category as C;
    type Row = (&'static [Duration], Then, &'static [AlertStep], Verdict);
    let (retries, then, alerts, verdict): Row = match category {
        C::Network | C::Tls | C::Timeout => (NETWORK, Then::Interval, CONFIRMED, Verdict::Failure),
        C::Dns => (DNS, Then::Every(secs(300)), CONFIRMED, Verdict::Failure),
        C::Authentication => (MINUTE, Then::Every(HOUR), AT_ONCE, Verdict::Failure),
        C::Certificate => (&[], Then::Every(DAY), DAILY, Verdict::Failure),
        C::RateLimit => (MINUTE, Then::Every(secs(300)), CONFIRMED, Verdict::Failure),
        C::Protocol | C::Assertion => (&[], Then::Interval, CONFIRMED, Verdict::Failure),
        C::Configuration => (&[], Then::Suspend, ONCE, Verdict::Ignore),
        C::Resource | C::Internal => (&[], Then::Interval, CONFIRMED, Verdict::Ignore),
        C::Cancelled => (&[], Then::Interval, &[], Verdict::Ignore),
    };
    CategoryPolicy {
        category,
        retries: Cow::Borrowed(retries),
        then,
        asked_at_most: HOUR,
        on_switch: OnSwitch::Keep,
        alerts: Cow::Borrowed(alerts),
        verdict,
    }
}
