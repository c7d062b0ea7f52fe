//! What instances of one service tell each other about a target.
//!
//! Hints only: each instance keeps a breaker of its own, which opens at once when enough others
//! found the target down, and finds out for itself when it is back. Nothing is locked around a
//! call, and if the shared side fails nothing changes: the local decision stands.

use std::{
    collections::HashMap,
    convert::Infallible,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{Breaker, Clock};

/// What one instance found out itself, not by hearsay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The epoch of its breaker: a larger one is newer.
    pub epoch: u64,
    /// How much longer its breaker is open, from now; `None` if it is not. Not a point in time:
    /// the clocks of two machines have nothing in common.
    pub open_for: Option<Duration>,
}

/// The hint of another instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerHint {
    /// Which one.
    pub instance: u64,
    /// What it found, `open_for` less the time since.
    pub hint: Hint,
}

/// Where instances leave their hints for each other, such as a Redis hash whose fields expire.
///
/// An implementation never blocks and never waits without a bound of its own: the exchange is
/// made from time to time, beside the calls, never before one.
pub trait SharedState: Send + Sync {
    /// Why an exchange failed.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Leaves `mine` as the hint of `instance` about `key`, in place of its last, and returns those
    /// of all other instances. A hint that is not renewed is gone when its `open_for` is over.
    fn exchange(
        &self,
        key: &str,
        instance: u64,
        mine: Hint,
    ) -> impl Future<Output = Result<Vec<PeerHint>, Self::Error>> + Send;
}

/// One breaker's part in an exchange of hints.
///
/// # Examples
/// ```
/// # use std::{num::NonZeroU32, pin::pin, sync::Arc, task::{Context, Poll, Waker}};
/// use monitor_breaker::{Breaker, Config, InProcess, Sharing, State, TickClock};
///
/// # fn now<F: Future>(future: F) -> F::Output {
/// #     match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
/// #         Poll::Ready(output) => output,
/// #         Poll::Pending => unreachable!("nothing waits"),
/// #     }
/// # }
/// let clock = TickClock::new();
/// let state = Arc::new(InProcess::new(clock.clone()));
/// let [one, two] = [(); 2].map(|()| Breaker::new(Config::mail()));
/// let quorum = NonZeroU32::MIN;
/// let mut mine = Sharing::new(Arc::clone(&state), "smtp", 1, quorum);
/// let mut theirs = Sharing::new(state, "smtp", 2, quorum);
///
/// # use std::time::Duration;
/// one.trip(Duration::ZERO);
/// now(mine.exchange(&one, &clock))?;
/// assert!(now(theirs.exchange(&two, &clock))?, "opened by what the other found");
/// assert_eq!(two.state(Duration::ZERO), State::Open);
/// # Ok::<(), std::convert::Infallible>(())
/// ```
#[derive(Debug)]
pub struct Sharing<S> {
    state: S,
    key: String,
    instance: u64,
    quorum: NonZeroU32,
    /// The newest opening of each peer that has had its effect here.
    heeded: HashMap<u64, u64>,
}

/// A [`SharedState`] for several breakers in one process: for tests, and for runtimes that share
/// nothing else.
#[derive(Debug)]
pub struct InProcess<C> {
    clock: C,
    left: Mutex<HashMap<String, HashMap<u64, Left>>>,
}

#[derive(Clone, Copy, Debug)]
struct Left {
    epoch: u64,
    until: Duration,
}

impl<S: SharedState> Sharing<S> {
    /// Returns the part of the breaker of `instance`, a number that no other instance has. `quorum`
    /// is how many others must have found the target down.
    #[must_use]
    pub fn new(state: S, key: impl Into<String>, instance: u64, quorum: NonZeroU32) -> Sharing<S> {
        Sharing {
            state,
            key: key.into(),
            instance,
            quorum,
            heeded: HashMap::new(),
        }
    }

