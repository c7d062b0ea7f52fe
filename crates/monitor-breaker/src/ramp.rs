//! How a breaker that has just closed lets the calls back in.

use std::time::Duration;

use crate::word::nanos;

/// One whole call.
const WHOLE: u64 = 1 << 32;

/// A share of the calls that grows from its start to all of them.
///
/// Each request earns the share of its moment, and is admitted when that makes a whole call.
/// Requests are counted when they ask, not when they end, so a burst cannot slip in before its
/// first answers; and what is admitted is within one call of the sum of the shares.
///
/// # Source
/// The client-side throttling of "Site Reliability Engineering", chapter 21, sheds by a share of
/// the requests as well; it draws lots, which admits nobody for long where calls are few.
#[derive(Debug)]
pub(crate) struct Ramp {
    from: Duration,
    over: Duration,
    /// The share at the start, as a part of [`WHOLE`].
    first: u64,
    /// INV-BREAKER-9: what the requests have earned and not yet spent; less than a whole call, so
    /// what was admitted is the sum of the shares but for that.
    earned: u64,
}

impl Ramp {
    /// Returns a ramp over `over` that starts at `from` with the share `first`. `draw` is random:
    /// where it starts to count, so that processes which recover together do not admit together.
    pub(crate) fn new(from: Duration, over: Duration, first: f64, draw: u32) -> Ramp {
        Ramp {
            from,
            over,
            // Saturates, and takes NaN for 0.
            first: ((first * WHOLE as f64) as u64).min(WHOLE),
            earned: u64::from(draw),
        }
    }

    /// Returns when all calls are admitted.
    pub(crate) fn end(&self) -> Duration {
        self.from.saturating_add(self.over)
    }

    /// Takes in a request at `now`, and returns whether it is admitted.
    pub(crate) fn admits(&mut self, now: Duration) -> bool {
        self.earned += self.share(now);
        let is_whole = self.earned >= WHOLE;
        if is_whole {
            self.earned -= WHOLE;
        }
        is_whole
    }

    /// Returns the share at `now` in whole percent, rounded.
    pub(crate) fn percent(&self, now: Duration) -> u32 {
        ((self.share(now) * 100 + WHOLE / 2) / WHOLE) as u32
    }

    /// Grows in proportion to the time since the start.
    fn share(&self, now: Duration) -> u64 {
        let over = u128::from(nanos(self.over)).max(1);
        let since = u128::from(nanos(now.saturating_sub(self.from))).min(over);
        let grown = u128::from(WHOLE - self.first) * since / over;
        self.first + grown as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// ROB-20: INV-BREAKER-9: at any moment, whatever the pattern of the requests, the ramp
        /// has admitted the sum of the shares, to within one call; and in the end it admits all.
        #[test]
        fn inv_breaker_9_a_ramp_admits_its_share(
            first in 0.000_001_f64..1.0,
            draw in any::<u32>(),
            mut times in prop::collection::vec(0_u64..10_000, 1..500),
        ) {
            times.sort_unstable();
            let over = Duration::from_millis(10_000);
            let mut ramp = Ramp::new(Duration::from_secs(7), over, first, draw);
            let (mut sum, mut admitted) = (0.0, 0.0);
            for millis in times {
                let now = Duration::from_secs(7) + Duration::from_millis(millis);
                sum += first + (1.0 - first) * millis as f64 / 10_000.0;
                admitted += f64::from(u8::from(ramp.admits(now)));
                let difference: f64 = sum - admitted;
                prop_assert!(difference.abs() <= 1.000_1, "INV-BREAKER-9: {difference}");
            }
            prop_assert!((0..100).all(|_| ramp.admits(ramp.end())), "INV-BREAKER-9");
            prop_assert_eq!(ramp.percent(ramp.end()), 100);
        }
    }

    #[test]
    fn a_ramp_of_no_length_admits_all() {
        let mut ramp = Ramp::new(Duration::MAX, Duration::MAX, f64::NAN, 0);
        assert!(!ramp.admits(Duration::MAX));
        let mut ramp = Ramp::new(Duration::ZERO, Duration::ZERO, 1.0, 0);
        assert!(ramp.admits(Duration::ZERO));
    }
}
