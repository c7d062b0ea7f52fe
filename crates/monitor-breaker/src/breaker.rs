//! The shell: lock-free where nothing changes, one short lock where something does.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use monitor_backoff::Verdict;

use crate::{
    Clock, Config, Counts, Mode, OwnedPermit, Permit, PermitOf, Rejected, Snapshot, State,
    Transition, Trip,
    clock::At,
    error::Refusal,
    machine::{Ending, Log, Machine, Ticket},
    quota::Quota,
    sync::{AtomicU64, Mutex, Ordering, lock, thread_number},
    window::{Rates, Record, Recorded, TimeWindow},
    word::{Bits, Word, nanos},
};

/// A circuit breaker for one target.
///
/// Shared by reference or in an [`Arc`]; every method takes `&self`. It has no thread and no
/// timer and never waits: `now` is the time since any origin the caller keeps to, and what was due
/// in between is played by the next call that brings a time.
///
/// # Concurrency
/// A closed breaker admits with one atomic load. Counting consecutive failures, a success while
/// there is none to forget is one more load and writes nothing shared; with a time window, it is
/// one compare-and-swap on a cache line of its thread's own. A rejection while open is two loads.
/// Everything else takes one lock for a few dozen instructions. No code of the caller's runs under
/// it.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use monitor_breaker::{Breaker, Config, State};
///
/// let breaker = Breaker::new(Config::mail());
/// let now = Duration::from_secs(100);
/// for _ in 0..5 {
///     let permit = breaker.try_acquire(now).expect("closed");
///     permit.failure(now);
/// }
/// assert_eq!(breaker.state(now), State::Open);
///
/// let rejected = breaker.try_acquire(now + Duration::from_secs(10)).expect_err("open");
/// assert_eq!(rejected.retry_after, Duration::from_secs(50));
///
/// let trial = breaker.try_acquire(now + Duration::from_secs(60)).expect("a trial");
/// trial.success(now + Duration::from_secs(61));
/// assert_eq!(breaker.state(now + Duration::from_secs(61)), State::Closed);
/// ```
pub struct Breaker {
    /// INV-BREAKER-5: what the machine's `word()` was when the lock was last released.
    word: AtomicU64,
    /// The machine's `retry_at()` in nanoseconds, stored before the word that says open.
    retry_at: AtomicU64,
    /// The slow-call threshold: only where there is one, calls are timed.
    slow_after: Option<Duration>,
    window: Option<Window>,
    machine: Mutex<Machine>,
    listener: Option<Listener>,
}

/// The calls of the last so much time, and when they open the breaker. Not under the lock.
struct Window {
    calls: TimeWindow,
    rates: Rates,
}

pub(crate) type Listener = Box<dyn Fn(Transition) + Send + Sync>;

impl Breaker {
    /// Returns a closed breaker.
    #[must_use]
    pub fn new(config: Config) -> Breaker {
        Breaker::build(config, None, None)
    }

    /// Returns a closed breaker that tells `listener` about each of its transitions, once.
    ///
    /// The listener runs outside of any lock, after the change, in the call that caused it; it may
    /// call the breaker. Transitions caused by different threads may arrive out of order: their
    /// `sequence` orders them. When it panics, that one notice is lost and nothing else.
    #[must_use]
    pub fn with_listener(
        config: Config,
        listener: impl Fn(Transition) + Send + Sync + 'static,
    ) -> Breaker {
        Breaker::build(config, None, Some(Box::new(listener)))
    }

