//! What a scheduler is doing: one consistent snapshot.

use std::time::Duration;

#[cfg(feature = "serde")]
use crate::json;

/// One consistent snapshot of a scheduler, taken under one lock.
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
    /// Active keys with neither timer, queue place nor run. Always zero.
    pub lost: usize,
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
    /// Due times missed of all time.
    pub missed_total: u64,
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

impl<K> Status<K> {
    /// The same with the keys made into others.
    pub(crate) fn map<T>(self, with: impl Fn(&K) -> T) -> Status<T> {
        let all = |keys: Vec<K>| keys.iter().map(&with).collect();
        Status {
            ongoing: all(self.ongoing),
            scheduled: all(self.scheduled),
            states: self
                .states
                .into_iter()
                .map(|state| state.map(&with))
                .collect(),
            concurrency_limit: self.concurrency_limit,
            current_concurrency: self.current_concurrency,
            stuck: all(self.stuck),
            queue_depth: self.queue_depth,
            queue_oldest: self.queue_oldest,
            started_total: self.started_total,
            missed_total: self.missed_total,
            lost: self.lost,
        }
    }
}

impl<K> ProbeStatus<K> {
    pub(crate) fn map<T>(self, with: impl Fn(&K) -> T) -> ProbeStatus<T> {
        ProbeStatus {
            service: with(&self.service),
            interval: self.interval,
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
        }
    }
}
