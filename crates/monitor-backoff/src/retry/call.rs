//! The drivers: attempts made and waited for, on tokio or on a thread.

#[cfg(feature = "tokio")]
use std::future::Future;
use std::{marker::PhantomData, time::Duration};

use super::{Attempts, Decision, Retry, RetryError};
use crate::{Disposition, clock};

/// One call that is retried, from [`Retry::call`] or [`Retry::call_blocking`]. It does nothing until
/// it is run.
#[must_use = "nothing happens until it is run"]
pub struct Call<'r, E, Op, Classify, OnRetry> {
    retry: &'r Retry,
    operation: Op,
    classify: Classify,
    on_retry: OnRetry,
    within: Option<Duration>,
    errors: PhantomData<fn(E)>,
}

/// An attempt that failed and will be followed by another.
#[derive(Debug)]
#[non_exhaustive]
pub struct RetryEvent<'e, E> {
    /// What it failed with.
    pub error: &'e E,
    /// Which attempt it was, counted from 1.
    pub attempt: u32,
    /// How its error was classified.
    pub disposition: Disposition,
    /// How long is waited now.
    pub after: Duration,
}

/// What is made of errors unless a call says otherwise: each is a failure of the moment.
type Transient<E> = fn(&E) -> Disposition;
type Silent<E> = fn(&RetryEvent<'_, E>);

impl Retry {
    /// Prepares a call of an asynchronous operation. Every error counts as
    /// [transient](Disposition::TRANSIENT) unless it is [classified](Call::classify).
    ///
    /// The operation is a function that returns futures, not an `AsyncFnMut`: a call of one that
    /// borrows could not be spawned, for the compiler cannot show that its future is `Send`.
    ///
    /// # Examples
    /// ```
    /// # use monitor_backoff::{Class, Disposition, Policy, Retry, RetryError};
    /// # #[derive(Debug)] enum Fetch { NotFound, Busy }
    /// # async fn fetch() -> Result<u32, Fetch> { Ok(1) }
    /// # async fn example(retry: Retry) -> Result<u32, RetryError<Fetch>> {
    /// retry
    ///     .call(fetch)
    ///     .classify(|error| match error {
    ///         Fetch::NotFound => Disposition::Permanent,
    ///         Fetch::Busy => Disposition::Retry(Class::Throttled),
    ///     })
    ///     .on_retry(|event| eprintln!("{:?}, again in {:?}", event.error, event.after))
    ///     .run()
    ///     .await
    /// # }
    /// ```
    #[cfg(feature = "tokio")]
    pub fn call<T, E, Op, Fut>(&self, operation: Op) -> Call<'_, E, Op, Transient<E>, Silent<E>>
    where
        Op: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        Call::new(self, operation)
    }

    /// Prepares a call of a blocking operation, to be [run](Call::run_blocking) on a thread that may
    /// sleep. Every error counts as [transient](Disposition::TRANSIENT) unless it is
    /// [classified](Call::classify).
    pub fn call_blocking<T, E, Op>(&self, operation: Op) -> Call<'_, E, Op, Transient<E>, Silent<E>>
    where
        Op: FnMut() -> Result<T, E>,
    {
        Call::new(self, operation)
    }
}

impl<'r, E, Op> Call<'r, E, Op, Transient<E>, Silent<E>> {
    fn new(retry: &'r Retry, operation: Op) -> Self {
        Call {
            retry,
            operation,
            classify: |_| Disposition::TRANSIENT,
            on_retry: |_| {},
            within: None,
            errors: PhantomData,
        }
    }
}

