//! How much a key matters: the middle of the tree of permits.

use std::num::{NonZeroU32, NonZeroUsize};

/// How much a key matters. Ordered from the least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum Class {
    /// Gives way first.
    Optional,
    /// Gives way after what is optional.
    #[default]
    Normal,
    /// Goes first.
    Critical,
}

impl Class {
    /// All classes, from the least.
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

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// Settings of the three classes.
///
/// # Defaults
///
/// Weights 1, 2 and 4, no limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classes {
    /// Of [`Class::Optional`].
    pub optional: ClassConfig,
    /// Of [`Class::Normal`].
    pub normal: ClassConfig,
    /// Of [`Class::Critical`].
    pub critical: ClassConfig,
}

/// Settings of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassConfig {
    /// How much faster a key of this class grows older in the queue than one of weight 1. Whoever
    /// is the oldest by that count is served first, so that nobody waits for ever.
    pub weight: NonZeroU32,
    /// How many runs of the class may hold a permit at once, if less than the whole process. To
    /// keep permits free for one class, limit the others.
    pub max_concurrent: Option<NonZeroUsize>,
}

impl ClassConfig {
    const fn of_weight(weight: u32) -> Self {
        Self {
            weight: NonZeroU32::MIN.saturating_add(weight - 1),
            max_concurrent: None,
        }
    }
}

impl Classes {
    /// Returns the settings of one class.
    #[must_use]
    pub const fn of(&self, class: Class) -> &ClassConfig {
        match class {
            Class::Optional => &self.optional,
            Class::Normal => &self.normal,
            Class::Critical => &self.critical,
        }
    }
}

impl Default for Classes {
    fn default() -> Self {
        Self {
            optional: ClassConfig::of_weight(1),
            normal: ClassConfig::of_weight(2),
            critical: ClassConfig::of_weight(4),
        }
    }
}

/// How fast a class may go: what a program under pressure asks of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pace {
    /// As its keys are scheduled.
    #[default]
    Full,
    /// Each key runs at one slot of so many, a different one for each key; a wait after a failure
    /// is so many times as long.
    Stretched(NonZeroU32),
    /// Not at all.
    Suspended,
}

impl Pace {
    /// Stretches by a factor. One of 0 or 1 is [`Full`](Pace::Full).
    #[must_use]
    pub const fn stretched(factor: u32) -> Self {
        match NonZeroU32::new(factor) {
            None | Some(NonZeroU32::MIN) => Self::Full,
            Some(factor) => Self::Stretched(factor),
        }
    }

    /// How many slots come to one run.
    pub(crate) const fn factor(self) -> u32 {
        match self {
            Self::Stretched(factor) => factor.get(),
            Self::Full | Self::Suspended => 1,
        }
    }
}
