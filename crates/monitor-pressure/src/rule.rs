//! From a usage to a level: thresholds up, thresholds down, and for how long.

use std::time::Duration;

use crate::{ConfigError, Level, Usage};

/// The shares of a limit at which a source enters a level, in per cent of the limit, each
/// included; and how far it must fall below one before it counts as left.
///
/// # Default
/// 60, 80 and 95 %, left 5 percentage points below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// From here on it is [`Level::Elevated`].
    pub elevated: u32,
    /// From here on it is [`Level::Degraded`].
    pub degraded: u32,
    /// From here on it is [`Level::Critical`].
    pub critical: u32,
    /// The hysteresis: a level is left below its threshold less this many percentage points.
    pub margin: u32,
}

impl Thresholds {
    /// Nothing below the limit, everything at it: a hard limit as older configurations mean it.
    pub const AT_LIMIT: Self = Self {
        elevated: 100,
        degraded: 100,
        critical: 100,
        margin: 5,
    };

    /// The level that this usage alone would call for.
    fn entered(&self, usage: Usage) -> Level {
        self.highest(|threshold| usage.reaches(threshold))
    }

    /// The lowest level that this usage lets a source come down to. Never below
    /// [`entered`](Self::entered).
    fn held(&self, usage: Usage) -> Level {
        self.highest(|threshold| usage.reaches(threshold.saturating_sub(self.margin)))
    }

    fn highest(&self, reached: impl Fn(u32) -> bool) -> Level {
        if reached(self.critical) {
            Level::Critical
        } else if reached(self.degraded) {
            Level::Degraded
        } else if reached(self.elevated) {
            Level::Elevated
        } else {
            Level::Normal
        }
    }
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            elevated: 60,
            degraded: 80,
            critical: 95,
            margin: 5,
        }
    }
}

/// When a source changes its level.
///
/// # Default
/// The default [`Thresholds`], up at once, down one level at a time after two minutes below, to any
/// level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where the levels are.
    pub thresholds: Thresholds,
    /// How long every reading must ask for more before the level rises. Zero: the first one does.
    pub hold_up: Duration,
    /// How long every reading must allow less before the level falls **by one**; again for each
    /// further one. So work comes back in steps, not at once.
    pub hold_down: Duration,
    /// INV-PRESSURE-5: the highest level that the source can have, however much of its limit is
    /// used: what says little about this process must not stop it.
    pub ceiling: Level,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            thresholds: Thresholds::default(),
            hold_up: Duration::ZERO,
            hold_down: Duration::from_secs(120),
            ceiling: Level::Critical,
        }
    }
}

/// The largest threshold: ten times the limit.
const MAX_PERCENT: u32 = 1000;
/// The longest hold.
const MAX_HOLD: Duration = Duration::from_secs(24 * 60 * 60);

impl Rule {
    /// The level that this usage alone would call for.
    pub(crate) fn entered(&self, usage: Usage) -> Level {
        self.thresholds.entered(usage).min(self.ceiling)
    }

    /// The lowest level that this usage lets a source come down to.
    pub(crate) fn held(&self, usage: Usage) -> Level {
        self.thresholds.held(usage).min(self.ceiling)
    }

    /// Refuses thresholds that fall, a margin that no usage can get below, and endless holds.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let Thresholds {
            elevated,
            degraded,
            critical,
            margin,
        } = self.thresholds;
        for (field, value) in [
            ("elevated", elevated),
            ("degraded", degraded),
            ("critical", critical),
            ("margin", margin),
        ] {
            if !(1..=MAX_PERCENT).contains(&value) {
                return Err(ConfigError::range(
                    field,
                    format!("{value} %"),
                    "1 % to 1000 %",
                ));
            }
        }
        for (field, hold) in [("hold_up", self.hold_up), ("hold_down", self.hold_down)] {
            if hold > MAX_HOLD {
                return Err(ConfigError::range(
                    field,
                    format!("{hold:?}"),
                    "at most 24 h",
                ));
            }
        }
        let contradiction = |field, value: u32, other, other_value: u32, right| {
            Err(ConfigError::Contradiction {
                field,
                value: format!("{value} %"),
                other,
                other_value: format!("{other_value} %"),
                right,
            })
        };
        if degraded < elevated {
            let right = "the thresholds must not fall from level to level";
            return contradiction("degraded", degraded, "elevated", elevated, right);
        }
        if critical < degraded {
            let right = "the thresholds must not fall from level to level";
            return contradiction("critical", critical, "degraded", degraded, right);
        }
        if margin >= elevated {
            let right = "the margin must be smaller, or no usage is low enough to come down";
            return contradiction("margin", margin, "elevated", elevated, right);
        }
        Ok(())
    }
}
