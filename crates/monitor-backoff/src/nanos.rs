//! Saturating nanoseconds: the one unit all arithmetic is done in.

use core::time::Duration;

const PER_SECOND: u64 = 1_000_000_000;

/// Returns `duration` in whole nanoseconds; from 584 years on it saturates.
#[inline]
pub(crate) const fn nanos(duration: Duration) -> u64 {
    let whole = duration.as_secs().saturating_mul(PER_SECOND);
    whole.saturating_add(duration.subsec_nanos() as u64)
}

/// The smaller one, for constants: `Ord::min` is not const.
#[inline]
pub(crate) const fn min(a: u64, b: u64) -> u64 {
    if a < b { a } else { b }
}

/// The larger one.
#[inline]
pub(crate) const fn max(a: u64, b: u64) -> u64 {
    if a > b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_exact_below_584_years_and_saturates_above() {
        assert_eq!(nanos(Duration::ZERO), 0);
        assert_eq!(nanos(Duration::new(3, 7)), 3_000_000_007);
        assert_eq!(nanos(Duration::from_nanos(u64::MAX)), u64::MAX);
        assert_eq!(
            nanos(Duration::from_nanos(u64::MAX) + Duration::from_nanos(1)),
            u64::MAX
        );
        assert_eq!(nanos(Duration::MAX), u64::MAX);
    }
}
