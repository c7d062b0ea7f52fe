//! One epoch of one key, shared by all operations that began under it.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::{
    Cause, Epoch,
    gate::Gate,
    sync::{AtomicUsize, Ordering},
};

/// What the operations of one epoch have in common. Fencing it fences them all at once, however
/// many they are: they look here, it does not look for them.
pub(crate) struct Generation {
    pub(crate) epoch: Epoch,
    pub(crate) gate: Gate,
    /// Open operations of this epoch. Changed under the registry's lock only.
    pub(crate) open: AtomicUsize,
    /// Rung when the gate is fenced, when its last commit leaves, and when one of its operations
    /// is cancelled. Whoever waits looks again at what he waits for.
    pub(crate) changed: Notify,
}

impl Generation {
    pub(crate) fn new(epoch: Epoch) -> Arc<Self> {
        Arc::new(Self {
            epoch,
            gate: Gate::new(),
            open: AtomicUsize::new(0),
            changed: Notify::new(),
        })
    }

    pub(crate) fn is_current(&self) -> bool {
        self.gate.cause().is_none()
    }

    pub(crate) fn cause(&self) -> Option<Cause> {
        self.gate.cause()
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Waits until `done` returns something. Nothing is lost when the future is dropped.
    pub(crate) async fn until<T>(&self, done: impl Fn() -> Option<T>) -> T {
        loop {
            // Enlisted before the look, or a change between the look and the wait would be missed.
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if let Some(done) = done() {
                return done;
            }
            changed.await;
        }
    }
}
