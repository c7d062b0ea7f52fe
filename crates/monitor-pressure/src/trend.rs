//! Where a source is heading.

use std::time::Duration;

/// Where a source is heading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trend {
    /// By more than one percentage point of the limit a minute upwards.
    Rising,
    /// Neither, or nothing is known yet.
    #[default]
    Steady,
    /// By more than one percentage point of the limit a minute downwards.
    Falling,
}

impl Trend {
    /// Returns the name, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rising => "rising",
            Self::Steady => "steady",
            Self::Falling => "falling",
        }
    }
}

/// A smoothed slope of the ratio. The one place with floating point: nothing depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slope {
    last: Option<(Duration, f64)>,
    per_second: f64,
}

/// About this long a change is remembered.
const MEMORY_SECONDS: f64 = 300.0;
/// One percentage point a minute.
const STEADY_PER_SECOND: f64 = 0.01 / 60.0;

impl Slope {
    pub(crate) fn observe(&mut self, ratio: f64, now: Duration) {
        if let Some((at, before)) = self.last {
            let seconds = now.saturating_sub(at).as_secs_f64();
            if seconds > 0.0 {
                let weight = seconds / (seconds + MEMORY_SECONDS);
                let slope = (ratio - before) / seconds;
                self.per_second += weight * (slope - self.per_second);
            }
        }
        self.last = Some((now, ratio));
    }

    pub(crate) fn trend(&self) -> Trend {
        if self.per_second > STEADY_PER_SECOND {
            Trend::Rising
        } else if self.per_second < -STEADY_PER_SECOND {
            Trend::Falling
        } else {
            Trend::Steady
        }
    }

    /// When the limit is reached if it goes on like this; `None` unless it is rising.
    pub(crate) fn until_limit(&self) -> Option<Duration> {
        let (_, ratio) = self.last.filter(|_| self.trend() == Trend::Rising)?;
        let left = (1.0 - ratio).max(0.0);
        Duration::try_from_secs_f64(left / self.per_second).ok()
    }
}
