//! The one policy that every formula is made of.

use core::{ops::RangeInclusive, time::Duration};

use rand::Rng;

use crate::{
    Builder, Cap, Delays, ExponentOrigin, Floor, Jitter, Schedule,
    jitter::Share,
    nanos::{max, min, nanos},
    schedule::grow,
};

/// How long to wait until the next run, given the consecutive failures and the normal interval.
///
/// A policy is plain data: it can be copied, keeps no counter, reads no clock and owns no
/// randomness, so one value serves any number of monitors. Waits are computed in whole nanoseconds,
/// and saturate at 584 years.
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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    pub(crate) schedule: Schedule,
    pub(crate) jitter: Jitter,
    /// The jitter's ratio, worked out once.
    pub(crate) share: Share,
    pub(crate) floor: Floor,
    /// In nanoseconds, as the cap is: a duration that does not fit is not a policy's.
    pub(crate) min_delay: u64,
    pub(crate) cap: u64,
    pub(crate) cap_yields_to_interval: bool,
    pub(crate) origin: ExponentOrigin,
    /// `u32::MAX` where there is none, which no exponent exceeds.
    pub(crate) exponent_cap: u32,
    /// From this many failures on the window is always `settled`, worked out once. Above every
    /// number of failures where that is not known without the interval.
    pub(crate) settled_from: u64,
    pub(crate) settled: (u64, u64),
}

/// One wait before jitter, with the bounds that hold after it, in nanoseconds.
///
/// INV-BACKOFF-1: `floor <= nominal <= cap`, and the jitter's window is cut at both: the delay is
/// within them, and no window is empty.
struct Wait {
    floor: u64,
    nominal: u64,
    cap: u64,
    /// Where the schedule decides, not the interval and not a confirming look.
    scheduled: bool,
}

impl Policy {
    /// Starts a policy from the builder's defaults.
    pub const fn builder() -> Builder {
        Builder::new()
    }

    /// Starts a policy for retries: `base`, then 2 ×, 4 × and so on up to `longest`, with full
    /// jitter, whatever any interval is.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use monitor_backoff::{BackoffError, Policy};
    ///
    /// # fn main() -> Result<(), BackoffError> {
    /// let policy = Policy::exponential(Duration::from_millis(100), Duration::from_secs(10)).build()?;
    /// let longest = |failures| *policy.range(failures, Duration::ZERO).end();
    /// assert_eq!([1, 2, 3, 9].map(|n| longest(n).as_millis()), [100, 200, 400, 10_000]);
    /// # Ok(())
    /// # }
    /// ```
    pub const fn exponential(base: Duration, longest: Duration) -> Builder {
        Builder::exponential(base, longest)
    }

    /// Starts a policy from this one, to change some of its settings.
    pub const fn to_builder(&self) -> Builder {
        Builder::from_policy(*self)
    }

    /// Draws the delay until the next run.
    ///
    /// # Shape and units
    /// `failures` counts consecutive failures; 0 asks for the normal interval. The delay lies in
    /// [`range`](Policy::range), both ends included, and is uniform there. One number is drawn
    /// from `rng`, or none when the range is a single value; equal numbers give equal delays on
    /// every machine and with every version of the `rand` crate.
    #[inline]
    pub fn delay(
        &self,
        failures: u32,
        interval: Duration,
        rng: &mut (impl Rng + ?Sized),
    ) -> Duration {
        Duration::from_nanos(draw(self.window(failures, nanos(interval)), rng))
    }

    /// Draws the delay until the next run, given the delay before it.
    ///
    /// Only [`Schedule::Decorrelated`] looks at `previous`, which is at least its base; before the
    /// first failure there was none, and [`Duration::ZERO`] says so. Every other schedule draws
    /// what [`delay`](Policy::delay) draws. The delay lies in [`range`](Policy::range) as long as
    /// `previous` did for one failure less.
    #[inline]
    pub fn delay_after(
        &self,
        previous: Duration,
        failures: u32,
        interval: Duration,
        rng: &mut (impl Rng + ?Sized),
    ) -> Duration {
        let window = self.window_after(nanos(previous), failures, nanos(interval));
        Duration::from_nanos(draw(window, rng))
    }

