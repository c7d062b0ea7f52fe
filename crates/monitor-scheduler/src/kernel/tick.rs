//! Time as the kernel counts it: whole milliseconds since the shell's origin.

use std::time::Duration;

/// A point in time, in whole milliseconds since the scheduler was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tick(pub(crate) u64);

impl Tick {
    pub(crate) const ZERO: Tick = Tick(0);
    /// The end of time.
    pub(crate) const NEVER: Tick = Tick(u64::MAX);

    /// The last tick that is not after `at`.
    pub(crate) fn floor(at: Duration) -> Self {
        Self(millis(at))
    }

    /// The first tick that is not before `at`.
    pub(crate) fn ceil(at: Duration) -> Self {
        let floor = Self::floor(at);
        if floor.duration() < at {
            floor.plus(1)
        } else {
            floor
        }
    }

    pub(crate) fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// So many milliseconds later, or the end of time.
    pub(crate) fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`; zero if that is later.
    pub(crate) fn since(self, earlier: Tick) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Whole milliseconds of a duration, fraction cut; what does not fit is the end of time.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
