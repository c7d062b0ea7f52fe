//! The handle.

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use monitor_operation::{Epoch, Fence, Operations};

use crate::{Completion, Config, Observer, ProbeStatus, Run, ScheduleError, Spec, Status};

/// Runs each key when it is due, never two runs of one key at once.
pub struct Scheduler<K> {
    shared: Arc<K>,
}

/// What [`Scheduler::schedule`] did.
#[derive(Debug)]
pub enum Scheduled {
    /// The key is new.
    Created {
        /// Its epoch.
        epoch: Epoch,
    },
    /// The key was there; its runs of before were fenced as edited.
    Updated {
        /// The fence, with the new epoch.
        fence: Fence,
    },
}

impl Scheduled {
    /// Returns the epoch under which the key runs from now on.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Created { epoch } => *epoch,
            Self::Updated { fence } => fence.epoch(),
        }
    }
}

/// What a manual trigger came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TriggerOutcome {
    /// A run is being started.
    Started,
    /// The key waits for a permit.
    Queued,
    /// A run is going on or waits for a permit; one more follows the one that is going on,
    /// however often it is triggered meanwhile.
    Coalesced,
    /// Every permit is taken and the key may not wait for one. Its timer stays as it was.
    Skipped,
    /// The key is paused; nothing was done.
    Paused,
    /// There is no such key.
    Unknown,
    /// The scheduler is shut down.
    ShutDown,
}

/// What a shutdown came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport<K> {
    /// How many runs ended by themselves within the grace.
    pub finished: usize,
    /// The keys whose run was fenced and aborted when the grace was over.
    pub aborted: Vec<K>,
}

#[allow(unused_variables, missing_docs)]
impl<K: Clone + Eq + Hash + Send + Sync + 'static> Scheduler<K> {
    pub fn new(config: Config, operations: Operations<K>, observer: Arc<dyn Observer<K>>) -> Self {
        todo!()
    }
    pub fn schedule<H, F>(&self, key: K, spec: Spec, handler: H) -> Result<Scheduled, ScheduleError>
    where
        H: Fn(Run<K>) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Completion>> + Send + 'static,
    {
        todo!()
    }
    /// Adds or updates a key that stays paused until `resume`.
    pub fn schedule_paused<H, F>(
        &self,
        key: K,
        spec: Spec,
        handler: H,
    ) -> Result<Scheduled, ScheduleError>
    where
        H: Fn(Run<K>) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Completion>> + Send + 'static,
    {
        todo!()
    }
    pub fn cancel(&self, key: &K) -> Option<Fence> {
        todo!()
    }
    pub async fn cancel_and_wait(&self, key: &K) -> bool {
        todo!()
    }
    pub fn pause(&self, key: &K) -> Option<Fence> {
        todo!()
    }
    pub fn resume(&self, key: &K) -> bool {
        todo!()
    }
    pub fn trigger(&self, key: &K) -> TriggerOutcome {
        todo!()
    }
    pub fn reset_backoff(&self, key: &K) -> bool {
        todo!()
    }
    pub fn clear(&self) -> usize {
        todo!()
    }
    pub fn set_max_concurrent(&self, limit: std::num::NonZeroUsize) {
        todo!()
    }
    pub fn status(&self) -> Status<K> {
        todo!()
    }
    pub fn probe_status(&self, key: &K) -> Option<ProbeStatus<K>> {
        todo!()
    }
    pub async fn shutdown(&self, grace: Duration) -> ShutdownReport<K> {
        todo!()
    }
    pub fn operations(&self) -> &Operations<K> {
        todo!()
    }
    /// The time since the scheduler was made.
    pub fn now(&self) -> Duration {
        todo!()
    }
}

impl<K> Clone for Scheduler<K> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K> fmt::Debug for Scheduler<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").finish_non_exhaustive()
    }
}
