//! A breaker with a clock: one line around a call.

use std::{
    fmt,
    mem::{self, ManuallyDrop},
    ops::Deref,
    sync::Arc,
    time::Duration,
};

use monitor_backoff::Verdict;

use crate::{Breaker, Clock, InstantClock, PermitOf, Rejected, machine::Ticket};

/// A breaker together with the clock that its calls go by. Clones share both.
///
/// The clock is read only where the time matters: for a success of a closed breaker that counts
/// consecutive failures and has no slow-call threshold, never.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use monitor_breaker::{Breaker, CallError, Caller, Config, Verdict};
///
/// let caller = Caller::new(Arc::new(Breaker::new(Config::hardened())));
/// let answer = caller.call(|| "7".parse::<u32>());
/// assert_eq!(answer, Ok(7));
///
/// // A failure that is a value, not an error, counts as well:
/// let check = || false;
/// let judge = |ok: &bool| if *ok { Verdict::Success } else { Verdict::Failure };
/// for _ in 0..5 {
///     assert_eq!(caller.run(check, judge), Ok(false));
/// }
/// assert!(matches!(caller.call(|| "7".parse::<u32>()), Err(CallError::Rejected(_))));
/// ```
#[derive(Clone)]
pub struct Caller<C = InstantClock> {
    breaker: Arc<Breaker>,
    clock: C,
}

/// A call that borrows its caller.
pub type Call<'a, C> = CallOf<&'a Breaker, &'a C>;

/// A call that shares its breaker and its clock.
pub type OwnedCall<C> = CallOf<Arc<Breaker>, C>;

/// One admitted call: a permit that can tell the time.
///
/// # Cancel safety
/// Dropped without a verdict, as by the timeout of a future, it counts by how long it took: from
/// the slow-call threshold on as a failure, before that as nothing. A panic is a failure.
#[must_use = "a call dropped without a verdict counts by how long it took"]
pub struct CallOf<B: Deref<Target = Breaker>, C: Clock> {
    permit: PermitOf<B>,
    clock: C,
}

/// Tells what the outcome of a call says about the target.
///
/// Every `Fn(&T) -> Verdict` is a judge.
pub trait Judge<T> {
    /// Returns the verdict.
    fn judge(&self, outcome: &T) -> Verdict;
}

/// The plain judge of results: `Ok` is a success, `Err` a failure.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrIsFailure;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError<E> {
    /// The breaker refused the call, and the target was not touched.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The call itself failed, with its own error.
    #[error(transparent)]
    Failed(E),
}

impl Caller {
    /// Returns a caller that goes by a clock of its own, so it must be the only source of time for
    /// this breaker: clone it, rather than make a second one.
    #[must_use]
    pub fn new(breaker: Arc<Breaker>) -> Caller {
        Caller::with_clock(breaker, InstantClock::new())
    }
}

impl<C: Clock> Caller<C> {
    /// Returns a caller that goes by `clock`, as all callers of this breaker must.
    #[must_use]
    pub fn with_clock(breaker: Arc<Breaker>, clock: C) -> Caller<C> {
        Caller { breaker, clock }
    }

    /// Returns the breaker.
    #[must_use]
    pub fn breaker(&self) -> &Arc<Breaker> {
        &self.breaker
    }

    /// Returns the clock.
    #[must_use]
    pub fn clock(&self) -> &C {
        &self.clock
    }

    /// Returns the refusal that any call would meet now, if that is so.
    #[must_use]
    pub fn refusal(&self) -> Option<Rejected> {
        self.breaker
            .is_refusing()
            .then(|| self.breaker.refusal(self.clock.now()))?
    }

