//! How calls are retried: the settings, shared by all calls.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{SeedableRng, rngs::SmallRng};

use super::{RetryStats, stats::Counters};
use crate::{Class, Policy, RetryBudget};

/// How calls are retried. One value serves any number of calls at a time; a clone is another handle
/// to it, and to its [counters](Retry::stats).
///
/// # Defaults
/// At most 3 attempts; no deadline; no budget; a push-back of up to 60 s is waited for; every class
/// has the same policy and one count of failures.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use monitor_backoff::{Policy, Retry};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let policy = Policy::exponential(Duration::from_micros(1), Duration::from_millis(1)).build()?;
/// let retry = Retry::builder(policy).max_attempts(4).build()?;
/// let mut left = 2;
/// let answer = retry
///     .call_blocking(|| match left {
///         0 => Ok("well again"),
///         _ => {
///             left -= 1;
///             Err("too busy")
///         }
///     })
///     .run_blocking();
/// assert_eq!(answer, Ok("well again"));
/// assert_eq!(retry.stats().attempts, 3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Retry {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: RetryBuilder,
    counters: Counters,
    /// The seed of the next call that needs random numbers.
    seed: AtomicU64,
}

/// Builds a [`Retry`], whose defaults it starts from.
#[derive(Clone, Debug)]
#[must_use]
pub struct RetryBuilder {
    policies: [Policy; Class::COUNT],
    pub(super) max_attempts: Option<u32>,
    pub(super) total: Option<Duration>,
    pub(super) min_attempt: Duration,
    pub(super) interval: Duration,
    pub(super) max_push_back: Duration,
    pub(super) long_push_back: LongPushBack,
    pub(super) class_change: ClassChange,
    pub(super) budget: Option<RetryBudget>,
    seed: Option<u64>,
}

/// What a failure of another class than the one before it does to the count of failures that the
/// policy is asked with. All attempts count towards `max_attempts` in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClassChange {
    /// Nothing: waits go on growing.
    #[default]
    Keep,
    /// It starts again at 1: each class begins with its own first wait.
    Reset,
}

/// What is done when the target wants to be left alone for longer than `max_push_back`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LongPushBack {
    /// The call is given up.
    #[default]
    Stop,
    /// The retry comes after `max_push_back`, sooner than the target asked for.
    Clamp,
}

/// Why [`RetryBuilder::build`] refused its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RetryConfigError {
    /// A number or duration of zero where that would mean nothing.
    #[error("{field} is zero; it must be more")]
    Zero {
        /// The setting.
        field: &'static str,
    },
    /// No attempt could ever end in time.
    #[error("min_attempt is {min_attempt:?}, longer than the total of {total:?}")]
    MinAttemptAboveTotal {
        /// The least time of an attempt.
        min_attempt: Duration,
        /// The time for the whole call.
        total: Duration,
    },
}

impl Retry {
    /// Starts the settings with this policy, which may be a constant.
    pub fn builder(policy: Policy) -> RetryBuilder {
        RetryBuilder {
            policies: [policy; Class::COUNT],
            max_attempts: Some(3),
            total: None,
            min_attempt: Duration::ZERO,
            interval: Duration::from_secs(1),
            max_push_back: Duration::from_secs(60),
            long_push_back: LongPushBack::Stop,
            class_change: ClassChange::Keep,
            budget: None,
            seed: None,
        }
    }

    /// Returns the counters of all calls.
    #[must_use]
    pub fn stats(&self) -> RetryStats {
        self.shared.counters.read()
    }

    /// Returns the budget, if the calls share one.
    #[must_use]
    pub fn budget(&self) -> Option<&RetryBudget> {
        self.settings().budget.as_ref()
    }

    pub(super) fn settings(&self) -> &RetryBuilder {
        &self.shared.settings
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Returns random numbers of a call's own, so that calls share nothing while they run.
    pub(super) fn rng(&self) -> SmallRng {
        // Any odd step visits every seed.
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        SmallRng::seed_from_u64(self.shared.seed.fetch_add(STEP, Ordering::Relaxed))
    }
}

impl RetryBuilder {
    /// Sets the most attempts, the first included. Default: 3.
    pub fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.max_attempts = Some(max_attempts);
        self
    }

    /// Lets a call make attempts until something else ends it: a permanent error, the deadline, the
    /// budget, or its caller.
    pub fn unlimited_attempts(mut self) -> Self {
        self.max_attempts = None;
        self
    }

    /// Sets the time for a whole call, waits included. No attempt is begun that could not end in
    /// it, and none is waited for; one that runs is never cut short. Default: no limit.
    pub fn total(mut self, total: Duration) -> Self {
        self.total = Some(total);
        self
    }

    /// Sets the least time that an attempt takes: one that cannot end before the deadline is not
    /// made. Default: zero.
    pub fn min_attempt(mut self, min_attempt: Duration) -> Self {
        self.min_attempt = min_attempt;
        self
    }

    /// Sets the normal interval, for policies that are relative to one. Default: 1 s.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets another policy for failures of one class. Default: the same for all.
    pub fn policy_for(mut self, class: Class, policy: Policy) -> Self {
        self.policies[class.index()] = policy;
        self
    }

    /// Sets what a change of class does to the count of failures. Default: [`ClassChange::Keep`].
    pub fn on_class_change(mut self, class_change: ClassChange) -> Self {
        self.class_change = class_change;
        self
    }

    /// Sets the longest push-back of the target that is waited for. Default: 60 s.
    pub fn max_push_back(mut self, max_push_back: Duration) -> Self {
        self.max_push_back = max_push_back;
        self
    }

    /// Sets what is done about a longer one. Default: [`LongPushBack::Stop`].
    pub fn on_long_push_back(mut self, long_push_back: LongPushBack) -> Self {
        self.long_push_back = long_push_back;
        self
    }

    /// Sets the budget that retries are paid from. Default: none, and every retry is granted.
    pub fn budget(mut self, budget: RetryBudget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Sets the seed of all random numbers: calls that are begun in the same order wait the same.
    /// Default: another one for every `Retry`.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Returns what calls are made with.
    ///
    /// # Errors
    /// - [`RetryConfigError::Zero`]: `max_attempts`, `total`, `interval` or `max_push_back` is zero.
    /// - [`RetryConfigError::MinAttemptAboveTotal`]: no attempt could end in time.
    pub fn build(self) -> Result<Retry, RetryConfigError> {
        if self
            .max_attempts
            .is_some_and(|most| NonZeroU32::new(most).is_none())
        {
            return Err(RetryConfigError::Zero {
                field: "max_attempts",
            });
        }
        let durations = [
            ("total", self.total.unwrap_or(Duration::MAX)),
            ("interval", self.interval),
            ("max_push_back", self.max_push_back),
        ];
        if let Some((field, _)) = durations.into_iter().find(|(_, d)| d.is_zero()) {
            return Err(RetryConfigError::Zero { field });
        }
        if let Some(total) = self.total
            && self.min_attempt > total
        {
            return Err(RetryConfigError::MinAttemptAboveTotal {
                min_attempt: self.min_attempt,
                total,
            });
        }
        // Callers that start together must not draw the same delays.
        let seed = self.seed.unwrap_or_else(|| RandomState::new().hash_one(()));
        Ok(Retry {
            shared: Arc::new(Shared {
                settings: self,
                counters: Counters::default(),
                seed: AtomicU64::new(seed),
            }),
        })
    }

    pub(super) fn policy(&self, class: Class) -> &Policy {
        &self.policies[class.index()]
    }
}
