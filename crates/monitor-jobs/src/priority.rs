//! How urgent a job is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How urgent a job is: 0, the least, to 5. The default is 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

/// Why a number is no priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("priority {0} is out of range: 0 (least urgent) to 5 (most urgent)")]
pub struct InvalidPriority(pub u8);

impl Priority {
    /// The least urgent.
    pub const MIN: Self = Self(0);
    /// The most urgent.
    pub const MAX: Self = Self(5);

    /// The priority of that number.
    ///
    /// # Errors
    /// When it is above 5.
    pub const fn new(number: u8) -> Result<Self, InvalidPriority> {
        if number > Self::MAX.0 {
            Err(InvalidPriority(number))
        } else {
            Ok(Self(number))
        }
    }

    /// The number, 0 to 5.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The band that it belongs to.
    #[must_use]
    pub const fn band(self) -> Band {
        match self.0 {
            4.. => Band::High,
            2..=3 => Band::Medium,
            _ => Band::Low,
        }
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(3)
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u8> for Priority {
    type Error = InvalidPriority;

    fn try_from(number: u8) -> Result<Self, InvalidPriority> {
        Self::new(number)
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

/// A coarser view of the priority, for people and for metrics: jobs are claimed in the order of
/// their keys, and never band by band.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Band {
    /// 4 and 5.
    High,
    /// 2 and 3.
    Medium,
    /// 0 and 1.
    Low,
}

impl Band {
    /// The name in JSON, metrics and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}
