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

/// The time since the origin.
#[expect(
    clippy::disallowed_methods,
    reason = "the blocking driver has no runtime's clock"
)]
pub(crate) fn now() -> Duration {
    since_origin(Instant::now())
}

/// The same, as tokio sees it, whose clock tests can pause.
#[cfg(feature = "tokio")]
pub(crate) fn tokio_now() -> Duration {
    since_origin(tokio::time::Instant::now().into_std())
}
