//! The one policy that every formula is made of.

use std::{ops::RangeInclusive, time::Duration};

use rand::Rng;

use crate::{Builder, Cap, ExponentOrigin, Floor, Jitter, Schedule, nanos::nanos};

/// How long to wait until the next run, given the consecutive failures and the normal interval.
///
/// A policy is plain data: it keeps no counter, reads no clock and owns no randomness, so one
/// value serves any number of monitors. Waits are computed in whole nanoseconds; durations above
/// 584 years count as 584 years.
///
/// # The rule
/// After a success: the normal interval, spread by the jitter where the jitter covers it.
/// After a failure, in this order:
/// 1. the [`Schedule`] yields a wait,
/// 2. the wait is clamped between the floor ([`Floor`], minimum delay) and the [`Cap`]; where
///    those cross, the floor wins,
/// 3. the delay is drawn uniformly from the [`Jitter`] window around it, **cut** at the same floor
///    and cap. Cut, not clamped: no delay leaves the bounds, and none piles up on them.
///
/// # Default
/// [`Policy::hardened`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use monitor_backoff::Policy;
/// use rand::{SeedableRng, rngs::SmallRng};
///
/// let policy = Policy::hardened();
/// let interval = Duration::from_secs(60);
/// assert_eq!(policy.nominal(3, interval), Duration::from_secs(120));
///
/// let mut rng = SmallRng::seed_from_u64(7);
/// let delay = policy.delay(3, interval, &mut rng);
/// assert!((96..=144).contains(&delay.as_secs()));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub(crate) schedule: Schedule,
    pub(crate) origin: ExponentOrigin,
    pub(crate) exponent_cap: Option<u32>,
    pub(crate) min_delay: Duration,
    pub(crate) floor: Floor,
    pub(crate) cap: Cap,
    pub(crate) jitter: Jitter,
}

/// One wait before jitter, with the bounds that hold after it, in nanoseconds.
///
/// INV-BACKOFF-1: `floor <= nominal <= cap`, and the jitter's window is cut at both: the delay is
/// within them, and no window is empty.
struct Wait {
    floor: u64,
    nominal: u64,
    cap: u64,
}

impl Policy {
    /// Starts a policy from the builder's defaults.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Starts a policy from this one, to change some of its settings.
    pub fn to_builder(&self) -> Builder {
        Builder::from_policy(self.clone())
    }

    /// Draws the delay until the next run.
    ///
    /// # Shape and units
    /// `failures` counts consecutive failures; 0 asks for the normal interval. The delay lies in
    /// [`range`](Policy::range), both ends included, and is uniform there. One number is drawn
    /// from `rng`, or none when the range is a single value; equal numbers give equal delays on
    /// every machine and with every version of the `rand` crate.
    pub fn delay(
        &self,
        failures: u32,
        interval: Duration,
        rng: &mut (impl Rng + ?Sized),
    ) -> Duration {
        let (low, high) = self.window(failures, interval);
        if low == high {
            return Duration::from_nanos(low);
        }
        Duration::from_nanos(low + uniform(high - low, rng.next_u64()))
    }

    /// Returns the wait without jitter.
    #[must_use]
    pub fn nominal(&self, failures: u32, interval: Duration) -> Duration {
        Duration::from_nanos(self.wait(failures, nanos(interval)).nominal)
    }

    /// Returns the shortest and the longest delay that [`delay`](Policy::delay) can draw.
    #[must_use]
    pub fn range(&self, failures: u32, interval: Duration) -> RangeInclusive<Duration> {
        let (low, high) = self.window(failures, interval);
        Duration::from_nanos(low)..=Duration::from_nanos(high)
    }

    /// Returns the schedule.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Returns which exponent belongs to the first failure.
    #[must_use]
    pub fn exponent_origin(&self) -> ExponentOrigin {
        self.origin
    }

    /// Returns the largest exponent, if there is a limit.
    #[must_use]
    pub fn exponent_cap(&self) -> Option<u32> {
        self.exponent_cap
    }

    /// Returns the shortest wait after a failure.
    #[must_use]
    pub fn min_delay(&self) -> Duration {
        self.min_delay
    }

    /// Returns how a wait relates to the normal interval.
    #[must_use]
    pub fn floor(&self) -> Floor {
        self.floor
    }

    /// Returns the longest wait after a failure.
    #[must_use]
    pub fn cap(&self) -> Cap {
        self.cap
    }

    /// Returns the jitter.
    #[must_use]
    pub fn jitter(&self) -> &Jitter {
        &self.jitter
    }

    fn window(&self, failures: u32, interval: Duration) -> (u64, u64) {
        let interval = nanos(interval);
        if failures == 0 && !self.jitter.normal_interval {
            return (interval, interval);
        }
        let wait = self.wait(failures, interval);
        let (low, high) = self.jitter.window(wait.nominal);
        (low.max(wait.floor), high.min(wait.cap))
    }

    fn wait(&self, failures: u32, interval: u64) -> Wait {
        if failures == 0 {
            return Wait {
                floor: 0,
                nominal: interval,
                cap: u64::MAX,
            };
        }
        if let Floor::FastConfirm { count, delay } = self.floor
            && failures <= count
        {
            return Wait {
                floor: 0,
                nominal: nanos(delay).min(interval),
                cap: interval,
            };
        }
        let floor = match self.floor {
            Floor::Absolute => nanos(self.min_delay),
            Floor::AtLeastInterval | Floor::FastConfirm { .. } => {
                nanos(self.min_delay).max(interval)
            }
        };
        let cap = self.cap.resolve(interval).max(floor);
        let failures = failures - self.floor.confirmations();
        let exponent = self
            .origin
            .exponent(failures)
            .min(self.exponent_cap.unwrap_or(u32::MAX));
        let nominal = self
            .schedule
            .wait(failures, exponent, interval)
            .clamp(floor, cap);
        Wait {
            floor,
            nominal,
            cap,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Policy::hardened()
    }
}

/// Maps 64 random bits onto `0..=span` by multiplication, which cannot reject and so draws once.
/// The bias is at most `span / 2^64`, far below a nanosecond's worth.
fn uniform(span: u64, random: u64) -> u64 {
    ((u128::from(random) * (u128::from(span) + 1)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_reaches_both_ends_and_nothing_else() {
        assert_eq!(uniform(9, 0), 0);
        assert_eq!(uniform(9, u64::MAX), 9);
        assert_eq!(uniform(u64::MAX, u64::MAX), u64::MAX);
        assert_eq!(uniform(0, u64::MAX), 0);
    }
}
