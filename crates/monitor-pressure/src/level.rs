//! How hard-pressed something is, in four steps.

use std::fmt;

/// How hard-pressed a source is, or the process as a whole. Ordered: `Normal` is the least.
///
/// # Default
/// `Normal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing is done.
    #[default]
    Normal,
    /// Worth a look; what can wait is asked to.
    Elevated,
    /// Work is given up in favour of other work.
    Degraded,
    /// Close to the limit: only what matters most goes on, and the process is not ready.
    Critical,
}

impl Level {
    /// All levels, from the least.
    pub const ALL: [Self; 4] = [Self::Normal, Self::Elevated, Self::Degraded, Self::Critical];

    /// Returns the name, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Elevated => "elevated",
            Self::Degraded => "degraded",
            Self::Critical => "critical",
        }
    }

    /// Returns whether the process should still be sent work: it should, but for `Critical`.
    #[must_use]
    pub const fn is_ready(self) -> bool {
        !matches!(self, Self::Critical)
    }

    /// The next lower level; `Normal` for itself.
    pub(crate) const fn below(self) -> Self {
        match self {
            Self::Normal | Self::Elevated => Self::Normal,
            Self::Degraded => Self::Elevated,
            Self::Critical => Self::Degraded,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
