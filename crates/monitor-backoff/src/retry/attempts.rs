//! The kernel of one call: after each failure it decides whether there is another attempt, and
//! when. It reads no clock and sleeps nowhere.

use std::time::Duration;

use rand::{Rng, RngExt};

use super::{ClassChange, LongPushBack, Retry, RetryError, Stop};
use crate::{Class, Disposition, RetryToken};

/// The attempts of one call, begun by [`Retry::begin`].
///
/// The drivers of this crate are loops around it; write one of your own where they do not fit.
/// Times are since an origin that all users of the same budget share, as
/// [`process_time`](crate::process_time) is.
///
/// # Cancel safety
/// Dropped, it spends the token of a retry that was [resumed](Attempts::resume) and has not
/// succeeded, for the target has had that request. The token of a retry that is still waited for
/// is in the [`Decision`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use monitor_backoff::{Decision, Disposition, Policy, Retry, Stop};
/// use rand::{SeedableRng, rngs::SmallRng};
///
/// let retry = Retry::builder(Policy::socket()).max_attempts(2).build().expect("valid");
/// let (mut rng, mut now) = (SmallRng::seed_from_u64(1), Duration::from_secs(100));
/// let mut attempts = retry.begin(now);
/// match attempts.fail(now, Disposition::TRANSIENT, &mut rng) {
///     Decision::Retry { after, token } => {
///         assert_eq!(after, Duration::from_secs(1));
///         now += after;
///         attempts.resume(token);
///     }
///     Decision::Stop(_) => unreachable!("one attempt is left"),
/// }
/// let decision = attempts.fail(now, Disposition::TRANSIENT, &mut rng);
/// assert!(matches!(decision, Decision::Stop(Stop::Exhausted { max_attempts: 2 })));
/// ```
#[derive(Debug)]
#[must_use]
pub struct Attempts {
    retry: Retry,
    /// INV-BACKOFF-6: no retry is granted whose earliest end lies behind it.
    deadline: Option<Duration>,
    /// Attempts that were begun, the first included.
    begun: u32,
    /// Failed attempts by class.
    by_class: [u32; Class::COUNT],
    /// What the policy is asked with.
    failures: u32,
    class: Option<Class>,
    /// The delay before, for decorrelated ones.
    previous: Duration,
    waited: Duration,
    /// Of the retry that runs.
    token: Option<RetryToken>,
}

/// What comes after a failed attempt.
#[derive(Debug)]
#[must_use]
pub enum Decision {
    /// Another attempt, after this long. Hold the token meanwhile, and hand it to
    /// [`Attempts::resume`] when the attempt begins; dropped, it goes back into the budget.
    Retry {
        /// How long to wait.
        after: Duration,
        /// What was taken from the budget, if there is one.
        token: Option<RetryToken>,
    },
    /// No further attempt.
    Stop(Stop),
}

impl Retry {
    /// Begins a call and its first attempt, which deposits into the budget.
    pub fn begin(&self, now: Duration) -> Attempts {
        self.counters().call();
        if let Some(budget) = self.budget() {
            budget.deposit();
        }
        let total = self.settings().total;
        Attempts {
            retry: self.clone(),
            deadline: total.map(|total| now.saturating_add(total)),
            begun: 1,
            by_class: [0; Class::COUNT],
            failures: 0,
            class: None,
            previous: Duration::ZERO,
            waited: Duration::ZERO,
            token: None,
        }
    }
}

