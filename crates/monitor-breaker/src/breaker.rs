//! The shell: lock-free where nothing changes, one short lock where something does.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use monitor_backoff::Verdict;

use crate::{
    Config, OwnedPermit, Permit, PermitOf, Rejected, Snapshot, State, Transition,
    machine::{Log, Machine, Ticket},
    sync::{AtomicU64, Mutex, Ordering, lock},
    word::{Bits, Word, nanos},
};

/// A circuit breaker for one target.
///
/// Shared by reference or in an [`Arc`]; every method takes `&self`. It has no thread and no
/// timer and never waits: `now` is the time since any origin the caller keeps to, and what was due
/// in between is played by the next call that brings a time.
///
/// # Concurrency
/// A closed breaker admits with one atomic load; a success while there is no failure to forget is
/// one more load and writes nothing shared; a rejection while open is two loads. Everything else
/// takes one lock for a few dozen instructions. No code of the caller's runs under it.
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
    machine: Mutex<Machine>,
    listener: Option<Listener>,
}

type Listener = Box<dyn Fn(Transition) + Send + Sync>;

impl Breaker {
    /// Returns a closed breaker.
    #[must_use]
    pub fn new(config: Config) -> Breaker {
        Breaker::build(config, None)
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
        Breaker::build(config, Some(Box::new(listener)))
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
        self.admit(now)
            .map(|ticket| PermitOf::new(self, ticket, now))
    }

    /// As [`try_acquire`](Breaker::try_acquire), with a permit that a spawned task can own.
    ///
    /// # Errors
    /// [`Rejected`]: open, or half-open with every trial taken. Nothing is counted.
    ///
    /// # Cancel safety
    /// A permit that is dropped gives back its trial: see [`PermitOf`].
    #[inline]
    pub fn try_acquire_owned(self: &Arc<Self>, now: Duration) -> Result<OwnedPermit, Rejected> {
        self.admit(now)
            .map(|ticket| PermitOf::new(Arc::clone(self), ticket, now))
    }

    /// Returns the state at `now`: what an admission would meet.
    #[must_use]
    pub fn state(&self, now: Duration) -> State {
        match self.word().bits() {
            Bits::Clean | Bits::Failing => State::Closed,
            Bits::Open | Bits::HalfOpen => self.snapshot(now).state,
        }
    }

    /// Returns how long no call has a chance, or `None` when an admission would succeed.
    #[must_use]
    pub fn retry_after(&self, now: Duration) -> Option<Duration> {
        match self.word().bits() {
            Bits::Clean | Bits::Failing => None,
            Bits::Open | Bits::HalfOpen => self.snapshot(now).retry_after,
        }
    }

    /// Returns a consistent view of the breaker at `now`.
    #[must_use]
    pub fn snapshot(&self, now: Duration) -> Snapshot {
        self.change(|machine, log| machine.snapshot(now, log))
    }

    /// Opens the breaker by hand, for its next open interval. Calls in flight no longer count.
    ///
    /// Returns `false`, and changes nothing, when it is open already.
    pub fn trip(&self, now: Duration) -> bool {
        self.change(|machine, log| machine.trip(now, log))
    }

    /// Closes the breaker by hand and forgets its failures. If it was not closed, calls in flight
    /// no longer count.
    ///
    /// Returns `false`, and changes nothing, when it is closed without a failure already.
    pub fn reset(&self, now: Duration) -> bool {
        self.change(|machine, log| machine.reset(now, log))
    }

    fn build(config: Config, listener: Option<Listener>) -> Breaker {
        let machine = Machine::new(config);
        Breaker {
            word: AtomicU64::new(machine.word().raw()),
            retry_at: AtomicU64::new(0),
            machine: Mutex::new(machine),
            listener,
        }
    }

    #[inline]
    fn admit(&self, now: Duration) -> Result<Ticket, Rejected> {
        let word = self.word();
        match word.bits() {
            Bits::Clean | Bits::Failing => {
                return Ok(Ticket {
                    epoch: word.epoch(),
                    trial: None,
                });
            }
            Bits::Open => {
                // At least as new as the word, so at worst this is the refusal of a later opening.
                let retry_at = self.retry_at.load(Ordering::Relaxed);
                let retry_after = retry_at.saturating_sub(nanos(now));
                if retry_after > 0 {
                    let retry_after = Duration::from_nanos(retry_after);
                    return Err(Rejected {
                        state: State::Open,
                        retry_after,
                    });
                }
            }
            Bits::HalfOpen => {}
        }
        self.change(|machine, log| machine.admit(now, log))
    }

    /// Takes the verdict of a permit. A success returns early only if there is nothing to forget;
    /// it is ordered before any change that it did not see.
    #[inline]
    pub(crate) fn settle(&self, ticket: Ticket, verdict: Verdict, now: Duration) {
        match (verdict, ticket.trial) {
            (Verdict::Success, None) if self.word() == Word::new(ticket.epoch, Bits::Clean) => {}
            (Verdict::Ignore, None) => {}
            _ => self.change(|machine, log| machine.settle(ticket, verdict, now, log)),
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
    fn change<R>(&self, change: impl FnOnce(&mut Machine, &mut Log) -> R) -> R {
        let mut log = Log::new();
        let result = {
            let mut machine = lock(&self.machine);
            let before = machine.word();
            let result = change(&mut machine, &mut log);
            // An unchanged word is not written: readers keep their cache line.
            if machine.word() != before {
                self.publish(&machine);
            }
            result
        };
        if let Some(listener) = &self.listener {
            for transition in log {
                // A permit may settle while its thread unwinds, where a second panic would abort.
                let _told = catch_unwind(AssertUnwindSafe(|| listener(transition)));
            }
        }
        result
    }

    /// Called under the lock, so no two threads publish at once.
    fn publish(&self, machine: &Machine) {
        if let Some(retry_at) = machine.retry_at() {
            self.retry_at.store(nanos(retry_at), Ordering::Relaxed);
        }
        self.word.store(machine.word().raw(), Ordering::Release);
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