impl<'r, E, Op, Classify, OnRetry> Call<'r, E, Op, Classify, OnRetry>
where
    Classify: FnMut(&E) -> Disposition,
    OnRetry: FnMut(&RetryEvent<'_, E>),
{
    /// Sets what is made of an error.
    pub fn classify<F>(self, classify: F) -> Call<'r, E, Op, F, OnRetry>
    where
        F: FnMut(&E) -> Disposition,
    {
        Call {
            retry: self.retry,
            operation: self.operation,
            classify,
            on_retry: self.on_retry,
            within: self.within,
            errors: PhantomData,
        }
    }

    /// Sets what is told of every attempt that will be repeated, before its wait. The error that
    /// ends the call is the call's own.
    pub fn on_retry<F>(self, on_retry: F) -> Call<'r, E, Op, Classify, F>
    where
        F: FnMut(&RetryEvent<'_, E>),
    {
        Call {
            retry: self.retry,
            operation: self.operation,
            classify: self.classify,
            on_retry,
            within: self.within,
            errors: PhantomData,
        }
    }

    /// Sets the time for this call where it has less than the
    /// [total](crate::RetryBuilder::total).
    pub fn within(mut self, within: Duration) -> Self {
        self.within = Some(within);
        self
    }

    /// Makes attempts until one succeeds or there is no further one.
    ///
    /// # Errors
    /// [`RetryError`] with the last error and why there was no further attempt.
    ///
    /// # Cancel safety
    /// Dropped while it waits, the call puts its token back into the budget. Dropped while an
    /// attempt runs, it drops the attempt and, if that was a retry, has spent the token: the target
    /// may have seen the request. Nothing else is held.
    #[cfg(feature = "tokio")]
    pub async fn run<T, Fut>(mut self) -> Result<T, RetryError<E>>
    where
        Op: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let mut attempts = self.begin(clock::tokio_now());
        let mut rng = None;
        loop {
            let error = match (self.operation)().await {
                Ok(value) => {
                    attempts.succeed();
                    return Ok(value);
                }
                Err(error) => error,
            };
            let rng = rng.get_or_insert_with(|| self.retry.rng());
            match self.fail(&mut attempts, clock::tokio_now(), &error, rng) {
                Decision::Stop(stop) => return Err(attempts.give_up(stop, error)),
                Decision::Retry { after, token } => {
                    drop(error);
                    tokio::time::sleep(after).await;
                    attempts.resume(token);
                }
            }
        }
    }

    /// Makes attempts on this thread, which sleeps between them, until one succeeds or there is no
    /// further one.
    ///
    /// # Errors
    /// [`RetryError`] with the last error and why there was no further attempt.
    pub fn run_blocking<T>(mut self) -> Result<T, RetryError<E>>
    where
        Op: FnMut() -> Result<T, E>,
    {
        let mut attempts = self.begin(clock::process_time());
        let mut rng = None;
        loop {
            let error = match (self.operation)() {
                Ok(value) => {
                    attempts.succeed();
                    return Ok(value);
                }
                Err(error) => error,
            };
            let rng = rng.get_or_insert_with(|| self.retry.rng());
            match self.fail(&mut attempts, clock::process_time(), &error, rng) {
                Decision::Stop(stop) => return Err(attempts.give_up(stop, error)),
                Decision::Retry { after, token } => {
                    drop(error);
                    std::thread::sleep(after);
                    attempts.resume(token);
                }
            }
        }
    }

    fn begin(&self, now: Duration) -> Attempts {
        let attempts = self.retry.begin(now);
        match self.within {
            Some(within) => attempts.deadline(now.saturating_add(within)),
            None => attempts,
        }
    }

    fn fail(
        &mut self,
        attempts: &mut Attempts,
        now: Duration,
        error: &E,
        rng: &mut rand::rngs::SmallRng,
    ) -> Decision {
        let disposition = (self.classify)(error);
        let decision = attempts.fail(now, disposition, rng);
        if let Decision::Retry { after, .. } = decision {
            (self.on_retry)(&RetryEvent {
                error,
                attempt: attempts.begun(),
                disposition,
                after,
            });
        }
        decision
    }
}

impl<E, Op, Classify, OnRetry> std::fmt::Debug for Call<'_, E, Op, Classify, OnRetry> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("retry", self.retry)
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}
