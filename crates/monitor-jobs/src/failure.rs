//! What a handler says when it fails.

use std::error::Error;
use std::time::Duration;

use monitor_fault::{Blame, Category, Fault, Layer};

/// Why an attempt failed. Made from any error by `?`, or from a text.
///
/// An error is classified by its type and codes; a [`Fault`] in its chain is taken as it is.
#[derive(Debug, Clone)]
pub struct Failure {
    pub(crate) message: String,
    pub(crate) category: Category,
    pub(crate) permanent: bool,
    pub(crate) retry_after: Option<Duration>,
    /// Whether it says something about the worker: see [`WorkerState`](crate::WorkerState).
    pub(crate) own: bool,
}

impl Failure {
    /// A failure that may pass.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            category: Category::Assertion,
            permanent: false,
            retry_after: None,
            own: false,
        }
    }

    /// A failure that trying again would not change: the job is dead, whatever attempts are left.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self {
            permanent: true,
            ..Self::new(message)
        }
    }

    /// Of that category, which the retry policy may treat in its own way.
    #[must_use]
    pub fn category(self, category: Category) -> Self {
        Self { category, ..self }
    }

    /// Not again before that long.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..self
        }
    }

    pub(crate) fn own(message: String, category: Category) -> Self {
        Self {
            own: true,
            ..Self::new(message).category(category)
        }
    }

    fn of(fault: &Fault, message: String) -> Self {
        Self {
            message,
            category: fault.category(),
            permanent: !fault.is_retryable(),
            retry_after: fault.retry_after(),
            own: fault.blame() == Blame::Prober && fault.category() != Category::Configuration,
        }
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let fault = Fault::classify(&error, Layer::Process);
        Self::of(&fault, error.to_string())
    }
}
