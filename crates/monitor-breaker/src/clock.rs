//! Where the time of a call comes from.

use std::{
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::word::nanos;

/// A source of the time since some origin of its own. It should never run backwards: a breaker
/// takes an older time for the latest it was told.
///
/// All callers of one breaker must go by the same origin.
pub trait Clock: Send + Sync {
    /// Returns the time since the origin.
    fn now(&self) -> Duration;

    /// Returns the time since the origin in whole nanoseconds; above 584 years it saturates. To be
    /// overridden where that is cheaper than a duration.
    #[inline]
    fn now_nanos(&self) -> u64 {
        nanos(self.now())
    }
}

/// The time that a caller brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At(pub(crate) Duration);

impl Clock for At {
    #[inline]
    fn now(&self) -> Duration {
        self.0
    }
}

/// The monotonic clock of the system: exact, and some 25 ns to read.
#[derive(Clone, Copy, Debug)]
pub struct InstantClock {
    origin: Instant,
}

/// A clock that somebody else moves: one load to read, as coarse as it is moved.
///
/// Clones share their time. Move it from a loop that runs anyway with
/// [`advance_to`](TickClock::advance_to), or have a thread do it with
/// [`start`](TickClock::start). In a test it is a clock that stands until told.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use monitor_breaker::{Clock, TickClock};
///
/// let clock = TickClock::new();
/// let same = clock.clone();
/// clock.advance(Duration::from_millis(5));
/// assert_eq!(same.now(), Duration::from_millis(5));
/// ```
#[derive(Clone, Debug, Default)]
pub struct TickClock {
    nanos: Arc<AtomicU64>,
}

impl InstantClock {
    /// Returns a clock whose origin is now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn new() -> InstantClock {
        InstantClock {
            origin: Instant::now(),
        }
    }
}

impl Default for InstantClock {
    fn default() -> Self {
        InstantClock::new()
    }
}

impl Clock for InstantClock {
    #[inline]
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Without a look at what would wrap: no process lasts for 584 years.
    #[inline]
    fn now_nanos(&self) -> u64 {
        let elapsed = self.origin.elapsed();
        let whole = elapsed.as_secs().wrapping_mul(1_000_000_000);
        whole.wrapping_add(u64::from(elapsed.subsec_nanos()))
    }
}

impl TickClock {
    /// Returns a clock that stands at zero.
    #[must_use]
    pub fn new() -> TickClock {
        TickClock::default()
    }

    /// Returns a clock that a thread of its own moves every `resolution`, until the last clone is
    /// dropped. A resolution of zero counts as 1 ms.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn start(resolution: Duration) -> io::Result<TickClock> {
        let clock = TickClock::new();
        let resolution = if resolution.is_zero() {
            Duration::from_millis(1)
        } else {
            resolution
        };
        let (shared, source) = (Arc::downgrade(&clock.nanos), InstantClock::new());
        thread::Builder::new()
            .name("breaker-clock".to_owned())
            .spawn(move || {
                while let Some(nanos) = Weak::upgrade(&shared) {
                    TickClock { nanos }.advance_to(source.now());
                    thread::sleep(resolution);
                }
            })?;
        Ok(clock)
    }

    /// Moves the clock to `now`, unless it is there or further already.
    pub fn advance_to(&self, now: Duration) {
        self.nanos.fetch_max(nanos(now), Ordering::Relaxed);
    }

    /// Moves the clock by `step`; at 584 years it stands.
    pub fn advance(&self, step: Duration) {
        self.advance_to(self.now().saturating_add(step));
    }
}

impl Clock for TickClock {
    #[inline]
    fn now(&self) -> Duration {
        Duration::from_nanos(self.now_nanos())
    }

    #[inline]
    fn now_nanos(&self) -> u64 {
        self.nanos.load(Ordering::Relaxed)
    }
}

impl<C: Clock + ?Sized> Clock for &C {
    #[inline]
    fn now(&self) -> Duration {
        (**self).now()
    }

    #[inline]
    fn now_nanos(&self) -> u64 {
        (**self).now_nanos()
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    #[inline]
    fn now(&self) -> Duration {
        (**self).now()
    }

    #[inline]
    fn now_nanos(&self) -> u64 {
        (**self).now_nanos()
    }
}
