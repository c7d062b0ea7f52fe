//! How a wait is spread, so that many monitors do not return at once.

use crate::nanos::min;

/// How a wait is spread at random.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jitter {
    /// The shape of the spread.
    pub kind: JitterKind,
    /// Whether the normal interval, after a success, is spread as well.
    pub normal_interval: bool,
}

/// The shape of the spread. Every shape is uniform over the window it names.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum JitterKind {
    /// No spread: the wait itself.
    None,
    /// `wait * (1 - ratio)` to `wait * (1 + ratio)`.
    Symmetric {
        /// The share of the wait on **each** side, 0 to 1: 0.2 is ±20 %, a window 40 % wide
        /// (INV-BACKOFF-3).
        ratio: f64,
    },
    /// 0 to `wait`.
    Full,
    /// `wait / 2` to `wait`.
    Equal,
}

impl Jitter {
    /// No jitter at all.
    pub const NONE: Jitter = Jitter {
        kind: JitterKind::None,
        normal_interval: false,
    };

    /// From 0 to the wait after a failure, which spreads callers most; nothing after a success.
    pub const FULL: Jitter = Jitter {
        kind: JitterKind::Full,
        normal_interval: false,
    };

    /// From half the wait to the wait after a failure; nothing after a success.
    pub const EQUAL: Jitter = Jitter {
        kind: JitterKind::Equal,
        normal_interval: false,
    };

    /// Returns ± `ratio` on every wait, the normal interval included.
    ///
    /// The ratio is checked when the policy is built.
    #[must_use]
    pub const fn symmetric(ratio: f64) -> Jitter {
        Jitter {
            kind: JitterKind::Symmetric { ratio },
            normal_interval: true,
        }
    }

    /// Returns the same jitter, on waits after a failure only.
    #[must_use]
    pub const fn on_failures_only(self) -> Jitter {
        Jitter {
            normal_interval: false,
            ..self
        }
    }

    /// Returns the ratio of a symmetric jitter, and 0 for every other kind.
    ///
    /// A scheduler that keeps its runs on a fixed grid does not draw the normal interval here: it
    /// displaces each run by up to ± half of `interval * ratio()`, so that the gap between two
    /// runs stays within ± ratio of the interval. It does so where
    /// [`normal_interval`](Jitter::normal_interval) is set.
    #[must_use]
    pub const fn ratio(&self) -> f64 {
        match self.kind {
            JitterKind::Symmetric { ratio } => ratio,
            JitterKind::None | JitterKind::Full | JitterKind::Equal => 0.0,
        }
    }

    /// Returns the ratio as a [`Share`], which [`window`](Jitter::window) wants.
    pub(crate) const fn share(&self) -> Share {
        Share::new(self.ratio())
    }

    /// Returns the window around `wait`, in nanoseconds, both ends included.
    #[inline]
    pub(crate) const fn window(&self, share: Share, wait: u64) -> (u64, u64) {
        match self.kind {
            JitterKind::None => (wait, wait),
            JitterKind::Symmetric { .. } => {
                let spread = share.of(wait);
                (wait - spread, wait.saturating_add(spread))
            }
            JitterKind::Full => (0, wait),
            JitterKind::Equal => (wait - wait / 2, wait),
        }
    }
}

/// A ratio of 0 to 1 in fixed point, with 63 fractional bits: a float product would lose
/// nanoseconds of long waits, and with them the promise that a longer wait never has an earlier
/// window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share(u64);

impl Share {
    const ONE: u64 = 1 << 63;

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "2^63 is a float, and the product lies between 0 and it"
    )]
    const fn new(ratio: f64) -> Share {
        Share(min((ratio * Share::ONE as f64) as u64, Share::ONE))
    }

    /// `wait * ratio`, rounded to the nearest nanosecond, never above `wait`.
    #[inline]
    const fn of(self, wait: u64) -> u64 {
        ((wait as u128 * self.0 as u128 + (Share::ONE / 2) as u128) >> 63) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_exact() {
        let share = |wait, ratio| Share::new(ratio).of(wait);
        assert_eq!(share(2_000_000_000, 0.2), 400_000_000);
        assert_eq!(share(3_600_000_000_000, 0.1), 360_000_000_000);
        assert_eq!(share(u64::MAX, 1.0), u64::MAX);
        assert_eq!(share(u64::MAX, 0.0), 0);
        assert_eq!(share(0, 1.0), 0);
    }

    #[test]
    fn windows_by_kind() {
        let window = |kind| {
            let jitter = Jitter {
                kind,
                normal_interval: true,
            };
            jitter.window(jitter.share(), 1001)
        };
        assert_eq!(window(JitterKind::None), (1001, 1001));
        assert_eq!(window(JitterKind::Symmetric { ratio: 0.5 }), (500, 1502));
        assert_eq!(window(JitterKind::Symmetric { ratio: 1.0 }), (0, 2002));
        assert_eq!(window(JitterKind::Full), (0, 1001));
        assert_eq!(window(JitterKind::Equal), (501, 1001));
    }

    #[test]
    fn only_symmetric_jitter_has_a_ratio() {
        assert_eq!(Jitter::symmetric(0.2).ratio(), 0.2);
        assert_eq!(Jitter::NONE.ratio(), 0.0);
        assert_eq!(Jitter::FULL.ratio(), 0.0);
        assert!(!Jitter::symmetric(0.2).on_failures_only().normal_interval);
    }
}
