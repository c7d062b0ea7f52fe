//! What a handler is given, and what it gives back.

use std::{fmt, sync::Arc, time::Duration};

use monitor_backoff::Verdict;
use monitor_operation::Operation;
use tokio::time::Instant;

/// A due time: the nominal slot, before jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Due {
    /// Since the scheduler was made.
    pub at: Duration,
    /// In unix time, by the clock as it was when the scheduler was made.
    pub unix: Duration,
}

/// What set a run off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// Its schedule.
    Timer,
    /// [`Scheduler::trigger`](crate::Scheduler::trigger).
    Manual,
}

/// One run of a key, handed to its handler.
#[derive(Debug)]
#[non_exhaustive]
pub struct Run<K> {
    /// The right to commit the result.
    pub operation: Operation<K>,
    /// The due time the run is for.
    pub due: Due,
    /// When it was started, since the scheduler was made.
    pub started: Duration,
    /// What set it off.
    pub trigger: Trigger,
    /// When it will be cancelled.
    pub deadline: Instant,
    /// The key itself: see [`Claim`].
    pub claim: Claim,
}

/// The right of a run to its key.
///
/// The key is free for its next run only when its handler has ended and every clone of the claim
/// is dropped. Give a clone to work that goes on after the handler, in another thread say, and the
/// two can never overlap with the next run.
#[derive(Clone)]
#[must_use = "dropping the last claim lets the key run again"]
pub struct Claim(
    #[expect(dead_code, reason = "held to be dropped")] pub(crate) Arc<dyn Send + Sync>,
);

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claim")
    }
}

/// What a handler says about its run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completion {
    /// What the run says about the target.
    pub verdict: Verdict,
    /// The key does not run again on its timer before this time, since the scheduler was made.
    pub not_before: Option<Duration>,
    /// What went wrong, for the status: at most [`Completion::MAX_ERROR`] bytes, without control
    /// characters. Keep secrets out of it.
    pub error: Option<String>,
}

impl Completion {
    /// How many bytes of an error text are kept.
    pub const MAX_ERROR: usize = 512;

    /// Makes the completion of a run with this verdict.
    #[must_use]
    pub fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            not_before: None,
            error: None,
        }
    }

    /// Sets the time, since the scheduler was made, before which the key is not run by its timer.
    #[must_use]
    pub fn not_before(mut self, at: Duration) -> Self {
        self.not_before = Some(at);
        self
    }

    /// Sets the error text, cut to [`MAX_ERROR`](Completion::MAX_ERROR) bytes between two
    /// characters, control characters replaced by spaces.
    #[must_use]
    pub fn error(mut self, text: impl AsRef<str>) -> Self {
        self.error = Some(clip(text.as_ref()));
        self
    }
}

impl From<Verdict> for Completion {
    fn from(verdict: Verdict) -> Self {
        Self::new(verdict)
    }
}

/// Cuts a text to what may be kept of it.
pub(crate) fn clip(text: &str) -> String {
    let end = text.floor_char_boundary(Completion::MAX_ERROR);
    // A control character may be of two bytes, so the text only gets shorter.
    text[..end]
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
