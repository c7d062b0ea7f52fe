//! How a shutdown went.

use std::{fmt, sync::Arc, time::Duration};

use crate::Phase;

/// What became of a shutdown handler.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandlerOutcome {
    /// It came to its end.
    Finished,
    /// It returned an error: the error with its sources.
    Failed(String),
    /// It panicked: the message.
    Panicked(String),
    /// It did not end in its time or by the deadline, and was dropped.
    TimedOut,
    /// The deadline had passed before its turn came. It was dropped without being run.
    Skipped,
}

impl fmt::Display for HandlerOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Panicked(message) => write!(f, "panicked: {message}"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Skipped => f.write_str("skipped"),
        }
    }
}

/// One handler in a [`ShutdownReport`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerReport {
    /// Its name.
    pub name: Arc<str>,
    /// Its phase.
    pub phase: Phase,
    /// What became of it.
    pub outcome: HandlerOutcome,
    /// How long it took.
    pub took: Duration,
    /// Whether it was going on at the end all the same: it blocks its thread.
    pub still_running: bool,
}

/// What became of every handler, in the order of their turns.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The handlers.
    pub handlers: Vec<HandlerReport>,
    /// How long it took from the first call on.
    pub took: Duration,
}

impl ShutdownReport {
    /// Returns whether every handler finished: nothing failed, and nothing is left over.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.unclean().next().is_none()
    }

    /// Returns the handlers that did not finish.
    pub fn unclean(&self) -> impl Iterator<Item = &HandlerReport> {
        let handlers = self.handlers.iter();
        handlers.filter(|handler| handler.outcome != HandlerOutcome::Finished)
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let finished = self.handlers.len() - self.unclean().count();
        write!(f, "{finished} of {} finished", self.handlers.len())?;
        for handler in self.unclean() {
            let going_on = if handler.still_running {
                " and goes on"
            } else {
                ""
            };
            write!(f, "; {} {}{going_on}", handler.name, handler.outcome)?;
        }
        Ok(())
    }
}
