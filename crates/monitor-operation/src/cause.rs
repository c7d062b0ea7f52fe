//! Why an operation was cancelled.

use std::fmt;

/// Why an operation was told to end early.
///
/// All but [`Deadline`](Cause::Deadline) normally come with a fence, after which the operation's
/// result is refused. A deadline cancels one operation alone, and that operation may still commit
/// what it knows: that it ran out of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Cause {
    /// The key is no longer worked on.
    Stopped = 1,
    /// The key was paused.
    Paused = 2,
    /// What the operation works from was changed.
    Edited = 3,
    /// The key was deleted.
    Deleted = 4,
    /// Newer work took the operation's place.
    Superseded = 5,
    /// The operation used up its time.
    Deadline = 6,
    /// The process is going down.
    Shutdown = 7,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Cause; 7] = [
        Cause::Stopped,
        Cause::Paused,
        Cause::Edited,
        Cause::Deleted,
        Cause::Superseded,
        Cause::Deadline,
        Cause::Shutdown,
    ];

    /// Returns the cause in snake case, for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::Stopped => "stopped",
            Cause::Paused => "paused",
            Cause::Edited => "edited",
            Cause::Deleted => "deleted",
            Cause::Superseded => "superseded",
            Cause::Deadline => "deadline",
            Cause::Shutdown => "shutdown",
        }
    }

    /// The non-zero code under which a cause fits into a word beside other things.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    /// The cause of a code; zero, and what no cause has, means none.
    pub(crate) fn from_code(code: u8) -> Option<Cause> {
        Self::ALL.into_iter().find(|cause| cause.code() == code)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
