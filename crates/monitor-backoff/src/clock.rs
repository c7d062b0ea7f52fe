//! The one place that reads a clock.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

/// One origin for the whole process, because callers that share a budget share its time.
static ORIGIN: OnceLock<Instant> = OnceLock::new();

fn since_origin(instant: Instant) -> Duration {
    instant.saturating_duration_since(*ORIGIN.get_or_init(|| instant))
}

/// Returns the time since an origin that the whole process shares: the time that the drivers of this
/// crate go by. A loop of your own around [`Attempts`](crate::Attempts) needs it where it shares a
/// [`RetryBudget`](crate::RetryBudget) with them.
///
/// # Examples
/// ```
/// let earlier = monitor_backoff::process_time();
/// assert!(monitor_backoff::process_time() >= earlier);
/// ```
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the blocking driver has no runtime's clock"
)]
pub fn process_time() -> Duration {
    since_origin(Instant::now())
}

/// The same by tokio's clock, which tests can pause.
#[cfg(feature = "tokio")]
pub(crate) fn tokio_now() -> Duration {
    since_origin(tokio::time::Instant::now().into_std())
}
