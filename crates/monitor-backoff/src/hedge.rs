//! A second attempt beside a slow first one.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::{Class, Disposition, RetryBudget, RetryConfigError, RetryToken, clock};

/// As good as never: tokio's timer goes no further.
const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// Starts further attempts beside one that is slow; the first success wins.
///
/// It buys a shorter tail for more load, so it is for operations that may be run twice, and it
/// draws from the same budget as retries.
///
/// # Semantics
/// - The first attempt starts at once and deposits into the budget. While none has succeeded,
///   another one starts after every `delay`, or as soon as none is left in flight.
/// - INV-BACKOFF-7: never more than `max_in_flight` attempts at a time, never more than
///   `max_attempts` altogether.
/// - Each further attempt takes a token that is not given back, whether it wins or not: the load
///   was caused. Where the budget has none, the call goes on with the attempts it has.
/// - After a push-back ([`Disposition::RetryAfter`]) no further attempt starts; those in flight go on.
/// - The first success wins, and so does the first permanent error. The losers are **dropped**
///   where they are: a request that has been sent is still worked on by its target, and a
///   connection in the middle of a request cannot be used again.
/// - When all attempts failed and there may be no further one, the last error is returned.
///
/// # Defaults
/// At most 2 attempts, all of which may be in flight; no budget.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use monitor_backoff::{Disposition, Hedge};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), monitor_backoff::RetryConfigError> {
/// let hedge = Hedge::builder(Duration::from_millis(50)).build()?;
/// let attempt = |number: u32| async move {
///     // The first one is unlucky.
///     let took = if number == 1 { 900 } else { 30 };
///     tokio::time::sleep(Duration::from_millis(took)).await;
///     Ok::<_, std::io::Error>(number)
/// };
/// let winner = hedge.run(attempt, |_| Disposition::TRANSIENT).await;
/// assert_eq!(winner.ok(), Some(2));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Hedge {
    settings: HedgeBuilder,
}

/// Builds a [`Hedge`], whose defaults it starts from.
#[derive(Clone, Debug)]
#[must_use]
pub struct HedgeBuilder {
    delay: Duration,
    max_attempts: u32,
    max_in_flight: Option<u32>,
    budget: Option<RetryBudget>,
}

impl HedgeBuilder {
    /// Sets the most attempts, the first included. Default: 2.
    pub fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.max_attempts = max_attempts;
        self
    }

    /// Sets the most attempts in flight at a time. With 1, a further attempt waits until the one
    /// before it has failed. Default: all of them.
    pub fn max_in_flight(mut self, max_in_flight: u32) -> Self {
        self.max_in_flight = Some(max_in_flight);
        self
    }

    /// Sets the budget that further attempts are paid from. Default: none.
    pub fn budget(mut self, budget: RetryBudget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Returns the hedging.
    ///
    /// # Errors
    /// [`RetryConfigError::Zero`]: `max_attempts` or `max_in_flight` is zero.
    pub fn build(self) -> Result<Hedge, RetryConfigError> {
        let counts = [
            ("max_attempts", Some(self.max_attempts)),
            ("max_in_flight", self.max_in_flight),
        ];
        match counts.into_iter().find(|(_, count)| *count == Some(0)) {
            Some((field, _)) => Err(RetryConfigError::Zero { field }),
            None => Ok(Hedge { settings: self }),
        }
    }
}

impl Hedge {
    /// Starts hedging with a further attempt after `delay`, which should be what 95 % of the
    /// attempts take. A delay of zero starts all at once.
    pub const fn builder(delay: Duration) -> HedgeBuilder {
        HedgeBuilder {
            delay,
            max_attempts: 2,
            max_in_flight: None,
            budget: None,
        }
    }

