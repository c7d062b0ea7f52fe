//! The bounds that a wait keeps, also after jitter.

use core::time::Duration;

/// How a wait after a failure relates to the normal interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// Not at all: waits may be shorter than the interval, so a failing target may be visited
    /// *more* often than a healthy one.
    Absolute,
    /// Never shorter than the interval: a failing target is never visited more often than a
    /// healthy one.
    AtLeastInterval,
    /// A few quick looks to confirm the failure, and from then on never shorter than the interval.
    ///
    /// The schedule starts counting after the confirmations: failure `count + 1` is its first.
    FastConfirm {
        /// How many failures are followed by a quick look.
        count: u32,
        /// The wait before each of them. Where the interval is shorter, the interval is taken.
        delay: Duration,
    },
}

/// The longest wait after a failure. It holds after jitter, and yields only to a floor above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// This long, whatever the interval is.
    Fixed(Duration),
    /// This long, or the interval where that is longer.
    IntervalOr(Duration),
}

impl Cap {
    /// Returns the duration the cap was made of.
    pub(crate) const fn duration(self) -> Duration {
        match self {
            Cap::Fixed(longest) | Cap::IntervalOr(longest) => longest,
        }
    }
}
