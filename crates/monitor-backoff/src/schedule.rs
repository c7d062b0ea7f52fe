//! How a wait grows with the number of failures.

use core::time::Duration;

use crate::{Steps, nanos::nanos};

/// How the wait grows with consecutive failures, before any bound and any jitter.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Schedule {
    /// A table: entry 0 after the first failure, and the last entry for ever after.
    Steps(Steps),
    /// The same wait after every failure.
    Fixed(Duration),
    /// `base + step * exponent`.
    Linear {
        /// The wait at exponent 0.
        base: Base,
        /// What each further failure adds.
        step: Duration,
    },
    /// `base * factor ^ exponent`.
    Exponential {
        /// The wait at exponent 0.
        base: Base,
        /// The growth per failure, 1.01 to 100.
        factor: f64,
    },
    /// Uniform between `base` and `factor` times the delay before it: a chain of delays that forgets
    /// how many there were, so that clients which failed together drift apart.
    ///
    /// It spreads itself: the policy's jitter covers its normal interval only. The chain is what
    /// [`delays`](crate::Policy::delays) and [`delay_after`](crate::Policy::delay_after) draw. A
    /// delay without the one before it is drawn from the chain's envelope, `base` to
    /// `base * factor ^ exponent`. A factor of 3 and [`ExponentOrigin::Failures`] are what is
    /// published.
    Decorrelated {
        /// The shortest delay.
        base: Base,
        /// The most a delay grows by, 1.01 to 100.
        factor: f64,
    },
}

/// What a growing schedule starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The monitor's own normal interval.
    Interval,
    /// A wait of its own, whatever the interval is.
    Fixed(Duration),
}

/// Which exponent belongs to the first failure. A table and a fixed wait have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExponentOrigin {
    /// The exponent is the number of failures: the first wait has already grown once.
    #[default]
    Failures = 0,
    /// The exponent is one less: the first wait is the base itself.
    FailuresMinusOne = 1,
}

impl Base {
    /// Returns the base in nanoseconds, for a monitor whose normal interval is `interval`.
    #[inline]
    pub(crate) const fn resolve(self, interval: u64) -> u64 {
        match self {
            Base::Interval => interval,
            Base::Fixed(wait) => nanos(wait),
        }
    }
}

impl ExponentOrigin {
    /// Returns the exponent that belongs to the given number of failures, which is at least 1.
    #[inline]
    pub(crate) const fn exponent(self, failures: u32) -> u32 {
        failures.saturating_sub(self as u32)
    }
}

impl Schedule {
    /// Returns the wait in nanoseconds after `failures` failures (at least 1), whose exponent is
    /// `exponent`. INV-BACKOFF-2: it never falls when both grow.
    #[inline]
    pub(crate) const fn wait(&self, failures: u32, exponent: u32, interval: u64) -> u64 {
        match *self {
            Schedule::Steps(ref steps) => steps.after(failures),
            Schedule::Fixed(wait) => nanos(wait),
            Schedule::Linear { base, step } => {
                let growth = nanos(step).saturating_mul(exponent as u64);
                base.resolve(interval).saturating_add(growth)
            }
            Schedule::Exponential { base, factor } | Schedule::Decorrelated { base, factor } => {
                grow(base.resolve(interval), factor, exponent)
            }
        }
    }

    /// Returns an exponent from which on the wait is at least `cap`, which is at least the base;
    /// `None` where that depends on the interval, or is so far off that it is not worth knowing.
    pub(crate) const fn reaches(&self, cap: u64) -> Option<u32> {
        const FAR: u32 = 64;
        match *self {
            Schedule::Exponential {
                base: Base::Fixed(base),
                factor,
            }
            | Schedule::Decorrelated {
                base: Base::Fixed(base),
                factor,
            } => {
                let base = nanos(base);
                let mut exponent = match doublings(factor) {
                    // One of the two has at least the bits of the cap.
                    Some(each) => base.leading_zeros().abs_diff(cap.leading_zeros()) / each,
                    None => 0,
                };
                while grow(base, factor, exponent) < cap {
                    exponent += 1;
                    if exponent > FAR {
                        return None;
                    }
                }
                Some(exponent)
            }
            _ => None,
        }
    }
}