    /// Returns the delays after 1, 2, 3, ... consecutive failures, without end: `take` as many as
    /// there may be retries.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use monitor_backoff::Policy;
    /// use rand::{SeedableRng, rngs::SmallRng};
    ///
    /// let delays = Policy::socket().delays(Duration::ZERO, SmallRng::seed_from_u64(1));
    /// let seconds: Vec<_> = delays.take(5).map(|delay| delay.as_secs()).collect();
    /// assert_eq!(seconds, [1, 2, 4, 8, 10]);
    /// ```
    pub fn delays<R: Rng>(&self, interval: Duration, rng: R) -> Delays<R> {
        Delays::new(*self, nanos(interval), rng)
    }

    /// Returns the wait without jitter. For [`Schedule::Decorrelated`], the longest there can be.
    #[must_use]
    pub fn nominal(&self, failures: u32, interval: Duration) -> Duration {
        Duration::from_nanos(self.wait(failures, nanos(interval)).nominal)
    }

    /// Returns the shortest and the longest delay that [`delay`](Policy::delay) can draw.
    #[must_use]
    pub fn range(&self, failures: u32, interval: Duration) -> RangeInclusive<Duration> {
        let (low, high) = self.window(failures, nanos(interval));
        Duration::from_nanos(low)..=Duration::from_nanos(high)
    }

    /// Returns the schedule.
    #[must_use]
    pub const fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Returns which exponent belongs to the first failure.
    #[must_use]
    pub const fn exponent_origin(&self) -> ExponentOrigin {
        self.origin
    }

    /// Returns the largest exponent, if there is a limit.
    #[must_use]
    pub const fn exponent_cap(&self) -> Option<u32> {
        match self.exponent_cap {
            u32::MAX => None,
            limit => Some(limit),
        }
    }

    /// Returns the shortest wait after a failure.
    #[must_use]
    pub const fn min_delay(&self) -> Duration {
        Duration::from_nanos(self.min_delay)
    }

    /// Returns how a wait relates to the normal interval.
    #[must_use]
    pub const fn floor(&self) -> Floor {
        self.floor
    }

    /// Returns the longest wait after a failure.
    #[must_use]
    pub const fn cap(&self) -> Cap {
        let longest = Duration::from_nanos(self.cap);
        if self.cap_yields_to_interval {
            Cap::IntervalOr(longest)
        } else {
            Cap::Fixed(longest)
        }
    }

    /// Returns the jitter.
    #[must_use]
    pub const fn jitter(&self) -> &Jitter {
        &self.jitter
    }

    /// The delay's window in nanoseconds, both ends included.
    #[inline]
    const fn window(&self, failures: u32, interval: u64) -> (u64, u64) {
        if failures as u64 >= self.settled_from {
            return self.settled;
        }
        self.window_at(failures, interval)
    }

    pub(crate) const fn window_at(&self, failures: u32, interval: u64) -> (u64, u64) {
        if failures == 0 && !self.jitter.normal_interval {
            return (interval, interval);
        }
        let wait = self.wait(failures, interval);
        let (low, high) = match self.schedule {
            Schedule::Decorrelated { base, .. } if wait.scheduled => {
                (min(base.resolve(interval), wait.nominal), wait.nominal)
            }
            _ => self.jitter.window(self.share, wait.nominal),
        };
        (max(low, wait.floor), min(high, wait.cap))
    }

    /// The window of a chain of delays, which for most schedules knows of no chain.
    #[inline]
    pub(crate) fn window_after(&self, previous: u64, failures: u32, interval: u64) -> (u64, u64) {
        let (low, high) = self.window(failures, interval);
        let Schedule::Decorrelated { base, factor } = self.schedule else {
            return (low, high);
        };
        let previous = previous.max(base.resolve(interval));
        (low, high.min(grow(previous, factor, 1)).max(low))
    }

