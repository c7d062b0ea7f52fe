//! Timing the phases of one check.

use monitor_model::{Phase, Progress};
use tokio::time::Instant;

/// A stopwatch that reports each phase when it ends, so that a check which is cut off later keeps
/// the phases that it has behind it.
pub(crate) struct Lap<'a> {
    progress: &'a Progress,
    since: Instant,
}

impl<'a> Lap<'a> {
    pub(crate) fn start(progress: &'a Progress) -> Self {
        Self {
            progress,
            since: Instant::now(),
        }
    }

    /// Ends `phase` now; the next one begins at the same instant.
    pub(crate) fn end(&mut self, phase: Phase) {
        let now = Instant::now();
        self.progress
            .record(phase, now.saturating_duration_since(self.since));
        self.since = now;
    }

    /// Says that another phase was timed elsewhere and ended at `instant`.
    #[cfg(feature = "http")]
    pub(crate) fn resume_at(&mut self, instant: Instant) {
        self.since = instant;
    }
}