/// Returns the logarithm of a factor that is a power of two, 1 to 6 as factors are 1.01 to 100.
#[inline]
const fn doublings(factor: f64) -> Option<u32> {
    const MANTISSA: u64 = (1 << 52) - 1;
    let bits = factor.to_bits();
    if bits & MANTISSA == 0 {
        Some((((bits >> 52) & 0x7ff) as u32).saturating_sub(1023))
    } else {
        None
    }
}

/// `base * factor ^ exponent`, rounded to the nearest nanosecond and saturating.
#[inline]
pub(crate) const fn grow(base: u64, factor: f64, exponent: u32) -> u64 {
    let Some(doublings) = doublings(factor) else {
        if exponent == 0 {
            // Exact, where a float has too few digits for the base.
            return base;
        }
        return scale(base, power(factor, exponent));
    };
    let shift = doublings.saturating_mul(exponent);
    if shift < 64 && shift <= base.leading_zeros() {
        base << shift
    } else if base == 0 {
        0
    } else {
        u64::MAX
    }
}

/// Multiplies whole nanoseconds by `growth`, rounded to the nearest and saturating. Infinity times
/// zero is not a number, which casts to 0: nothing grows out of nothing.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "see above"
)]
const fn scale(base: u64, growth: f64) -> u64 {
    (base as f64 * growth + 0.5) as u64
}

/// `factor ^ exponent` by repeated squaring, in at most 32 steps.
///
/// Only IEEE multiplications, so unlike `f64::powi` the result is the same on every machine.
const fn power(factor: f64, mut exponent: u32) -> f64 {
    let (mut result, mut square) = (1.0, factor);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= square;
        }
        square *= square;
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_exact() {
        for exponent in 0..64 {
            assert_eq!(grow(1, 2.0, exponent), 1 << exponent);
            assert_eq!(scale(1, power(2.0, exponent)), 1 << exponent);
        }
        let hour = 3_600_000_000_000;
        assert_eq!(grow(hour, 2.0, 10), hour << 10);
        for factor in [2.0, 4.0, 8.0, 16.0, 32.0, 64.0] {
            for exponent in 0..4 {
                let floats = scale(hour, power(factor, exponent));
                assert_eq!(grow(hour, factor, exponent), floats, "{factor}^{exponent}");
            }
        }
    }

    /// ROB-42: the formula saturates at large exponents.
    #[test]
    fn growth_saturates() {
        for factor in [2.0, 1.5, 100.0] {
            assert_eq!(grow(1, factor, u32::MAX), u64::MAX);
            assert_eq!(grow(u64::MAX, factor, 1), u64::MAX);
            assert_eq!(grow(0, factor, u32::MAX), 0);
        }
        assert_eq!(grow(1, 2.0, 64), u64::MAX);
        assert_eq!(grow(1 << 63, 2.0, 1), u64::MAX);
        assert_eq!(grow(u64::MAX, 1.01, 1), u64::MAX);
    }

    #[test]
    fn a_fractional_factor_is_rounded_to_the_nearest_nanosecond() {
        assert_eq!(grow(100_000_000, 1.1, 1), 110_000_000);
        assert_eq!(grow(1_000_000_000, 1.5, 3), 3_375_000_000);
        assert_eq!(grow(10, 1.16, 1), 12);
        assert_eq!(grow((1 << 60) + 1, 1.5, 0), (1 << 60) + 1);
    }

    #[test]
    fn the_exponent_that_reaches_the_cap_is_found() {
        let reaches = |base, factor, cap| {
            let base = Base::Fixed(Duration::from_nanos(base));
            Schedule::Exponential { base, factor }.reaches(cap)
        };
        assert_eq!(reaches(100, 2.0, 100), Some(0));
        assert_eq!(reaches(100, 2.0, 101), Some(1));
        assert_eq!(reaches(100, 2.0, 10_000), Some(7));
        assert_eq!(reaches(100, 2.0, 12_800), Some(7));
        assert_eq!(reaches(100, 2.0, 12_801), Some(8));
        assert_eq!(reaches(1, 64.0, u64::MAX - 1), Some(11));
        assert_eq!(reaches(100, 1.5, 10_000), Some(12));
        assert_eq!(reaches(1, 1.01, u64::MAX), None, "far off");
    }
}
