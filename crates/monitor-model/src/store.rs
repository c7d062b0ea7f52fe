//! Where monitors, their states and their history live.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use monitor_operation::Epoch;
use serde::{Deserialize, Serialize};

use crate::{
    Bucket, Defect, Delivery, Incident, Lifecycle, MonitorId, Outbox, Outcome, Record, Resolution,
    Settlement, Status, Tally, Trigger,
};

/// Who defines a monitor, and therefore where it is edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The configuration file.
    File,
    /// The HTTP API or an embedding program.
    Api,
}

impl Source {
    /// The name in JSON and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Api => "api",
        }
    }
}

/// The definition of a monitor as a store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitor {
    /// Its id.
    pub id: MonitorId,
    /// Its name as shown to people.
    pub name: String,
    /// Who defines it.
    pub source: Source,
    /// What is checked and how, as JSON. A store keeps it to the letter and never looks inside.
    pub spec: String,
}

/// A monitor with its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The definition.
    pub monitor: Monitor,
    /// The state. Its epoch is the right to write.
    pub status: Status,
    /// The record whose last slot is the latest of all: where the history ends, in whichever order
    /// the records were written.
    pub last_due: Option<LastDue>,
    /// From when its due times count, in unix milliseconds: when it was last resumed. Those before
    /// were promised to nobody. `None`: all of them, for it never was.
    pub due_from_unix_ms: Option<i64>,
}

/// Where the history of a monitor ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastDue {
    /// The first due time of the last record, in unix milliseconds.
    pub due_unix_ms: i64,
    /// How many due times that record stands for.
    pub slots: u32,
    /// Their distance in milliseconds.
    pub interval_ms: i64,
}

impl LastDue {
    /// The due times that `record` stands for.
    #[must_use]
    pub const fn of(record: &Record) -> Self {
        Self {
            due_unix_ms: record.due_unix_ms,
            slots: record.slots,
            interval_ms: record.interval_ms,
        }
    }

    /// The last of those due times, in unix milliseconds.
    #[must_use]
    pub const fn end_unix_ms(&self) -> i64 {
        let more = self.slots.saturating_sub(1) as i64;
        self.due_unix_ms
            .saturating_add(more.saturating_mul(self.interval_ms))
    }
}

/// All that a store knows at start-up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The monitors, ordered by id.
    pub monitors: Vec<Stored>,
    /// The last epochs of deleted monitors: an id that is used again goes on from there, so that
    /// nothing of its former life can write.
    pub graves: Vec<(MonitorId, Epoch)>,
}

/// A line of history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    /// Rises with every commit of the store.
    pub sequence: u64,
    /// What was committed.
    pub record: Record,
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// Written: history, status, counts, incident and notice, all of them.
    Applied(Applied),
    /// Nothing was written.
    Refused(Refusal),
}

impl Commit {
    /// Whether it was written. False for every [`Refusal`].
    #[must_use]
    pub const fn is_applied(&self) -> bool {
        matches!(self, Self::Applied(_))
    }
}

/// What a commit wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Rises with every commit of the store.
    pub sequence: u64,
    /// The verdict before this one.
    pub previous: Option<Outcome>,
    /// The state now.
    pub status: Status,
    /// The incident that this record opened or closed, if it did; there is a notice of it then.
    pub incident: Option<Box<Incident>>,
}

/// Why a commit was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The monitor has another epoch by now: it was paused, edited or resumed.
    Stale,
    /// The monitor is paused, and nobody asked for this check.
    Paused,
    /// The monitor is deleted.
    Gone,
    /// The due time has its record already.
    Duplicate,
}

impl Refusal {
    /// Why a monitor that stands in an epoch and a lifecycle takes no record of this `epoch` and
    /// `trigger`; `None` when it may have it. Every store decides in this one way: while it is paused
    /// a monitor takes what somebody checked by hand, and stays paused.
    #[must_use]
    pub fn of(
        (epoch, trigger): (Epoch, Trigger),
        (standing, lifecycle): (Epoch, Lifecycle),
    ) -> Option<Self> {
        if epoch != standing {
            Some(Self::Stale)
        } else if lifecycle == Lifecycle::Paused && trigger != Trigger::Manual {
            Some(Self::Paused)
        } else {
            None
        }
    }

    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Paused => "paused",
            Self::Gone => "gone",
            Self::Duplicate => "duplicate",
        }
    }
}

/// A store failed. What had been acknowledged before stands; what this call asked for was not done.
#[derive(Debug, thiserror::Error)]
#[error("store: cannot {action}: {source}")]
pub struct StoreError {
    /// What was tried, such as `commit a result`.
    pub action: &'static str,
    /// The kind of failure.
    pub kind: StoreErrorKind,
    /// The failure.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// The kinds of store failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Another program holds it; may pass.
    Busy,
    /// No room left; passes when there is.
    Full,
    /// It may not be written.
    ReadOnly,
    /// Whoever opened it has no right to it: wrong password, missing privilege.
    Denied,
    /// It cannot be reached, or went away meanwhile; may pass.
    Unreachable,
    /// Another program has taken it over: this one may write no more, whatever it holds.
    Fenced,
    /// It is damaged, or no store at all.
    Corrupt,
    /// It was written by a newer version of this program.
    Newer,
    /// The operating system refused.
    Io,
    /// It is closed.
    Closed,
    /// The epoch to be written is not newer than the one that stands.
    Conflict,
    /// Anything else.
    Other,
}

