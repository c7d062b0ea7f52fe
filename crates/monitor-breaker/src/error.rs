//! What can go wrong: a configuration, and an admission.

use std::time::Duration;

use crate::State;

/// Why [`Builder::build`](crate::Builder::build) refused a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number that must be at least 1.
    #[error("{field} is 0; it must be at least 1")]
    ZeroCount {
        /// The setting's name.
        field: &'static str,
    },
    /// A time that must be longer than zero.
    #[error("{field} is 0 s; it must be longer")]
    ZeroDuration {
        /// The setting's name.
        field: &'static str,
    },
}

/// The breaker refused the call: the target was not touched, and nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("circuit {state}: no call is admitted for another {retry_after:?}")]
#[non_exhaustive]
pub struct Rejected {
    /// Open, or half-open with every trial taken.
    pub state: State,
    /// After this long a call has a chance again: the open interval is over, or the oldest trial
    /// overdue. A trial that ends sooner makes room sooner.
    pub retry_after: Duration,
}
