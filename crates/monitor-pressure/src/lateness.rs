//! How late timers fire: the arithmetic, without a timer.

use std::time::Duration;

use crate::{Reading, Source, Usage};

/// How late the timers of an event loop fired over some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lag {
    /// How many times one fired, or should have.
    pub samples: u32,
    /// The mean: what the level is made of. One hiccup among many timers hardly moves it.
    pub mean: Duration,
    /// The worst.
    pub max: Duration,
}

impl Lag {
    /// Returns the reading of [`Source::EVENT_LOOP_LAG`]: the mean against a limit.
    #[must_use]
    pub fn reading(self, limit: Duration) -> Reading {
        Reading::new(Source::EVENT_LOOP_LAG, Usage::time(self.mean, limit))
    }
}

/// Collects how late one repeated timer fires.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "tokio"),
    allow(dead_code, reason = "used by the shell only")
)]
pub(crate) struct Lateness {
    /// When the timer should fire next; what was counted before is not counted again.
    expected: Duration,
    samples: u32,
    total: Duration,
    max: Duration,
}

#[cfg_attr(
    not(feature = "tokio"),
    allow(dead_code, reason = "used by the shell only")
)]
impl Lateness {
    /// A timer that should fire at `expected`.
    pub(crate) const fn new(expected: Duration) -> Self {
        Self {
            expected,
            samples: 0,
            total: Duration::ZERO,
            max: Duration::ZERO,
        }
    }

    /// It fired, and should fire again at `next`.
    pub(crate) fn fired(&mut self, now: Duration, next: Duration) {
        self.count(now.saturating_sub(self.expected));
        self.expected = next;
    }

    /// What was collected since the last call. A timer that is overdue counts as far as it is: a
    /// loop that stands still is seen while it does.
    pub(crate) fn take(&mut self, now: Duration) -> Lag {
        let overdue = now.saturating_sub(self.expected);
        if !overdue.is_zero() {
            self.count(overdue);
            self.expected = now;
        }
        let lag = Lag {
            samples: self.samples,
            mean: self.total.checked_div(self.samples).unwrap_or_default(),
            max: self.max,
        };
        *self = Self::new(self.expected);
        lag
    }

    fn count(&mut self, late: Duration) {
        self.samples = self.samples.saturating_add(1);
        self.total = self.total.saturating_add(late);
        self.max = self.max.max(late);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_hiccup_hardly_moves_the_mean() {
        let mut lateness = Lateness::new(ms(100));
        for at in 1..=600 {
            let late = if at == 300 { 90 } else { 0 };
            lateness.fired(ms(at * 100 + late), ms((at + 1) * 100));
        }
        let lag = lateness.take(ms(60_000));
        assert_eq!((lag.samples, lag.max), (600, ms(90)));
        assert_eq!(lag.mean, Duration::from_micros(150));
        assert_eq!(lateness.take(ms(60_000)), Lag::default(), "taken");
    }

    #[test]
    fn a_loop_that_stands_still_is_seen_while_it_does_and_counted_once() {
        let mut lateness = Lateness::new(ms(100));
        let lag = lateness.take(ms(5_100));
        assert_eq!((lag.samples, lag.max), (1, ms(5_000)));
        lateness.fired(ms(5_200), ms(5_300));
        let lag = lateness.take(ms(5_250));
        assert_eq!((lag.samples, lag.max), (1, ms(100)));
    }
}