/// Where monitors, their states and their history live.
///
/// Two rules make it honest, and the conformance suite (feature `conformance`) tests both against
/// any implementation:
///
/// - **Fence.** [`commit`](Self::commit) writes only if the epoch of the monitor is the record's, and
///   it is active or somebody asked for the check, compared in the same transaction as the write.
///   Whoever changes a monitor brings a *newer* epoch, so that no result of before can be written
///   after.
/// - **All or nothing.** Status, history, counts, incident and outbox change together or not at all,
///   and what was acknowledged survives a crash at any instant.
///
/// Notices leave through an outbox. Each is delivered at least once: it stays until somebody who
/// [took](Self::take_notices) it [settles](Self::settle_notice) it, and is taken again when that
/// does not happen in time.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads everything needed to start.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn load(&self) -> Result<Loaded, StoreError>;

    /// Adds a monitor, or replaces its definition and keeps its lifecycle and history. Returns its
    /// state under the new epoch.
    ///
    /// # Errors
    /// [`Conflict`](StoreErrorKind::Conflict) when `epoch` is not newer than any the id ever had;
    /// otherwise when the store cannot be written.
    async fn define(&self, monitor: Monitor, epoch: Epoch) -> Result<Status, StoreError>;

    /// Pauses or resumes. `None` when there is no such monitor. An open incident stays open, and is
    /// marked when the monitor is paused.
    ///
    /// `due_from_unix_ms` is kept as [`Stored::due_from_unix_ms`], by whoever resumes; `None` leaves
    /// what stands there, as does every other call. A store has no clock for it.
    ///
    /// # Errors
    /// As [`define`](Self::define).
    async fn set_lifecycle(
        &self,
        id: &MonitorId,
        lifecycle: Lifecycle,
        epoch: Epoch,
        due_from_unix_ms: Option<i64>,
    ) -> Result<Option<Status>, StoreError>;

    /// Deletes a monitor with its history and remembers the epoch. False when there is none. An open
    /// incident is closed, so that what was said to be down is taken back; its notices stay.
    ///
    /// # Errors
    /// As [`define`](Self::define).
    async fn delete(&self, id: &MonitorId, epoch: Epoch) -> Result<bool, StoreError>;

    /// Writes a record under its epoch, or refuses it.
    ///
    /// # Errors
    /// When the store cannot be written; then nothing of the record was.
    ///
    /// # Cancel safety
    /// A dropped future may have been committed or not; it was never committed in part.
    async fn commit(&self, record: Record) -> Result<Commit, StoreError>;

    /// The `limit` lines of history of a monitor with the latest due times, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn history(&self, id: &MonitorId, limit: u32) -> Result<Vec<HistoryRow>, StoreError>;

    /// Counts of the due times of a monitor since `since_unix_ms`. Counted by whole hours: the hour
    /// in which `since_unix_ms` lies counts whole.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn tally(&self, id: &MonitorId, since_unix_ms: i64) -> Result<Tally, StoreError>;

    /// The latest `limit` incidents of a monitor, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn incidents(&self, id: &MonitorId, limit: u32) -> Result<Vec<Incident>, StoreError>;

    /// Counts and latencies of a monitor, oldest first: the spans that begin in `unix_ms` or hold
    /// its start. Spans in which nothing was due are left out, as are those that are kept no more.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn buckets(
        &self,
        id: &MonitorId,
        resolution: Resolution,
        unix_ms: Range<i64>,
    ) -> Result<Vec<Bucket>, StoreError>;

    /// Takes up to `limit` notices to be sent, the oldest first. Until `lease` has passed, nobody
    /// else is given them.
    ///
    /// Left out are notices that somebody holds, that wait for their next attempt, or that follow
    /// an unsettled one of the same incident: a recovery is never sent before what it ends.
    ///
    /// # Errors
    /// When the store cannot be written.
    ///
    /// # Cancel safety
    /// A dropped future may have taken notices; they are there again when the lease is over.
    async fn take_notices(&self, limit: u32, lease: Duration) -> Result<Vec<Delivery>, StoreError>;

    /// Says what became of a delivery. False, and nothing is changed, when it is no longer this
    /// sender's: it was settled, or somebody has taken it since.
    ///
    /// # Errors
    /// When the store cannot be written.
    ///
    /// # Cancel safety
    /// A dropped future may have settled it or not.
    async fn settle_notice(
        &self,
        delivery: &Delivery,
        settlement: Settlement,
    ) -> Result<bool, StoreError>;

    /// How many notices there are.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn outbox(&self) -> Result<Outbox, StoreError>;

    /// Looks for what is wrong, and changes nothing. Reads all there is: for a person who asks.
    ///
    /// # Errors
    /// When the store cannot be read at all; what can be read and is damaged is a defect.
    async fn doctor(&self) -> Result<Vec<Defect>, StoreError>;

    /// Ends all work and gives back what the store holds. Later calls fail with
    /// [`Closed`](StoreErrorKind::Closed); a second `close` is a no-op.
    ///
    /// # Errors
    /// When what was acknowledged could not be made durable; it never claims more.
    async fn close(&self) -> Result<(), StoreError>;
}
