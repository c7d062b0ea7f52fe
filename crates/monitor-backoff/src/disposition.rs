//! What a failed attempt means for the next one.

use core::{fmt, time::Duration};

/// What kind of failure a retry follows: it decides what the retry costs, how long it waits and
/// under which name it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Nothing reached the target: no connection. Safe to repeat.
    Connect,
    /// The target, or the way to it, failed and may soon be well.
    Transient,
    /// The target asks for less load.
    Throttled,
    /// Refused on this side, by a breaker or a limit, before anything was sent. It says nothing
    /// about the target and costs no budget.
    Local,
}

/// What to do after one particular error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disposition {
    /// The error will not go away by itself: no retry.
    Permanent,
    /// The target said that it does not want a retry.
    DoNotRetry,
    /// Worth another attempt, after the policy's delay.
    Retry(Class),
    /// Worth another attempt, not before this long: the target, or the breaker, said so.
    RetryAfter(Class, Duration),
}

impl Class {
    /// All of them.
    pub const ALL: [Class; Class::COUNT] = [
        Class::Connect,
        Class::Transient,
        Class::Throttled,
        Class::Local,
    ];

    pub(crate) const COUNT: usize = 4;

    /// Returns the class's name: `connect`, `transient`, `throttled` or `local`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::Connect => "connect",
            Class::Transient => "transient",
            Class::Throttled => "throttled",
            Class::Local => "local",
        }
    }

    /// Returns the place of the class in tables.
    #[cfg(feature = "std")]
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Disposition {
    /// A failure of the moment, to be retried after the policy's delay.
    pub const TRANSIENT: Disposition = Disposition::Retry(Class::Transient);
}