    const fn wait(&self, failures: u32, interval: u64) -> Wait {
        let (confirmations, at_least) = match self.floor {
            Floor::Absolute => (0, 0),
            Floor::AtLeastInterval => (0, interval),
            Floor::FastConfirm { count, .. } => (count, interval),
        };
        if failures <= confirmations || failures == 0 {
            return self.unscheduled(failures, interval);
        }
        let failures = failures - confirmations;
        let floor = max(self.min_delay, at_least);
        let yields = if self.cap_yields_to_interval {
            interval
        } else {
            0
        };
        let cap = max(max(self.cap, yields), floor);
        let exponent = self.origin.exponent(failures);
        let exponent = if exponent < self.exponent_cap {
            exponent
        } else {
            self.exponent_cap
        };
        let wait = self.schedule.wait(failures, exponent, interval);
        Wait {
            floor,
            nominal: min(max(wait, floor), cap),
            cap,
            scheduled: true,
        }
    }

    /// The normal interval, or a confirming look, which is never later than that.
    const fn unscheduled(&self, failures: u32, interval: u64) -> Wait {
        let (nominal, cap) = match self.floor {
            Floor::FastConfirm { delay, .. } if failures > 0 => {
                (min(nanos(delay), interval), interval)
            }
            _ => (interval, u64::MAX),
        };
        Wait {
            floor: 0,
            nominal,
            cap,
            scheduled: false,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Policy::hardened()
    }
}

/// Draws from a window, both ends included: one number, or none where there is nothing to choose.
#[inline]
pub(crate) fn draw((low, high): (u64, u64), rng: &mut (impl Rng + ?Sized)) -> u64 {
    if low == high {
        return low;
    }
    low + uniform(high - low, rng.next_u64())
}

/// Maps 64 random bits onto `0..=span` by multiplication, which cannot reject and so draws once.
/// The bias is at most `span / 2^64`, far below a nanosecond's worth.
#[inline]
fn uniform(span: u64, random: u64) -> u64 {
    ((u128::from(random) * (u128::from(span) + 1)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Base;

    #[test]
    fn uniform_reaches_both_ends_and_nothing_else() {
        assert_eq!(uniform(9, 0), 0);
        assert_eq!(uniform(9, u64::MAX), 9);
        assert_eq!(uniform(u64::MAX, u64::MAX), u64::MAX);
        assert_eq!(uniform(0, u64::MAX), 0);
    }

    /// What was worked out once is what would be worked out every time.
    #[test]
    fn a_settled_window_is_the_window() {
        let (second, base) = (
            Duration::from_secs(1),
            Base::Fixed(Duration::from_millis(7)),
        );
        let growing = |factor| Schedule::Exponential { base, factor };
        let mut schedules = [1.02, 1.5, 2.0, 3.0, 4.0, 64.0, 100.0]
            .map(growing)
            .to_vec();
        schedules.push(Schedule::Decorrelated { base, factor: 3.0 });
        schedules.push(Schedule::Linear { base, step: second });
        schedules.push(Schedule::Fixed(second));
        schedules.push(Schedule::Steps([1, 2, 30].map(Duration::from_secs).into()));
        for schedule in schedules {
            for origin in [ExponentOrigin::Failures, ExponentOrigin::FailuresMinusOne] {
                for (limit, jitter) in [(None, Jitter::FULL), (Some(3), Jitter::symmetric(0.3))] {
                    let builder = Policy::exponential(second, Duration::from_secs(11));
                    let builder = builder.schedule(schedule).exponent_origin(origin);
                    let policy = builder.exponent_cap(limit).jitter(jitter).build();
                    let policy = policy.expect("valid");
                    for failures in 0..300 {
                        let at = policy.window_at(failures, 5);
                        assert_eq!(policy.window(failures, 5), at, "{policy:?} {failures}");
                    }
                }
            }
        }
    }
}
