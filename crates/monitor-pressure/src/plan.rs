//! What to do at which level, as data: this crate suspends nothing itself.

use std::{fmt, num::NonZeroU32, time::Duration};

use crate::{ConfigError, Level, Scope, Transition};

/// How much a piece of work matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Goes first when something must give way.
    Optional,
    /// Gives way after what is optional.
    #[default]
    Normal,
    /// Goes on unchanged, whatever happens.
    Critical,
}

impl Priority {
    /// All priorities, from the least.
    pub const ALL: [Self; 3] = [Self::Optional, Self::Normal, Self::Critical];

    /// Returns the name, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Optional => "optional",
            Self::Normal => "normal",
            Self::Critical => "critical",
        }
    }
}

/// What becomes of work. Ordered by how much it takes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// It goes on as it is.
    #[default]
    Keep,
    /// It runs less often: its interval is multiplied.
    Stretch(NonZeroU32),
    /// It does not run. Whoever carries this out records each run that does not take place.
    Suspend,
}

impl Measure {
    /// Multiplies the interval. A factor of 0 is [`Keep`](Self::Keep), as is 1.
    #[must_use]
    pub const fn stretch(factor: u32) -> Self {
        match NonZeroU32::new(factor) {
            None | Some(NonZeroU32::MIN) => Self::Keep,
            Some(factor) => Self::Stretch(factor),
        }
    }

    /// Returns the interval under this measure, saturating; `None` when the work is suspended.
    #[must_use]
    pub fn interval(self, interval: Duration) -> Option<Duration> {
        match self {
            Self::Keep => Some(interval),
            Self::Stretch(factor) => Some(interval.saturating_mul(factor.get())),
            Self::Suspend => None,
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("keep"),
            Self::Stretch(factor) => write!(f, "stretch x{factor}"),
            Self::Suspend => f.write_str("suspend"),
        }
    }
}

/// What is done at which level: a measure per level above normal for work of optional and of
/// normal priority. Critical work is always kept, and at [`Level::Normal`] everything is.
///
/// # Default
/// | level | optional | normal | critical |
/// |---|---|---|---|
/// | elevated | x2 | keep | keep |
/// | degraded | x4 | x2 | keep |
/// | critical | suspend | x4 | keep |
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use monitor_pressure::{Level, Measure, Plan, Priority};
///
/// let plan = Plan::default();
/// let measure = plan.measure(Level::Degraded, Priority::Optional);
/// assert_eq!(measure.interval(Duration::from_secs(60)), Some(Duration::from_secs(240)));
/// assert_eq!(plan.measure(Level::Critical, Priority::Optional), Measure::Suspend);
/// assert_eq!(plan.measure(Level::Critical, Priority::Critical), Measure::Keep);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    optional: [Measure; 3],
    normal: [Measure; 3],
}

impl Plan {
    /// As the default, but at [`Level::Critical`] work of normal priority is suspended as well.
    pub const ONLY_CRITICAL: Self = Self {
        optional: Self::DEFAULT.optional,
        normal: [Measure::Keep, Measure::stretch(2), Measure::Suspend],
    };

    const DEFAULT: Self = Self {
        optional: [Measure::stretch(2), Measure::stretch(4), Measure::Suspend],
        normal: [Measure::Keep, Measure::stretch(2), Measure::stretch(4)],
    };

    /// Makes a plan of the measures at elevated, degraded and critical.
    ///
    /// # Errors
    /// [`ConfigError::Contradiction`]: a higher level takes less away, or less is taken from
    /// optional work than from normal work.
    pub fn new(optional: [Measure; 3], normal: [Measure; 3]) -> Result<Self, ConfigError> {
        const FIELDS: [(&str, &str); 3] = [
            ("optional.elevated", "normal.elevated"),
            ("optional.degraded", "normal.degraded"),
            ("optional.critical", "normal.critical"),
        ];
        let check = |field, less: Measure, other, more: Measure, right| {
            if less <= more {
                return Ok(());
            }
            Err(ConfigError::Contradiction {
                field,
                value: less.to_string(),
                other,
                other_value: more.to_string(),
                right,
            })
        };
        for at in 0..3 {
            let (optional_field, normal_field) = FIELDS[at];
            if at > 0 {
                let right = "a higher level must not take less away";
                let (before_optional, before_normal) = FIELDS[at - 1];
                check(
                    before_optional,
                    optional[at - 1],
                    optional_field,
                    optional[at],
                    right,
                )?;
                check(
                    before_normal,
                    normal[at - 1],
                    normal_field,
                    normal[at],
                    right,
                )?;
            }
            let right = "optional work gives way before normal work";
            check(
                normal_field,
                normal[at],
                optional_field,
                optional[at],
                right,
            )?;
        }
        Ok(Self { optional, normal })
    }

    /// Returns what becomes of work of this priority at this level.
    #[must_use]
    pub const fn measure(&self, level: Level, priority: Priority) -> Measure {
        let measures = match priority {
            // INV-PRESSURE-4: there is no place for a measure against critical work.
            Priority::Critical => return Measure::Keep,
            Priority::Normal => &self.normal,
            Priority::Optional => &self.optional,
        };
        match level {
            Level::Normal => Measure::Keep,
            Level::Elevated => measures[0],
            Level::Degraded => measures[1],
            Level::Critical => measures[2],
        }
    }

    /// Returns what changes by a transition, least priority first: to be carried out *and
    /// recorded* by the caller. Empty for transitions of single sources, and where nothing
    /// changes. Whoever carries out every decision of every transition has at any time what
    /// [`measure`](Self::measure) says for the level.
    #[must_use]
    pub fn decide(&self, transition: &Transition) -> Vec<Decision> {
        if transition.scope != Scope::Combined {
            return Vec::new();
        }
        let decisions = Priority::ALL.map(|priority| Decision {
            priority,
            from: self.measure(transition.from, priority),
            to: self.measure(transition.to, priority),
            cause: transition.clone(),
        });
        let changed = decisions.into_iter();
        changed
            .filter(|decision| decision.from != decision.to)
            .collect()
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// That all work of a priority is to be treated differently from now on, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whose treatment changes.
    pub priority: Priority,
    /// How it was treated.
    pub from: Measure,
    /// How it is to be treated.
    pub to: Measure,
    /// The change of level behind it.
    pub cause: Transition,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            priority,
            from,
            to,
            cause,
        } = self;
        write!(f, "{} work: {from} -> {to}, {cause}", priority.as_str())
    }
}
