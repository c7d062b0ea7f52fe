//! How a wait grows with the number of failures.

use std::{borrow::Cow, time::Duration};

use crate::nanos::nanos;

/// How the wait grows with consecutive failures, before any bound and any jitter.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Schedule {
    /// A table: entry 0 after the first failure, and the last entry for ever after.
    Steps(Cow<'static, [Duration]>),
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
    Failures,
    /// The exponent is one less: the first wait is the base itself.
    FailuresMinusOne,
}

impl Base {
    /// Returns the base in nanoseconds, for a monitor whose normal interval is `interval`.
    fn resolve(self, interval: u64) -> u64 {
        match self {
            Base::Interval => interval,
            Base::Fixed(wait) => nanos(wait),
        }
    }
}

impl ExponentOrigin {
    /// Returns the exponent that belongs to the given number of failures, which is at least 1.
    pub(crate) fn exponent(self, failures: u32) -> u32 {
        match self {
            ExponentOrigin::Failures => failures,
            ExponentOrigin::FailuresMinusOne => failures.saturating_sub(1),
        }
    }
}

impl Schedule {
    /// Returns the wait in nanoseconds after `failures` failures (at least 1), whose exponent is
    /// `exponent`. INV-BACKOFF-2: it never falls when both grow.
    pub(crate) fn wait(&self, failures: u32, exponent: u32, interval: u64) -> u64 {
        match self {
            Schedule::Steps(steps) => {
                let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
                steps
                    .get(index)
                    .or(steps.last())
                    .map_or(0, |step| nanos(*step))
            }
            Schedule::Fixed(wait) => nanos(*wait),
            Schedule::Linear { base, step } => {
                let growth = nanos(*step).saturating_mul(u64::from(exponent));
                base.resolve(interval).saturating_add(growth)
            }
            Schedule::Exponential { base, factor } => {
                scale(base.resolve(interval), power(*factor, exponent))
            }
        }
    }
}

/// Multiplies whole nanoseconds by `growth`, rounded to the nearest and saturating. Infinity times
/// zero is not a number, which casts to 0: nothing grows out of nothing.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "see above"
)]
fn scale(base: u64, growth: f64) -> u64 {
    (base as f64 * growth + 0.5) as u64
}

/// `factor ^ exponent` by repeated squaring, in at most 32 steps.
///
/// Only IEEE multiplications, so unlike `f64::powi` the result is the same on every machine, and
/// for a factor of 2 it is exact.
fn power(factor: f64, mut exponent: u32) -> f64 {
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
            assert_eq!(scale(1, power(2.0, exponent)), 1 << exponent);
        }
        assert_eq!(
            scale(3_600_000_000_000, power(2.0, 10)),
            3_600_000_000_000 << 10
        );
    }

    /// ROB-42: the formula saturates at large exponents.
    #[test]
    fn growth_saturates() {
        assert_eq!(scale(1, power(2.0, 64)), u64::MAX);
        assert_eq!(scale(1, power(2.0, u32::MAX)), u64::MAX);
        assert_eq!(scale(u64::MAX, power(1.01, 1)), u64::MAX);
        assert_eq!(scale(0, power(2.0, u32::MAX)), 0);
    }

    #[test]
    fn a_fractional_factor_is_rounded_to_the_nearest_nanosecond() {
        assert_eq!(scale(100_000_000, power(1.1, 1)), 110_000_000);
        assert_eq!(scale(1_000_000_000, power(1.5, 3)), 3_375_000_000);
        assert_eq!(scale(10, power(1.16, 1)), 12);
    }
}