impl Attempts {
    /// Sets an earlier deadline for this call than its [total](crate::RetryBuilder::total) gives.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(self.deadline.map_or(deadline, |first| first.min(deadline)));
        self
    }

    /// Decides what comes after a failed attempt. The token of that attempt is spent.
    ///
    /// In this order: a permanent error or a refusal of the target stops; then `max_attempts`, a
    /// push-back that is too long, the deadline, and last the budget, so that no token is taken for
    /// a retry that will not be made.
    ///
    /// A push-back is waited for in full and up to a tenth longer, so that callers who were told
    /// the same do not return together; where the policy's own delay is longer, that.
    pub fn fail(
        &mut self,
        now: Duration,
        disposition: Disposition,
        rng: &mut (impl Rng + ?Sized),
    ) -> Decision {
        if let Some(token) = self.token.take() {
            token.spend();
        }
        match self.decide(now, disposition, rng) {
            Ok((after, token)) => {
                self.waited = self.waited.saturating_add(after);
                self.retry.counters().wait(after);
                Decision::Retry { after, token }
            }
            Err(stop) => {
                self.retry.counters().give_up(&stop);
                Decision::Stop(stop)
            }
        }
    }

    /// Begins the retry that was decided on.
    pub fn resume(&mut self, token: Option<RetryToken>) {
        self.begun = self.begun.saturating_add(1);
        self.retry.counters().retry();
        self.token = token;
        if let Some(token) = &mut self.token {
            token.start();
        }
    }

    /// Ends the call with a success. The token of a retry goes back: it did no harm.
    pub fn succeed(mut self) {
        if self.begun > 1 {
            self.retry.counters().recovery();
        }
        if let Some(token) = self.token.take() {
            token.put_back();
        }
    }

    /// Ends the call with the error of its last attempt.
    pub fn give_up<E>(self, stop: Stop, last: E) -> RetryError<E> {
        RetryError {
            last,
            stop,
            attempts: self.begun,
            waited: self.waited,
        }
    }

    /// Returns how many attempts were begun, the first included.
    #[must_use]
    pub fn begun(&self) -> u32 {
        self.begun
    }

    /// Returns how many attempts failed with errors of this class.
    #[must_use]
    pub fn failed_with(&self, class: Class) -> u32 {
        self.by_class[class.index()]
    }

    #[cfg(feature = "tower")]
    pub(crate) fn rng(&self) -> rand::rngs::SmallRng {
        self.retry.rng()
    }

    fn decide(
        &mut self,
        now: Duration,
        disposition: Disposition,
        rng: &mut (impl Rng + ?Sized),
    ) -> Result<(Duration, Option<RetryToken>), Stop> {
        let limit = self.retry.settings().max_push_back;
        let (class, push_back) = match disposition {
            Disposition::Permanent => return Err(Stop::Permanent),
            Disposition::DoNotRetry => {
                return Err(Stop::PushBack {
                    retry_after: None,
                    limit,
                });
            }
            Disposition::Retry(class) => (class, None),
            Disposition::RetryAfter(class, after) => (class, Some(after)),
        };
        self.count(class);
        let settings = self.retry.settings();
        if let Some(max_attempts) = settings.max_attempts
            && self.begun >= max_attempts
        {
            return Err(Stop::Exhausted { max_attempts });
        }
        let push_back = match push_back {
            Some(retry_after) if retry_after > limit => match settings.long_push_back {
                LongPushBack::Clamp => Some(limit),
                LongPushBack::Stop => {
                    return Err(Stop::PushBack {
                        retry_after: Some(retry_after),
                        limit,
                    });
                }
            },
            other => other,
        };
        let policy = settings.policy(class);
        let drawn = policy.delay_after(self.previous, self.failures, settings.interval, rng);
        let after = push_back.map_or(drawn, |wait| drawn.max(spread(wait, rng)));
        if let Some(deadline) = self.deadline {
            let needed = after.saturating_add(settings.min_attempt);
            // By the end, not by what is left: behind the deadline nothing is left, and nothing may
            // be needed.
            if now.checked_add(needed).is_none_or(|end| end > deadline) {
                let left = deadline.saturating_sub(now);
                return Err(Stop::Deadline { needed, left });
            }
        }
        let token = match &settings.budget {
            Some(budget) => Some(
                budget
                    .withdraw_at(now, class)
                    .map_err(Stop::BudgetExhausted)?,
            ),
            None => None,
        };
        self.previous = drawn;
        Ok((after, token))
    }

    fn count(&mut self, class: Class) {
        self.retry.counters().failure(class);
        let of_class = &mut self.by_class[class.index()];
        *of_class = of_class.saturating_add(1);
        let changed = self
            .class
            .replace(class)
            .is_some_and(|before| before != class);
        if changed && self.retry.settings().class_change == ClassChange::Reset {
            (self.failures, self.previous) = (0, Duration::ZERO);
        }
        self.failures = self.failures.saturating_add(1);
    }
}

/// Never earlier than `wait`, up to a tenth later.
fn spread(wait: Duration, rng: &mut (impl Rng + ?Sized)) -> Duration {
    let more = crate::nanos::nanos(wait / 10);
    wait.saturating_add(Duration::from_nanos(rng.random_range(0..=more)))
}
