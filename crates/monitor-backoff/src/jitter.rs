//! How a wait is spread, so that many monitors do not return at once.

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

    /// Returns the window around `wait`, in nanoseconds, both ends included.
    pub(crate) fn window(&self, wait: u64) -> (u64, u64) {
        match self.kind {
            JitterKind::None => (wait, wait),
            JitterKind::Symmetric { ratio } => {
                let spread = share(wait, ratio);
                (wait - spread, wait.saturating_add(spread))
            }
            JitterKind::Full => (0, wait),
            JitterKind::Equal => (wait - wait / 2, wait),
        }
    }
}

/// `wait * ratio`, rounded to the nearest nanosecond, never above `wait`.
///
/// Fixed point with 63 fractional bits: a float product would lose nanoseconds of long waits, and
/// with them the promise that a longer wait never has an earlier window.
fn share(wait: u64, ratio: f64) -> u64 {
    const ONE: u64 = 1 << 63;
    let ratio = ((ratio * ONE as f64) as u64).min(ONE);
    ((u128::from(wait) * u128::from(ratio) + u128::from(ONE / 2)) >> 63) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_exact() {
        assert_eq!(share(2_000_000_000, 0.2), 400_000_000);
        assert_eq!(share(3_600_000_000_000, 0.1), 360_000_000_000);
        assert_eq!(share(u64::MAX, 1.0), u64::MAX);
        assert_eq!(share(u64::MAX, 0.0), 0);
        assert_eq!(share(0, 1.0), 0);
    }

    #[test]
    fn windows_by_kind() {
        let window = |kind| {
            Jitter {
                kind,
                normal_interval: true,
            }
            .window(1001)
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
        assert_eq!(
            Jitter {
                kind: JitterKind::Full,
                normal_interval: true
            }
            .ratio(),
            0.0
        );
        assert!(!Jitter::symmetric(0.2).on_failures_only().normal_interval);
    }
}
