//! Why there is no further attempt.

use std::time::Duration;

use crate::BudgetExhausted;

/// What was given up, and why.
///
/// The last error is kept; [`source`](std::error::Error::source) returns it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("gave up after attempt {attempts}: {stop}")]
#[non_exhaustive]
pub struct RetryError<E> {
    /// What the last attempt failed with.
    #[source]
    pub last: E,
    /// Why it was the last.
    pub stop: Stop,
    /// How many attempts were made, the first included.
    pub attempts: u32,
    /// How long was waited between them, altogether.
    pub waited: Duration,
}

/// Why there is no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Stop {
    /// The error will not go away by itself.
    #[error("the error is permanent")]
    Permanent,
    /// All attempts were made.
    #[error("max_attempts is {max_attempts}")]
    Exhausted {
        /// How many there may be.
        max_attempts: u32,
    },
    /// The next attempt could not end before the deadline, so it was not waited for.
    #[error("the next attempt needs {needed:?} and the deadline is in {left:?}")]
    Deadline {
        /// The delay before the next attempt and the least time it takes.
        needed: Duration,
        /// What is left until the deadline.
        left: Duration,
    },
    /// This process has retried enough: the target had no part in it.
    #[error("{0}")]
    BudgetExhausted(BudgetExhausted),
    /// The target does not want a retry, or not for longer than is worth waiting.
    #[error("the target asked for no retry{}", for_how_long(*retry_after, *limit))]
    PushBack {
        /// How long it wants to be left alone; `None` is for good.
        retry_after: Option<Duration>,
        /// The longest that is waited for.
        limit: Duration,
    },
}

impl Stop {
    /// Returns whether this process decided, without the target's doing.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        matches!(self, Stop::BudgetExhausted(_))
    }

    /// Returns a name for metrics: `permanent`, `exhausted`, `deadline`, `budget` or `push_back`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Stop::Permanent => "permanent",
            Stop::Exhausted { .. } => "exhausted",
            Stop::Deadline { .. } => "deadline",
            Stop::BudgetExhausted(_) => "budget",
            Stop::PushBack { .. } => "push_back",
        }
    }
}

fn for_how_long(retry_after: Option<Duration>, limit: Duration) -> String {
    retry_after.map_or_else(String::new, |wait| {
        format!(" for {wait:?}, longer than max_push_back of {limit:?}")
    })
}
