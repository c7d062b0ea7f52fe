//! The delays after one failure, two, three, and so on.

use core::{iter::FusedIterator, time::Duration};

use rand::Rng;

use crate::{Policy, policy::draw};

/// The delays after 1, 2, 3, ... consecutive failures, from [`Policy::delays`]. It never ends.
///
/// For every schedule but [`Decorrelated`](crate::Schedule::Decorrelated), the delays are those of
/// [`Policy::delay`] with the same random numbers.
#[derive(Clone, Debug)]
pub struct Delays<R> {
    policy: Policy,
    /// In nanoseconds, as `previous`.
    interval: u64,
    /// The delay before, zero before the first.
    previous: u64,
    failures: u32,
    rng: R,
}

impl<R: Rng> Delays<R> {
    pub(crate) fn new(policy: Policy, interval: u64, rng: R) -> Self {
        Delays {
            policy,
            interval,
            previous: 0,
            failures: 0,
            rng,
        }
    }

    /// Starts again, as after a success. The random numbers go on.
    pub fn restart(&mut self) {
        (self.previous, self.failures) = (0, 0);
    }

    /// Returns how many delays were taken since the start.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

impl<R: Rng> Iterator for Delays<R> {
    type Item = Duration;

    #[inline]
    fn next(&mut self) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        let window = self
            .policy
            .window_after(self.previous, self.failures, self.interval);
        self.previous = draw(window, &mut self.rng);
        Some(Duration::from_nanos(self.previous))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

impl<R: Rng> FusedIterator for Delays<R> {}