    /// Runs `attempt`, which is told the number of the attempt, from 1 on.
    ///
    /// # Errors
    /// The first error that `classify` takes for final ([`Disposition::Permanent`],
    /// [`Disposition::DoNotRetry`]), or the last one when no attempt is left.
    ///
    /// # Cancel safety
    /// Dropped, it drops every attempt in flight. The tokens of those are spent.
    pub async fn run<T, E, Fut>(
        &self,
        attempt: impl FnMut(u32) -> Fut,
        classify: impl FnMut(&E) -> Disposition,
    ) -> Result<T, E>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        if let Some(budget) = &self.settings.budget {
            budget.deposit();
        }
        let mut race = Race {
            settings: &self.settings,
            attempt,
            classify,
            in_flight: Vec::new(),
            begun: 0,
            refused: false,
            last: None,
        };
        race.start();
        let mut timer = pin!(sleep_until(self.settings.next_start()));
        poll_fn(|cx| race.poll(cx, timer.as_mut())).await
    }
}

impl HedgeBuilder {
    fn next_start(&self) -> Instant {
        Instant::now() + self.delay.min(FAR)
    }
}

/// The attempts of one call.
struct Race<'h, A, C, Fut, E> {
    settings: &'h HedgeBuilder,
    attempt: A,
    classify: C,
    /// INV-BACKOFF-7: grows in `start` only, which `may_start` guards.
    in_flight: Vec<Pin<Box<Fut>>>,
    begun: u32,
    /// Whether the budget has refused, or the target asked for less: there is no further attempt.
    refused: bool,
    /// Of the attempt that failed last.
    last: Option<E>,
}

impl<T, E, A, C, Fut> Race<'_, A, C, Fut, E>
where
    A: FnMut(u32) -> Fut,
    C: FnMut(&E) -> Disposition,
    Fut: Future<Output = Result<T, E>>,
{
    fn poll(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<Result<T, E>> {
        loop {
            if let Some(result) = self.poll_in_flight(cx) {
                return Poll::Ready(result);
            }
            let idle = self.in_flight.is_empty();
            let due = idle || (self.may_start() && timer.as_mut().poll(cx).is_ready());
            if due && self.may_start() && self.pay() {
                self.start();
                timer.as_mut().reset(self.settings.next_start());
                continue;
            }
            return match self.last.take() {
                Some(error) if idle => Poll::Ready(Err(error)),
                // Some attempt is in flight: each one is, or was the last to fail.
                last => {
                    self.last = last;
                    Poll::Pending
                }
            };
        }
    }

    /// Polls every attempt; returns what ends the call.
    fn poll_in_flight(&mut self, cx: &mut Context<'_>) -> Option<Result<T, E>> {
        let mut index = 0;
        while let Some(attempt) = self.in_flight.get_mut(index) {
            match attempt.as_mut().poll(cx) {
                Poll::Pending => index += 1,
                Poll::Ready(Ok(value)) => return Some(Ok(value)),
                Poll::Ready(Err(error)) => {
                    drop(self.in_flight.swap_remove(index));
                    match (self.classify)(&error) {
                        Disposition::Permanent | Disposition::DoNotRetry => {
                            return Some(Err(error));
                        }
                        // Whoever asks to be left alone is not asked once more beside that.
                        Disposition::RetryAfter(..) => {
                            (self.refused, self.last) = (true, Some(error))
                        }
                        Disposition::Retry(_) => self.last = Some(error),
                    }
                }
            }
        }
        None
    }

    fn may_start(&self) -> bool {
        let settings = self.settings;
        let at_once = settings.max_in_flight.unwrap_or(settings.max_attempts);
        !self.refused
            && self.begun < settings.max_attempts
            && self.in_flight.len() < usize::try_from(at_once).unwrap_or(usize::MAX)
    }

    /// Pays for a further attempt, at once and for good.
    fn pay(&mut self) -> bool {
        if let Some(budget) = &self.settings.budget {
            let token = budget.withdraw_at(clock::tokio_now(), Class::Transient);
            self.refused = token.map(RetryToken::spend).is_err();
        }
        !self.refused
    }

    fn start(&mut self) {
        self.begun += 1;
        self.in_flight.push(Box::pin((self.attempt)(self.begun)));
    }
}
