//! What a scheduler is doing: key by key, each as it was at one instant.

use std::time::Duration;

#[cfg(feature = "serde")]
use crate::json;
use crate::{Class, MissedCounts, Pace};

/// A snapshot of a scheduler.
///
/// The numbers of the whole are of one instant, and so is each key; the keys are looked at a page
/// of [`Page::MOST`](crate::Page::MOST) after the other, so that a large schedule is not held up.
/// What was seen at a higher `sequence` was seen later. `ongoing`, `scheduled`, `stuck`, `lost` and
/// `current_concurrency` are made of `states`, and agree with it and with each other.
///
/// With the feature `serde` it serializes with the field names of the admin API: camel case, times
/// as RFC 3339 text, durations in milliseconds, `states` as a map by key.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "camelCase")
)]
#[non_exhaustive]
pub struct Status<K> {
    /// The keys whose run holds a process permit.
    pub ongoing: Vec<K>,
    /// The keys that are scheduled and not paused.
    pub scheduled: Vec<K>,
    /// Every key.
    #[cfg_attr(feature = "serde", serde(serialize_with = "json::by_service"))]
    pub states: Vec<ProbeStatus<K>>,
    /// How many runs may hold a permit at once.
    pub concurrency_limit: usize,
    /// How many do: as many as there are `ongoing`.
    pub current_concurrency: usize,
    /// The keys whose run was given up and still has not ended.
    pub stuck: Vec<K>,
    /// How many keys wait for a permit.
    pub queue_depth: usize,
    /// How long the first of them has been waiting.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "queueOldestMs", serialize_with = "json::optional_ms")
    )]
    pub queue_oldest: Option<Duration>,
    /// Runs started since the scheduler was made.
    pub started_total: u64,
    /// Due times missed since the scheduler was made.
    pub missed_total: u64,
    /// The same by reason.
    pub missed_by_reason: MissedCounts,
    /// The classes, from the least.
    pub classes: [ClassStatus; 3],
    /// The step at which the numbers of the whole were read.
    pub sequence: u64,
    /// Active keys with neither timer, queue place nor run. Always zero.
    pub lost: usize,
}

/// What the keys of one class do together.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "camelCase")
)]
#[non_exhaustive]
pub struct ClassStatus {
    /// The class.
    pub class: Class,
    /// How many of its runs may hold a permit at once, if it has a limit of its own.
    pub concurrency_limit: Option<usize>,
    /// How many do.
    pub current_concurrency: usize,
    /// How fast it may go.
    #[cfg_attr(feature = "serde", serde(serialize_with = "json::pace"))]
    pub pace: Pace,
}

/// The state of one key.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "camelCase")
)]
#[non_exhaustive]
pub struct ProbeStatus<K> {
    /// The key.
    pub service: K,
    /// The time from one slot to the next.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "intervalMs", serialize_with = "json::ms")
    )]
    pub interval: Duration,
    /// How much it matters.
    pub class: Class,
    /// The wait of the backoff before jitter; zero after a success.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "currentBackoffMs", serialize_with = "json::ms")
    )]
    pub current_backoff: Duration,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// When the last run was started, in unix time.
    #[cfg_attr(feature = "serde", serde(serialize_with = "json::rfc3339"))]
    pub last_probe_at: Option<Duration>,
    /// When the last success ended, in unix time.
    #[cfg_attr(feature = "serde", serde(serialize_with = "json::rfc3339"))]
    pub last_success_at: Option<Duration>,
    /// When the last failure ended, in unix time.
    #[cfg_attr(feature = "serde", serde(serialize_with = "json::rfc3339"))]
    pub last_error_at: Option<Duration>,
    /// The text of the last failure; kept after a success.
    pub last_error: Option<String>,
    /// Whether it is scheduled and not paused.
    pub is_active: bool,
    /// What it is doing.
    pub state: KeyState,
    /// The next due time, in unix time, while it waits for one.
    #[cfg_attr(feature = "serde", serde(serialize_with = "json::rfc3339"))]
    pub next_due: Option<Duration>,
    /// How long its run has been going on.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "runningForMs", serialize_with = "json::optional_ms")
    )]
    pub running_for: Option<Duration>,
    /// How long its run may still go on.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "deadlineInMs", serialize_with = "json::optional_ms")
    )]
    pub deadline_in: Option<Duration>,
    /// How long the last run took.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "lastDurationMs", serialize_with = "json::optional_ms")
    )]
    pub last_duration: Option<Duration>,
    /// Failures of all time.
    pub failures_total: u64,
    /// Successes of all time.
    pub successes_total: u64,
    /// Due times missed of all time; saturates at 2^32 - 1.
    pub missed_total: u64,
    /// The step at which this was read.
    pub sequence: u64,
}

