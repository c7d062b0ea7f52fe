//! The runs that are going on, as far as it takes to cancel and to abort them.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use monitor_operation::{Canceller, Cause, Epoch, Key, OperationId};
use tokio::task::AbortHandle;

use crate::kernel::RunId;

/// Runs by their serial.
pub(super) struct LiveRuns<K>(HashMap<u64, Live<K>, BuildHasherDefault<SerialHasher>>);

pub(super) struct Live<K> {
    pub(super) key: Key<K>,
    pub(super) operation: OperationId,
    pub(super) epoch: Epoch,
    /// None when its handler has ended.
    pub(super) canceller: Option<Canceller>,
    pub(super) place: Place,
}

/// Where a handler runs.
pub(super) enum Place {
    /// On the thread of a driver, so far.
    Thread,
    Task(AbortHandle),
    /// It was to be aborted before it became a task.
    Aborted,
}

impl<K> LiveRuns<K> {
    pub(super) fn new() -> Self {
        Self(HashMap::default())
    }

    pub(super) fn insert(&mut self, run: RunId, live: Live<K>) {
        self.0.insert(run.serial, live);
    }

    pub(super) fn get(&self, run: RunId) -> Option<&Live<K>> {
        self.0.get(&run.serial)
    }

    /// Its handler has ended.
    pub(super) fn remove(&mut self, run: RunId) {
        /// As many as run in one turn.
        const FEW: usize = 1024;
        self.0.remove(&run.serial);
        // A table that was big once is slow for a few: they lie far apart in it.
        let room = self.0.capacity();
        if room > FEW && self.0.len() < room / 16 {
            self.0.shrink_to(room / 4);
        }
    }

    pub(super) fn cancel(&self, run: RunId, cause: Cause) {
        if let Some(canceller) = self.get(run).and_then(|live| live.canceller.as_ref()) {
            canceller.cancel(cause);
        }
    }

    pub(super) fn abort(&mut self, run: RunId) {
        let Some(live) = self.0.get_mut(&run.serial) else {
            return;
        };
        tracing::warn!(operation = %live.operation, "a run was overdue and is aborted");
        match &live.place {
            Place::Task(task) => task.abort(),
            Place::Thread | Place::Aborted => live.place = Place::Aborted,
        }
    }

    /// The run goes on as a task of its own.
    pub(super) fn goes_on(&mut self, run: RunId, task: AbortHandle) {
        let Some(live) = self.0.get_mut(&run.serial) else {
            return;
        };
        match live.place {
            Place::Aborted => task.abort(),
            Place::Thread | Place::Task(_) => live.place = Place::Task(task),
        }
    }
}

/// Serials are never used twice: a factor is enough to spread them.
#[derive(Default)]
struct SerialHasher(u64);

impl Hasher for SerialHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, serial: u64) {
        self.0 = (self.0 ^ serial).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