    /// Admits a call, or refuses it without waiting.
    ///
    /// # Errors
    /// [`Rejected`]. Nothing is counted.
    #[inline]
    pub fn try_acquire(&self) -> Result<Call<'_, C>, Rejected> {
        let ticket = self.breaker.admit(&self.clock)?;
        Ok(CallOf::new(&*self.breaker, ticket, &self.clock))
    }

    /// As [`try_acquire`](Caller::try_acquire), for a call that outlives the borrow.
    ///
    /// # Errors
    /// [`Rejected`]. Nothing is counted.
    #[inline]
    pub fn try_acquire_owned(&self) -> Result<OwnedCall<C>, Rejected>
    where
        C: Clone,
    {
        let ticket = self.breaker.admit(&self.clock)?;
        let breaker = Arc::clone(&self.breaker);
        Ok(CallOf::new(breaker, ticket, self.clock.clone()))
    }

    /// Makes the call, unless the breaker refuses; an `Err` is a failure.
    ///
    /// # Errors
    /// - [`CallError::Rejected`]: `work` was not called.
    /// - [`CallError::Failed`]: its own error.
    ///
    /// # Panics
    /// Those of `work`, which count as failures.
    #[inline]
    pub fn call<T, E>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, CallError<E>> {
        self.run(work, ErrIsFailure)?.map_err(CallError::Failed)
    }

    /// Makes the call, unless the breaker refuses; `judge` looks at what came of it, be that a
    /// `Result` or any other value.
    ///
    /// # Errors
    /// [`Rejected`]: `work` was not called.
    ///
    /// # Panics
    /// Those of `work` and of `judge`, which count as failures.
    #[inline]
    pub fn run<T>(&self, work: impl FnOnce() -> T, judge: impl Judge<T>) -> Result<T, Rejected> {
        let call = self.try_acquire()?;
        let outcome = work();
        call.end(judge.judge(&outcome));
        Ok(outcome)
    }

    /// As [`call`](Caller::call), for a future. The breaker is asked when it is first polled;
    /// `work` is called only then, and nothing is locked while it is awaited.
    ///
    /// # Errors
    /// As [`call`](Caller::call).
    ///
    /// # Cancel safety
    /// Dropped, it counts by how long it took: see [`CallOf`]. A trial's place is free again.
    pub async fn call_async<T, E, F>(&self, work: impl FnOnce() -> F) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let outcome = self.run_async(work, ErrIsFailure).await?;
        outcome.map_err(CallError::Failed)
    }

    /// As [`run`](Caller::run), for a future.
    ///
    /// # Errors
    /// As [`run`](Caller::run).
    ///
    /// # Cancel safety
    /// As [`call_async`](Caller::call_async).
    pub async fn run_async<F: Future>(
        &self,
        work: impl FnOnce() -> F,
        judge: impl Judge<F::Output>,
    ) -> Result<F::Output, Rejected> {
        let call = self.try_acquire()?;
        let outcome = work().await;
        call.record(judge.judge(&outcome));
        Ok(outcome)
    }
}

impl<C: Clock> Call<'_, C> {
    /// As [`record`](CallOf::record), for a call that owns nothing. It is over before the clock is
    /// read, which might panic: so a call whose work does not panic stays in registers.
    #[inline]
    fn end(self, verdict: Verdict) {
        let (breaker, clock) = (self.permit.breaker(), self.clock);
        let (ticket, admitted_at) = (self.permit.ticket(), self.permit.admitted_at());
        let _over = ManuallyDrop::new(self);
        if verdict != Verdict::Success || !breaker.is_clean_in(ticket.epoch) {
            breaker.end(ticket, admitted_at, verdict, clock.now());
        }
    }
}

impl<B: Deref<Target = Breaker>, C: Clock> CallOf<B, C> {
    /// Looks at the clock only if calls are timed.
    #[inline]
    fn new(breaker: B, ticket: Ticket, clock: C) -> Self {
        let admitted_at = match breaker.slow_after() {
            Some(_) => clock.now(),
            None => Duration::ZERO,
        };
        CallOf {
            permit: PermitOf::new(breaker, ticket, admitted_at),
            clock,
        }
    }

    /// The target answered well.
    #[inline]
    pub fn success(self) {
        self.record(Verdict::Success);
    }

    /// The target failed.
    #[inline]
    pub fn failure(self) {
        self.record(Verdict::Failure);
    }

    /// The call says nothing about the target.
    #[inline]
    pub fn ignore(self) {
        self.record(Verdict::Ignore);
    }

    /// Brings the verdict of the call, which has just ended.
    #[inline]
    pub fn record(mut self, verdict: Verdict) {
        let clock = &self.clock;
        self.permit.settle(verdict, || clock.now());
        if !mem::needs_drop::<(B, C)>() {
            // A settled call that owns nothing has nothing to drop; said here, as the optimiser
            // does not find out by itself and would keep the whole call in memory for it.
            let _settled = ManuallyDrop::new(self);
        }
    }

    /// Returns whether the call is one of the trials of a half-open breaker.
    #[must_use]
    pub fn is_trial(&self) -> bool {
        self.permit.is_trial()
    }
}

impl<B: Deref<Target = Breaker>, C: Clock> Drop for CallOf<B, C> {
    #[inline]
    fn drop(&mut self) {
        let clock = &self.clock;
        self.permit.settle_abandoned(|| clock.now());
    }
}

impl<B: Deref<Target = Breaker>, C: Clock> fmt::Debug for CallOf<B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("epoch", &self.permit.epoch())
            .field("trial", &self.is_trial())
            .finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for Caller<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}

impl<T, F: Fn(&T) -> Verdict> Judge<T> for F {
    #[inline]
    fn judge(&self, outcome: &T) -> Verdict {
        self(outcome)
    }
}

impl<T, E> Judge<Result<T, E>> for ErrIsFailure {
    #[inline]
    fn judge(&self, outcome: &Result<T, E>) -> Verdict {
        match outcome {
            Ok(_) => Verdict::Success,
            Err(_) => Verdict::Failure,
        }
    }
}
