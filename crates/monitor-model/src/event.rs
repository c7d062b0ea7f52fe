//! What happened, in the order in which it was committed.

use monitor_operation::{Cause, Epoch};

use crate::{Lifecycle, MonitorId, Outcome, Record, Status};

/// Something that happened to a monitor, told after it was committed and never before.
#[derive(Debug, Clone)]
pub struct Event {
    /// Rises by one with every event of this process. A gap means that events were lost on the
    /// way to a slow reader, who then reads the present state anew.
    pub sequence: u64,
    /// What happened.
    pub kind: EventKind,
}

/// The kinds of event.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EventKind {
    /// A record was committed.
    Committed {
        /// The record.
        record: Box<Record>,
        /// The state after it.
        status: Box<Status>,
        /// The verdict before it, when this one differs.
        changed_from: Option<Option<Outcome>>,
    },
    /// A result arrived whose right to write was gone. Nothing was written.
    Fenced {
        /// Whose result it was.
        monitor: MonitorId,
        /// Why the right was gone.
        cause: Cause,
    },
    /// A monitor was added or edited.
    Defined {
        /// Which.
        monitor: MonitorId,
        /// The epoch from now on.
        epoch: Epoch,
    },
    /// A monitor was paused or resumed.
    Lifecycle {
        /// Which.
        monitor: MonitorId,
        /// What it is now.
        lifecycle: Lifecycle,
        /// The epoch from now on.
        epoch: Epoch,
    },
    /// A monitor was deleted.
    Deleted {
        /// Which.
        monitor: MonitorId,
    },
}

impl EventKind {
    /// The monitor it happened to.
    #[must_use]
    pub const fn monitor(&self) -> &MonitorId {
        match self {
            Self::Committed { record, .. } => &record.monitor,
            Self::Fenced { monitor, .. }
            | Self::Defined { monitor, .. }
            | Self::Lifecycle { monitor, .. }
            | Self::Deleted { monitor } => monitor,
        }
    }
}
