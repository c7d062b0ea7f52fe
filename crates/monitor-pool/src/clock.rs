//! The pool's clock: a few nanoseconds a reading, and tokio's clock where a test has paused that.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::kernel::{Span, Tick};

/// By how much tokio's clock and the machine's may differ before one of them is not real.
const DRIFT: Duration = Duration::from_millis(100);

/// Tells the time since the pool was built.
///
/// Reads the machine's monotonic clock, coarsely on the hot path: that is behind by up to
/// [`slack`](Clock::slack), some milliseconds, and costs a quarter of an exact reading. When
/// tokio's clock turns out to be paused, the pool goes by that one, exactly, from then on.
#[derive(Debug)]
pub(crate) struct Clock {
    real_origin: Duration,
    tokio_origin: Instant,
    is_virtual: AtomicBool,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            real_origin: exact(),
            tokio_origin: Instant::now(),
            is_virtual: AtomicBool::new(false),
        }
    }

    /// The time, up to `slack` behind.
    #[inline]
    pub(crate) fn coarse(&self) -> Tick {
        if self.is_virtual.load(Ordering::Relaxed) {
            return self.tokio();
        }
        self.since_origin(coarse())
    }

    /// The time.
    pub(crate) fn exact(&self) -> Tick {
        if self.is_virtual.load(Ordering::Relaxed) {
            return self.tokio();
        }
        self.since_origin(exact())
    }

    /// By how much a coarse reading may be behind.
    pub(crate) fn slack(&self) -> Span {
        if self.is_virtual.load(Ordering::Relaxed) {
            return Span(0);
        }
        static SLACK: OnceLock<Duration> = OnceLock::new();
        Span::from(*SLACK.get_or_init(resolution))
    }

    /// Finds out whether tokio's clock stands still, or has been moved. To be called within the
    /// runtime in question; takes well under a microsecond.
    pub(crate) fn detect(&self) {
        if self.is_virtual.load(Ordering::Relaxed) {
            return;
        }
        let (before, real) = (Instant::now(), exact());
        while exact() == real {}
        let stands = Instant::now() == before;
        let drifts = self.tokio().since(self.since_origin(real)) > Span::from(DRIFT)
            || self.since_origin(real).since(self.tokio()) > Span::from(DRIFT);
        if stands || drifts {
            self.is_virtual.store(true, Ordering::Relaxed);
        }
    }

    fn tokio(&self) -> Tick {
        Tick(Span::from(Instant::now().saturating_duration_since(self.tokio_origin)).0)
    }

    #[inline]
    fn since_origin(&self, reading: Duration) -> Tick {
        Tick(Span::from(reading.saturating_sub(self.real_origin)).0)
    }
}

#[cfg(target_os = "linux")]
mod machine {
    use std::time::Duration;

    use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

    #[inline]
    pub(super) fn coarse() -> Duration {
        duration(clock_gettime(ClockId::MonotonicCoarse))
    }

    pub(super) fn exact() -> Duration {
        duration(clock_gettime(ClockId::Monotonic))
    }

    pub(super) fn resolution() -> Duration {
        duration(clock_getres(ClockId::MonotonicCoarse))
    }

    /// The monotonic clock starts at zero, so nothing is lost by the unsigned type.
    #[inline]
    fn duration(time: Timespec) -> Duration {
        Duration::new(
            u64::try_from(time.tv_sec).unwrap_or(0),
            u32::try_from(time.tv_nsec).unwrap_or(0),
        )
    }
}

#[cfg(not(target_os = "linux"))]
mod machine {
    use std::{
        sync::OnceLock,
        time::{Duration, Instant},
    };

    pub(super) fn coarse() -> Duration {
        exact()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock module")]
    pub(super) fn exact() -> Duration {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        ORIGIN.get_or_init(Instant::now).elapsed()
    }

    pub(super) fn resolution() -> Duration {
        Duration::ZERO
    }
}

use machine::{coarse, exact, resolution};
