//! What the kernel asks of a handler: which key it is for, and no more.

use std::hash::Hash;

use monitor_operation::{Epoch, Key};

/// A handler that knows its key. Cheap to clone.
pub(crate) trait Keyed: Clone {
    type Key: Eq + Hash;

    /// The key for which it runs.
    fn key(&self) -> &Self::Key;

    /// The epoch that its key has come to: a label for reports, no right to anything.
    fn epoch(&self) -> Epoch;

    /// Reads what is needed to start it.
    fn warm(&self);
}

impl<K: Eq + Hash> Keyed for Key<K> {
    type Key = K;

    fn key(&self) -> &K {
        self.get()
    }

    fn epoch(&self) -> Epoch {
        self.last_epoch()
    }

    fn warm(&self) {
        Key::warm(self);
    }
}
