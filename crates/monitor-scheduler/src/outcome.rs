//! What calls of the scheduler come to.

use monitor_operation::{Epoch, Fence};

/// What [`Scheduler::schedule`](crate::Scheduler::schedule) did.
#[derive(Debug)]
pub enum Scheduled {
    /// The key is new.
    Created {
        /// The epoch under which it runs.
        epoch: Epoch,
    },
    /// The key was there; its runs of before are fenced as edited.
    Updated {
        /// The fence, with the epoch under which it runs from now on.
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

    /// Returns whether the key is new.
    #[must_use]
    pub fn is_created(&self) -> bool {
        matches!(self, Self::Created { .. })
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
    /// A run is going on or waits for a permit. After one that is going on there will be one
    /// more, however often the key is triggered meanwhile.
    Coalesced,
    /// Every permit is taken and the key may not wait for one, as a paused key never may. Its timer
    /// stays as it was.
    Skipped,
    /// There is no such key.
    Unknown,
    /// The scheduler is shut down.
    ShutDown,
}

impl TriggerOutcome {
    /// Returns whether a run follows from the trigger, as soon as may be.
    #[must_use]
    pub const fn will_run(self) -> bool {
        matches!(self, Self::Started | Self::Queued | Self::Coalesced)
    }
}

/// What a shutdown came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport<K> {
    /// How many of the runs that were going on ended by themselves within the grace.
    pub finished: usize,
    /// The keys whose run was fenced and aborted when the grace was over.
    pub aborted: Vec<K>,
}
