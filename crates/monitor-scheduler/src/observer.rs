//! What a scheduler tells about due times that came to nothing, and about runs that ended.

use std::time::Duration;

use monitor_backoff::Verdict;
use monitor_operation::{Epoch, OperationId};

use crate::{Due, Trigger};

/// Hears what becomes of due times.
///
/// Called by the driver, one call at a time, under no lock. It must not block: everything due
/// waits meanwhile. A panic in it is caught and logged.
pub trait Observer<K>: Send + Sync {
    /// Due times came and no run was started for them.
    fn missed(&self, missed: Missed<K>);

    /// A run ended.
    fn finished(&self, finished: Finished<K>) {
        drop(finished);
    }
}

/// Hears nothing.
impl<K> Observer<K> for () {
    fn missed(&self, missed: Missed<K>) {
        drop(missed);
    }
}

/// Consecutive due times of one key at which nothing was run, for one and the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missed<K> {
    /// The key.
    pub key: K,
    /// The epoch of the key when the due times were set.
    pub epoch: Epoch,
    /// The first of the due times.
    pub due: Due,
    /// How many there are, at least one: `due`, `due + interval`, and so on.
    pub slots: u32,
    /// The time from one to the next.
    pub interval: Duration,
    /// What would have set the run off: a slot has its timer, and who asks has a single due time.
    pub trigger: Trigger,
    /// Why nothing was run.
    pub reason: MissedReason,
}

impl<K> Missed<K> {
    pub(crate) fn map<T>(self, with: impl FnOnce(K) -> T) -> Missed<T> {
        Missed {
            key: with(self.key),
            epoch: self.epoch,
            due: self.due,
            slots: self.slots,
            interval: self.interval,
            trigger: self.trigger,
            reason: self.reason,
        }
    }
}

/// Why nothing was run at a due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MissedReason {
    /// The run before it was still going on.
    InFlight,
    /// Every permit was taken, and the queue was full or passed the due time.
    Overload,
    /// The driver itself came late by a whole interval or more: the process was stalled or the
    /// machine suspended.
    Stalled,
    /// The key was paused, edited or cancelled between its due time and its start.
    Withdrawn,
    /// The registry of operations began none.
    Refused,
    /// The scheduler shut down between the due time and the start.
    Shutdown,
    /// Every permit was taken, and others had more right to a place in the queue.
    Shed,
    /// Its class is suspended.
    Suspended,
    /// Its class is stretched, and this slot was not its turn.
    Stretched,
}

impl MissedReason {
    /// All reasons.
    pub const ALL: [Self; 9] = [
        Self::InFlight,
        Self::Overload,
        Self::Stalled,
        Self::Withdrawn,
        Self::Refused,
        Self::Shutdown,
        Self::Shed,
        Self::Suspended,
        Self::Stretched,
    ];

    /// Returns the reason in snake case, for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::Overload => "overload",
            Self::Stalled => "stalled",
            Self::Withdrawn => "withdrawn",
            Self::Refused => "refused",
            Self::Shutdown => "shutdown",
            Self::Shed => "shed",
            Self::Suspended => "suspended",
            Self::Stretched => "stretched",
        }
    }
}

/// How many due times were missed, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MissedCounts([u64; MissedReason::ALL.len()]);

impl MissedCounts {
    /// Returns how many were missed for this reason.
    #[must_use]
    pub const fn of(&self, reason: MissedReason) -> u64 {
        self.0[reason as usize]
    }

    /// Returns how many were missed in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn add(&mut self, reason: MissedReason, slots: u64) {
        self.0[reason as usize] += slots;
    }
}

/// A run that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finished<K> {
    /// The key.
    pub key: K,
    /// The operation of the run.
    pub operation: OperationId,
    /// The epoch it began under.
    pub epoch: Epoch,
    /// The due time it ran for.
    pub due: Due,
    /// What set it off.
    pub trigger: Trigger,
    /// When it was started, since the scheduler was made.
    pub started: Duration,
    /// When its handler ended, since the scheduler was made.
    pub ended: Duration,
    /// How it ended.
    pub how: Ended,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The handler returned in time.
    Returned(Verdict),
    /// The handler panicked, which is a failure.
    Panicked,
    /// The handler did not return in time and did not heed its cancellation, which is a failure.
    Overdue,
    /// The key was paused, edited or cancelled meanwhile: the run counts for nothing.
    Withdrawn,
}