/// What a key is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum KeyState {
    /// It waits for its next due time.
    Armed,
    /// The same, but its class is suspended: nothing will be run then.
    Suspended,
    /// It is due and waits for a permit.
    Queued,
    /// Its run is going on.
    Running,
    /// Its run was given up after its deadline and its grace and still has not ended, or has ended
    /// and left work that holds its claim.
    Stuck,
    /// It is paused, and no run is going on.
    Paused,
}

/// The numbers of the whole, at one instant.
pub(crate) struct Overview {
    pub(crate) concurrency_limit: usize,
    pub(crate) queue_depth: usize,
    pub(crate) queue_oldest: Option<Duration>,
    pub(crate) started_total: u64,
    pub(crate) missed: MissedCounts,
    pub(crate) classes: [ClassStatus; 3],
    pub(crate) sequence: u64,
    pub(crate) added_total: u64,
}

/// One key, and what of it counts for the whole.
pub(crate) struct Seen<K> {
    pub(crate) status: ProbeStatus<K>,
    pub(crate) holds_permit: bool,
    pub(crate) is_lost: bool,
}

impl<K: Clone> Status<K> {
    /// Puts together what was seen.
    pub(crate) fn of(whole: Overview, seen: Vec<Seen<K>>) -> Self {
        let keys = |which: fn(&Seen<K>) -> bool| {
            let those = seen.iter().filter(|seen| which(seen));
            those
                .map(|seen| seen.status.service.clone())
                .collect::<Vec<K>>()
        };
        let ongoing = keys(|seen| seen.holds_permit);
        Status {
            current_concurrency: ongoing.len(),
            ongoing,
            scheduled: keys(|seen| seen.status.is_active),
            stuck: keys(|seen| seen.status.state == KeyState::Stuck),
            lost: seen.iter().filter(|seen| seen.is_lost).count(),
            states: seen.into_iter().map(|seen| seen.status).collect(),
            concurrency_limit: whole.concurrency_limit,
            queue_depth: whole.queue_depth,
            queue_oldest: whole.queue_oldest,
            started_total: whole.started_total,
            missed_total: whole.missed.total(),
            missed_by_reason: whole.missed,
            classes: whole.classes,
            sequence: whole.sequence,
        }
    }
}

impl<K> Seen<K> {
    pub(crate) fn map<T>(self, with: impl FnOnce(K) -> T) -> Seen<T> {
        Seen {
            status: self.status.map(with),
            holds_permit: self.holds_permit,
            is_lost: self.is_lost,
        }
    }
}

impl<K> ProbeStatus<K> {
    pub(crate) fn map<T>(self, with: impl FnOnce(K) -> T) -> ProbeStatus<T> {
        ProbeStatus {
            service: with(self.service),
            interval: self.interval,
            class: self.class,
            current_backoff: self.current_backoff,
            consecutive_failures: self.consecutive_failures,
            last_probe_at: self.last_probe_at,
            last_success_at: self.last_success_at,
            last_error_at: self.last_error_at,
            last_error: self.last_error,
            is_active: self.is_active,
            state: self.state,
            next_due: self.next_due,
            running_for: self.running_for,
            deadline_in: self.deadline_in,
            last_duration: self.last_duration,
            failures_total: self.failures_total,
            successes_total: self.successes_total,
            missed_total: self.missed_total,
            sequence: self.sequence,
        }
    }
}

/// A part of the keys of a schedule, each as it was at one instant: see
/// [`Scheduler::page`](crate::Scheduler::page).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Page<K> {
    /// The keys.
    pub states: Vec<ProbeStatus<K>>,
    /// Where to go on, if there is more.
    pub next: Option<u32>,
}

impl<K> Page<K> {
    /// How many keys are looked at under one lock at most.
    pub const MOST: usize = 1024;
}
