//! What tells the holder of a job to stop, and why.

use std::sync::Arc;

use tokio::sync::watch;

/// Why whoever works on a job must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stop {
    /// Somebody asked for the end of the job.
    Requested,
    /// Its worker could not beat for so long that others may have taken the job.
    LeaseExpired,
    /// Its worker's registration is no more: the job is another's.
    Fenced,
    /// Its attempt took longer than it may.
    TimedOut,
    /// Its worker ends.
    Shutdown,
}

/// Fires once; the first reason stands.
#[derive(Debug, Clone)]
pub(crate) struct Signal(Arc<watch::Sender<Option<Stop>>>);

impl Signal {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    pub(crate) fn fire(&self, stop: Stop) {
        self.0.send_if_modified(|fired| {
            let first = fired.is_none();
            fired.get_or_insert(stop);
            first
        });
    }

    /// Whether nobody else has it any more.
    pub(crate) fn is_last(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    pub(crate) fn fired(&self) -> Option<Stop> {
        *self.0.borrow()
    }

    pub(crate) async fn wait(&self) -> Stop {
        let mut fired = self.0.subscribe();
        loop {
            if let Some(stop) = *fired.borrow_and_update() {
                return stop;
            }
            if fired.changed().await.is_err() {
                // The sender is in `self`.
                std::future::pending::<()>().await;
            }
        }
    }
}