    /// Tells the others what `breaker` found, and opens it if a quorum of them have found the
    /// target down: for as long as the first of them will be, and at most its own longest open
    /// interval. Returns whether that opened it.
    ///
    /// Each opening of a peer has its effect once: a breaker that has tried the target since and
    /// found it well is not opened by the same news again. One that opened by hearsay tells nobody.
    /// To be called from time to time, such as each second, with the clock of the breaker's calls.
    ///
    /// # Errors
    /// Those of the shared state. The breaker is as it was.
    ///
    /// # Cancel safety
    /// Dropped, the others may have been told; the breaker is as it was.
    pub async fn exchange(
        &mut self,
        breaker: &Breaker,
        clock: &impl Clock,
    ) -> Result<bool, S::Error> {
        let mine = breaker.hint(clock.now());
        let hints = self.state.exchange(&self.key, self.instance, mine).await?;
        // Whoever is gone need not be remembered: its number comes back with a larger epoch or not
        // at all.
        self.heeded
            .retain(|instance, _| hints.iter().any(|peer| peer.instance == *instance));
        let news: Vec<_> = hints.iter().filter_map(|peer| self.news(peer)).collect();
        if news.len() < self.quorum.get() as usize {
            return Ok(false);
        }
        // The first to try the target again is early enough for all.
        let shortest = news.iter().map(|(_, open_for)| *open_for).min();
        for (peer, _) in &news {
            self.heeded.insert(peer.instance, peer.hint.epoch);
        }
        Ok(breaker.heed(shortest.unwrap_or_default(), clock.now()))
    }

    fn news(&self, peer: &PeerHint) -> Option<(PeerHint, Duration)> {
        let open_for = peer.hint.open_for.filter(|left| !left.is_zero())?;
        let heeded = self.heeded.get(&peer.instance).copied();
        let is_new = peer.instance != self.instance && heeded < Some(peer.hint.epoch);
        is_new.then_some((*peer, open_for))
    }
}

impl Breaker {
    /// Returns what this breaker found out itself, to be told to other instances.
    #[must_use]
    pub fn hint(&self, now: Duration) -> Hint {
        self.change(|machine, log| {
            let open_for = machine.own_open_interval(now, log);
            Hint {
                epoch: machine.word().epoch(),
                open_for,
            }
        })
    }

    /// Opens the breaker for `open_for`, at most its own longest interval, because others found the
    /// target down. Calls in flight no longer count.
    ///
    /// Returns `false`, and changes nothing, unless it is closed or recovering.
    pub fn heed(&self, open_for: Duration, now: Duration) -> bool {
        self.change(|machine, log| machine.heed(open_for, now, log))
    }
}

impl<C: Clock> InProcess<C> {
    /// Returns an empty state, whose hints expire by `clock`.
    #[must_use]
    pub fn new(clock: C) -> InProcess<C> {
        InProcess {
            clock,
            left: Mutex::default(),
        }
    }

    fn leave(&self, key: &str, instance: u64, mine: Hint) -> Vec<PeerHint> {
        let now = self.clock.now();
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let of_key = left.entry(key.to_owned()).or_default();
        of_key.remove(&instance);
        of_key.retain(|_, left| left.until > now);
        let peers = of_key.iter().map(|(instance, left)| PeerHint {
            instance: *instance,
            hint: Hint {
                epoch: left.epoch,
                open_for: Some(left.until.saturating_sub(now)),
            },
        });
        let peers = peers.collect();
        if let Some(open_for) = mine.open_for {
            let until = now.saturating_add(open_for);
            let epoch = mine.epoch;
            of_key.insert(instance, Left { epoch, until });
        } else if of_key.is_empty() {
            left.remove(key);
        }
        peers
    }
}

impl<C: Clock> SharedState for InProcess<C> {
    type Error = Infallible;

    async fn exchange(
        &self,
        key: &str,
        instance: u64,
        mine: Hint,
    ) -> Result<Vec<PeerHint>, Infallible> {
        Ok(self.leave(key, instance, mine))
    }
}

impl<S: SharedState> SharedState for Arc<S> {
    type Error = S::Error;

    fn exchange(
        &self,
        key: &str,
        instance: u64,
        mine: Hint,
    ) -> impl Future<Output = Result<Vec<PeerHint>, S::Error>> + Send {
        (**self).exchange(key, instance, mine)
    }
}