    /// Admits a call, or refuses it without waiting.
    ///
    /// # Errors
    /// [`Rejected`]: open, or half-open with every trial taken. Nothing is counted.
    ///
    /// # Cancel safety
    /// A permit that is dropped gives back its trial: see [`PermitOf`].
    #[inline]
    pub fn try_acquire(&self, now: Duration) -> Result<Permit<'_>, Rejected> {
        let ticket = self.admit(&At(now))?;
        Ok(PermitOf::new(self, ticket, now))
    }

    /// As [`try_acquire`](Breaker::try_acquire), with a permit that a spawned task can own.
    ///
    /// # Errors
    /// [`Rejected`]: as there. Nothing is counted.
    ///
    /// # Cancel safety
    /// A permit that is dropped gives back its trial: see [`PermitOf`].
    #[inline]
    pub fn try_acquire_owned(self: &Arc<Self>, now: Duration) -> Result<OwnedPermit, Rejected> {
        let ticket = self.admit(&At(now))?;
        Ok(PermitOf::new(Arc::clone(self), ticket, now))
    }

    /// Returns the state at `now`: what an admission would meet.
    #[must_use]
    pub fn state(&self, now: Duration) -> State {
        match self.word().bits() {
            Bits::Clean | Bits::Counting | Bits::Disabled => State::Closed,
            Bits::Open | Bits::HalfOpen | Bits::Recovering => self.snapshot(now).state,
        }
    }

    /// Returns how long no call has a chance, or `None` when an admission would or, while
    /// recovering, may succeed.
    #[must_use]
    pub fn retry_after(&self, now: Duration) -> Option<Duration> {
        self.refusal(now).map(|rejected| rejected.retry_after)
    }

    /// Returns the refusal that any call would meet at `now`, if that is so.
    #[must_use]
    pub fn refusal(&self, now: Duration) -> Option<Rejected> {
        if !self.is_refusing() {
            return None;
        }
        let snapshot = self.snapshot(now);
        snapshot.retry_after.map(|retry_after| Rejected {
            state: snapshot.state,
            retry_after,
        })
    }

    /// Returns a consistent view of the breaker at `now`. The counts of a time window are those of
    /// the same moment, give or take the calls that are just ending.
    #[must_use]
    pub fn snapshot(&self, now: Duration) -> Snapshot {
        self.change(|machine, log| {
            let mut snapshot = machine.snapshot(now, log);
            if let (Some(window), Some(counts)) = (&self.window, &mut snapshot.window) {
                *counts = window.calls.counts(now);
            }
            snapshot
        })
    }

    /// Opens the breaker by hand, for its next open interval. Calls in flight no longer count.
    ///
    /// Returns `false`, and changes nothing, when it is open already or disabled.
    pub fn trip(&self, now: Duration) -> bool {
        self.change(|machine, log| machine.trip(now, log))
    }

    /// Closes the breaker by hand, at once and without a ramp, and forgets all that it counted.
    /// Calls in flight no longer count.
    ///
    /// It also goes by `now` from now on, even if it was told a later time before: the way out
    /// when a clock once jumped far ahead.
    ///
    /// Returns `false`, and calls in flight go on counting, when it was closed without a failure
    /// already, or is forced open or disabled.
    pub fn reset(&self, now: Duration) -> bool {
        self.change(|machine, log| machine.reset(now, log))
    }

    /// Puts the breaker in another mode, and begins anew there: closed, or forced open. Calls in
    /// flight no longer count.
    ///
    /// Returns `false`, and changes nothing, when it was in that mode already.
    pub fn set_mode(&self, mode: Mode, now: Duration) -> bool {
        self.change(|machine, log| machine.set_mode(mode, now, log))
    }

    /// Takes note that the target itself asked to be left alone for `wait`, as with `Retry-After`.
    ///
    /// If the breaker is open, it stays so for at least that long; if it opens before that is over,
    /// it will. It is not opened by this: bring the call's verdict as well. Believed up to
    /// [`push_back_max`](crate::Builder::push_back_max).
    pub fn push_back(&self, wait: Duration, now: Duration) {
        self.change(|machine, log| machine.push_back(wait, now, log));
    }

    pub(crate) fn build(
        config: Config,
        quota: Option<Arc<Quota>>,
        listener: Option<Listener>,
    ) -> Breaker {
        let window = match (config.trip, config.rates()) {
            (Trip::Time(span), Some(rates)) => Some(Window {
                calls: TimeWindow::new(span, TimeWindow::default_shards()),
                rates,
            }),
            _ => None,
        };
        let slow_after = config.slow_call_threshold;
        let machine = Machine::new(config, quota);
        Breaker {
            word: AtomicU64::new(machine.word().raw()),
            retry_at: AtomicU64::new(machine.retry_at().map_or(0, nanos)),
            slow_after,
            window,
            machine: Mutex::new(machine),
            listener,
        }
    }

    /// Admits a call, reading the clock only if the breaker is not closed.
    #[inline]
    pub(crate) fn admit(&self, clock: &impl Clock) -> Result<Ticket, Refusal> {
        let word = self.word();
        match word.bits() {
            Bits::Clean | Bits::Counting => {
                return Ok(Ticket {
                    epoch: word.epoch(),
                    trial: None,
                });
            }
            Bits::Open if !word.is_shadow() => {
                // At least as new as the word, so at worst this is the refusal of a later opening.
                let retry_at = self.retry_at.load(Ordering::Relaxed);
                let retry_after_nanos = retry_at.saturating_sub(clock.now_nanos());
                if retry_after_nanos > 0 {
                    return Err(Refusal {
                        state: State::Open,
                        retry_after_nanos,
                    });
                }
            }
            Bits::Open | Bits::HalfOpen | Bits::Recovering | Bits::Disabled => {}
        }
        let now = clock.now();
        self.change(|machine, log| machine.admit(now, log))
    }

    /// Returns whether it refuses calls as far as anybody noticed: without a time, no timer is
    /// played and no listener told.
    pub(crate) fn is_refusing(&self) -> bool {
        matches!(self.word().bits(), Bits::Open | Bits::HalfOpen)
    }

    /// Returns whether a success of a call of `epoch` changes nothing, and so need not be told. It
    /// is then ordered before any change that it did not see.
    #[inline]
    pub(crate) fn is_clean_in(&self, epoch: u64) -> bool {
        self.word().is_clean_in(epoch)
    }

    /// Returns from how long on a call is slow.
    #[inline]
    pub(crate) fn slow_after(&self) -> Option<Duration> {
        self.slow_after
    }

    /// Takes the verdict of a call that was admitted at `start` and ended at `now`.
    #[inline(never)]
    pub(crate) fn end(&self, ticket: Ticket, start: Duration, verdict: Verdict, now: Duration) {
        if ticket == Ticket::UNCOUNTED {
            return;
        }
        let slow = match self.slow_after {
            Some(slow_after) => now.saturating_sub(start) >= slow_after,
            None => false,
        };
        if ticket.trial.is_none() {
            let failed = match verdict {
                Verdict::Success => false,
                Verdict::Failure => true,
                Verdict::Ignore => return,
            };
            if let Some(window) = &self.window
                && self.record(window, ticket.epoch, Record { failed, slow }, now)
            {
                return;
            }
        }
        let ending = Ending { verdict, slow };
        self.change(|machine, log| machine.settle(ticket, ending, now, log));
    }

    /// Takes note that a call was given up at `now`, or unwound.
    #[cold]
    #[inline(never)]
    pub(crate) fn give_up(&self, ticket: Ticket, start: Duration, now: Duration) {
        let elapsed = now.saturating_sub(start);
        let is_slow = self.slow_after.is_some_and(|slow| elapsed >= slow);
        let verdict = if is_slow || std::thread::panicking() {
            Verdict::Failure
        } else {
            Verdict::Ignore
        };
        self.end(ticket, start, verdict, now);
    }

    /// As [`give_up`](Breaker::give_up), by the latest time that the breaker was told, if any time
    /// matters.
    #[cold]
    #[inline(never)]
    pub(crate) fn give_up_untold(&self, ticket: Ticket, start: Duration) {
        let needs_time = self.slow_after.is_some() || std::thread::panicking();
        let now = if needs_time {
            lock(&self.machine).clock().max(start)
        } else {
            start
        };
        self.give_up(ticket, start, now);
    }

    /// Counts a call in the time window; `false` if it is of an older epoch.
    #[inline]
    fn record(&self, window: &Window, epoch: u64, call: Record, now: Duration) -> bool {
        let is_current = || self.word().epoch() == epoch;
        let recorded = window.calls.record(thread_number(), now, call, is_current);
        if recorded == Recorded::Stale {
            return false;
        }
        // A success never opens, so it need not be looked at.
        if call.is_bad() {
            self.judge(window, epoch, now);
        }
        true
    }

    /// Sums up the time window, and opens the breaker if a rate is met.
    #[cold]
    #[inline(never)]
    fn judge(&self, window: &Window, epoch: u64, now: Duration) {
        let counts: Counts = window.calls.counts(now);
        if let Some(cause) = window.rates.exceeded(counts) {
            self.change(|machine, log| machine.open_by_rate(epoch, cause, now, log));
        }
    }

    #[inline]
    fn word(&self) -> Word {
        Word::from_raw(self.word.load(Ordering::Acquire))
    }

    /// Changes the machine under the lock, publishes its word, and tells the listener afterwards.
    /// Kept out of line, so that the fast paths stay a few instructions wherever they are inlined.
    #[cold]
    #[inline(never)]
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Machine, &mut Log) -> R) -> R {
        let mut log = Log::new();
        let result = {
            let mut machine = lock(&self.machine);
            let before = (machine.word(), machine.retry_at());
            let result = change(&mut machine, &mut log);
            // An unchanged word is not written: readers keep their cache line.
            if (machine.word(), machine.retry_at()) != before {
                self.publish(&machine, before.0);
            }
            result
        };
        if let Some(listener) = &self.listener {
            for transition in log {
                // A permit may settle while its thread unwinds, where a second panic would abort.
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| listener(transition))) {
                    // Its destructor is the listener's own as well.
                    let dropped = catch_unwind(AssertUnwindSafe(|| drop(payload)));
                    dropped.unwrap_or_else(std::mem::forget);
                }
            }
        }
        result
    }

    /// Called under the lock, so no two threads publish at once.
    fn publish(&self, machine: &Machine, before: Word) {
        let word = machine.word();
        if let Some(retry_at) = machine.retry_at() {
            self.retry_at.store(nanos(retry_at), Ordering::Relaxed);
        }
        if let Some(window) = &self.window
            && word.epoch() != before.epoch()
        {
            // First nobody records any more: verdicts of the old epoch find themselves stale, and
            // whoever wants a permit of the new one has to wait for the lock.
            let waiting = Word::new(word.epoch(), Bits::HalfOpen);
            self.word.store(waiting.raw(), Ordering::Release);
            window.calls.clear(word.epoch());
        }
        self.word.store(word.raw(), Ordering::Release);
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.word();
        f.debug_struct("Breaker")
            .field("epoch", &word.epoch())
            .field("bits", &word.bits())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
