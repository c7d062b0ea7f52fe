//! What a tick says, and what became of it.

use std::{any::Any, error::Error, fmt, panic::AssertUnwindSafe};

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What a check found. That it is unhealthy is a value, not an error, and counts like one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// All is well.
    #[default]
    Healthy,
    /// Something is not, by name.
    Unhealthy {
        /// The checks that fail.
        failing: Vec<String>,
    },
}

impl Health {
    /// Makes it of the names of the checks that fail: none is healthy.
    pub fn of<N: Into<String>>(failing: impl IntoIterator<Item = N>) -> Self {
        let failing: Vec<String> = failing.into_iter().map(Into::into).collect();
        match failing.is_empty() {
            true => Self::Healthy,
            false => Self::Unhealthy { failing },
        }
    }
}

/// What a tick may return: `()`, [`Health`], or a `Result` of either.
pub trait Report: Send + 'static {
    /// Makes an outcome of it.
    fn outcome(self) -> Outcome;
}

impl Report for () {
    fn outcome(self) -> Outcome {
        Outcome::Healthy
    }
}

impl Report for Health {
    fn outcome(self) -> Outcome {
        match self {
            Self::Healthy => Outcome::Healthy,
            Self::Unhealthy { failing } => Outcome::Unhealthy { failing },
        }
    }
}

impl<R: Report, E: Into<BoxError> + Send + 'static> Report for Result<R, E> {
    fn outcome(self) -> Outcome {
        match self {
            Ok(report) => report.outcome(),
            Err(error) => Outcome::Error {
                chain: chain(&*error.into()),
            },
        }
    }
}

/// What became of a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// All is well.
    Healthy,
    /// It said that something is not.
    Unhealthy {
        /// The checks that fail.
        failing: Vec<String>,
    },
    /// It returned an error.
    Error {
        /// The error and its sources, in that order, with ": " between them.
        chain: String,
    },
    /// It panicked.
    Panicked {
        /// The message.
        message: String,
    },
    /// It did not return in time, and was dropped.
    TimedOut,
}

impl Outcome {
    /// Returns the kind of failure; `None` when it is none.
    #[must_use]
    pub fn failure(&self) -> Option<FailureKind> {
        match self {
            Self::Healthy => None,
            Self::Unhealthy { .. } => Some(FailureKind::Unhealthy),
            Self::Error { .. } => Some(FailureKind::Error),
            Self::Panicked { .. } => Some(FailureKind::Panic),
            Self::TimedOut => Some(FailureKind::Timeout),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Healthy => f.write_str("healthy"),
            Self::Unhealthy { failing } => write!(f, "unhealthy: {}", failing.join(", ")),
            Self::Error { chain } => write!(f, "error: {chain}"),
            Self::Panicked { message } => write!(f, "panic: {message}"),
            Self::TimedOut => f.write_str("timeout"),
        }
    }
}

/// How a tick can fail. All kinds count the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    /// It said that something is not well.
    Unhealthy,
    /// It returned an error.
    Error,
    /// It panicked.
    Panic,
    /// It did not return in time.
    Timeout,
}

impl FailureKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Unhealthy, Self::Error, Self::Panic, Self::Timeout];

    /// Returns the name, in lower case: a label of metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unhealthy => "unhealthy",
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Timeout => "timeout",
        }
    }
}

/// The most characters that are kept of an error or a panic's message.
const MAX_CHARS: usize = 1024;

/// An error with its sources. A chain that never ends is cut.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        if text.len() > MAX_CHARS {
            break;
        }
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    cut(text)
}

/// What a panic said. The payload may panic in turn when it is dropped; that ends here.
pub(crate) fn panic_message(payload: Box<dyn Any + Send>) -> String {
    let message = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message")
        .to_owned();
    drop_contained(payload);
    cut(message)
}

/// Drops what users gave, whose destructors may panic, and so may what they panic with.
pub(crate) fn drop_contained<T>(value: T) {
    let mut payload = std::panic::catch_unwind(AssertUnwindSafe(|| drop(value))).err();
    while let Some(last) = payload.take() {
        payload = std::panic::catch_unwind(AssertUnwindSafe(|| drop(last))).err();
    }
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_CHARS) {
        text.truncate(end);
    }
    text
}
