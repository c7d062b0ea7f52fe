//! What happened, in the order in which it was committed.

use monitor_operation::{Cause, Epoch};

use crate::{Lifecycle, MonitorId, Outcome, Record, Status};

/// Something that happened. What happened to a monitor is told after it was committed and never
/// before.
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
    /// A monitor's verdicts change so often that none of them says much, or they do not any more.
    Flapping {
        /// Whose verdicts.
        monitor: MonitorId,
        /// Whether they do.
        is_flapping: bool,
        /// The weighed share of changes among the last verdicts, in per cent.
        percent: u32,
    },
    /// Something changed about a pool of connections that probes share.
    Pool {
        /// Its name.
        pool: String,
        /// What.
        change: PoolChange,
    },
    /// The process is harder pressed than before, or less.
    Pressure {
        /// What by: a resource, or `process` for all of them together.
        source: String,
        /// The level it comes from, as in metrics.
        from: &'static str,
        /// The level it is at now.
        to: &'static str,
        /// What was seen, in words: how much of which limit.
        detail: String,
    },
}

/// What changed about a pool of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolChange {
    /// Connecting fails; it worked before, or was not tried.
    Unreachable {
        /// Why, as its error says.
        error: String,
    },
    /// Connecting works again.
    Reachable,
    /// A connection has been out for longer than is usual.
    Leaked {
        /// Who holds it, since when.
        holder: String,
    },
    /// Many callers wait for a connection.
    QueueLong {
        /// How many, when it was looked at.
        waiting: usize,
    },
    /// Few wait again.
    QueueShort {
        /// How many, when it was looked at.
        waiting: usize,
    },
    /// It was closed.
    Closed {
        /// Connections that were still out or not yet closed.
        left: usize,
    },
}

impl PoolChange {
    /// The name in JSON and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Reachable => "reachable",
            Self::Leaked { .. } => "leaked",
            Self::QueueLong { .. } => "queue_long",
            Self::QueueShort { .. } => "queue_short",
            Self::Closed { .. } => "closed",
        }
    }

    /// What there is to say beyond the name.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Unreachable { error } => Some(error.clone()),
            Self::Leaked { holder } => Some(holder.clone()),
            Self::QueueLong { waiting } | Self::QueueShort { waiting } => {
                Some(format!("{waiting} wait"))
            }
            Self::Closed { left } if *left > 0 => Some(format!("{left} connections were left")),
            Self::Reachable | Self::Closed { .. } => None,
        }
    }
}

impl EventKind {
    /// The monitor it happened to, if it was one.
    #[must_use]
    pub const fn monitor(&self) -> Option<&MonitorId> {
        match self {
            Self::Committed { record, .. } => Some(&record.monitor),
            Self::Fenced { monitor, .. }
            | Self::Defined { monitor, .. }
            | Self::Lifecycle { monitor, .. }
            | Self::Flapping { monitor, .. }
            | Self::Deleted { monitor } => Some(monitor),
            Self::Pool { .. } | Self::Pressure { .. } => None,
        }
    }
}
