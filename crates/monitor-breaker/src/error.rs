//! What can go wrong: a configuration, and an admission.

use std::time::Duration;

use crate::State;

/// Why [`Builder::build`](crate::Builder::build) refused a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A setting that is outside of its range.
    #[error("{field} is {value}; it must be {range}")]
    OutOfRange {
        /// The setting's name.
        field: &'static str,
        /// What it was set to.
        value: String,
        /// What it must be, both ends included.
        range: &'static str,
    },
    /// Two settings that cannot both hold.
    #[error("{field} is {value} and {other} is {other_value}; {rule}")]
    Contradiction {
        /// One setting's name.
        field: &'static str,
        /// What it was set to.
        value: String,
        /// The other setting's name.
        other: &'static str,
        /// What that was set to.
        other_value: String,
        /// How they must relate.
        rule: &'static str,
    },
}

/// The breaker refused the call: the target was not touched, and nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("circuit {state}: {}", outlook(*.retry_after))]
#[non_exhaustive]
pub struct Rejected {
    /// Open, half-open with every trial taken, or recovering.
    pub state: State,
    /// After this long a call has a chance again: the open interval is over, or the oldest trial
    /// overdue. A trial that ends sooner makes room sooner. Zero while recovering: the very next
    /// call may be admitted.
    pub retry_after: Duration,
}

fn outlook(retry_after: Duration) -> String {
    if retry_after.is_zero() {
        "this call was not admitted, the next one may be".to_owned()
    } else {
        format!("no call is admitted for another {retry_after:?}")
    }
}

/// A [`Rejected`] before its time is made a duration: on the way out of the fast path that costs
/// more than the refusal, and mostly nobody looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) state: State,
    pub(crate) retry_after_nanos: u64,
}

impl From<Refusal> for Rejected {
    #[inline]
    fn from(refusal: Refusal) -> Rejected {
        Rejected {
            state: refusal.state,
            retry_after: Duration::from_nanos(refusal.retry_after_nanos),
        }
    }
}
