//! What can be seen from outside: for people, the command line and metrics. Views give no right.

use std::time::Duration;

use serde::Serialize;

use crate::kernel::ordering::from_ms;
use crate::{Band, Edge, Epoch, JobId, JobState, Priority, WorkerId, WorkerState};

/// A job as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobView {
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: String,
    /// Its queue.
    pub queue: String,
    /// Whose it is.
    pub tenant: Option<String>,
    /// Where it stands.
    pub state: JobState,
    /// How urgent it is by itself.
    pub priority: Priority,
    /// How urgent it is with what it inherits.
    pub effective_priority: Priority,
    /// Its place among the ready: the least first.
    pub sort_key: i64,
    /// Attempts so far.
    pub attempt: u16,
    /// Attempts in all.
    pub max_attempts: u16,
    /// Workers that ended while they held it.
    pub crashes: u16,
    /// The claim that holds it, or held it last.
    pub epoch: Option<Epoch>,
    /// Who holds it.
    pub worker: Option<WorkerId>,
    /// Unresolved edges to parents.
    pub pending: u32,
    /// When it was put in, unix milliseconds by the database.
    pub enqueued_unix_ms: i64,
    /// When it may run.
    pub run_at_unix_ms: i64,
    /// When it ended.
    pub ended_unix_ms: Option<i64>,
    /// What the handler said last: its progress, 0 to 100, and a text.
    pub progress: Option<(u8, String)>,
    /// The last error, cut to 4 KiB.
    pub last_error: Option<String>,
    /// The result as JSON.
    pub result: Option<String>,
    /// The payload as JSON.
    pub payload: String,
    /// The edges to its parents, resolved or not, ordered by parent.
    pub parents: Vec<Edge>,
    /// Whether somebody asked for its end while it runs.
    pub cancel_requested: bool,
}

/// One attempt, ended or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Execution {
    /// The job.
    pub job: JobId,
    /// The claim.
    pub epoch: Epoch,
    /// Which attempt, from 1.
    pub attempt: u16,
    /// Who ran it.
    pub worker: WorkerId,
    /// The name that the worker gave itself: for people, never an identity.
    pub worker_name: String,
    /// When it began, unix milliseconds by the database.
    pub started_unix_ms: i64,
    /// When it ended.
    pub ended_unix_ms: Option<i64>,
    /// How it ended: `completed`, `failed`, `snoozed`, `cancelled`, `released`, `lost`.
    pub outcome: Option<&'static str>,
    /// The error, cut to 4 KiB.
    pub error: Option<String>,
}

/// A worker as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkerView {
    /// The registration.
    pub id: WorkerId,
    /// The name it gave itself.
    pub name: String,
    /// The queues it serves.
    pub queues: Vec<String>,
    /// Where it stands.
    pub state: WorkerState,
    /// How many jobs it may hold.
    pub capacity: u32,
    /// How many it holds.
    pub held: u32,
    /// Beats so far.
    pub beats: u64,
    /// How long it may be silent.
    pub lease: Duration,
    /// When it registered, unix milliseconds by the database.
    pub registered_unix_ms: i64,
    /// When it was last heard of.
    pub seen_unix_ms: i64,
}

/// A queue as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueView {
    /// Its name.
    pub name: String,
    /// Whether nothing is claimed from it.
    pub paused: bool,
    /// How many jobs stand in each state, in the order of [`JobState::ALL`].
    pub counts: [u64; 8],
    /// Ready ones by band: high, medium, low.
    pub ready_by_band: [u64; 3],
    /// How long the oldest ready job has waited.
    pub oldest_ready: Option<Duration>,
}

impl QueueView {
    /// A queue without jobs that is not paused.
    pub(crate) const fn empty(name: String) -> Self {
        Self {
            name,
            paused: false,
            counts: [0; 8],
            ready_by_band: [0; 3],
            oldest_ready: None,
        }
    }

    /// Counts jobs of that state and effective priority; the first of them was to run at `first_ms`.
    pub(crate) fn count(
        &mut self,
        (state, effective): (JobState, Priority),
        jobs: u64,
        first_ms: i64,
        now_ms: i64,
    ) {
        self.counts[state as usize] += jobs;
        if state == JobState::Ready {
            self.ready_by_band[match effective.band() {
                Band::High => 0,
                Band::Medium => 1,
                Band::Low => 2,
            }] += jobs;
            let waited = from_ms(now_ms.saturating_sub(first_ms));
            self.oldest_ready = self.oldest_ready.max(Some(waited));
        }
    }
}

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Only of that queue.
    pub queue: Option<String>,
    /// Only of that kind.
    pub kind: Option<String>,
    /// Only in that state.
    pub state: Option<JobState>,
    /// Only after that job, for the next page.
    pub after: Option<JobId>,
    /// At most that many; 0 means 100.
    pub limit: u32,
}

impl JobFilter {
    /// All there are.
    pub(crate) fn all() -> Self {
        Self {
            limit: u32::MAX,
            ..Self::default()
        }
    }
}

/// All that there is to be seen, as it stood at one instant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    /// When, unix milliseconds by the database.
    pub unix_ms: i64,
    /// The jobs, by id.
    pub jobs: Vec<JobView>,
    /// Their attempts, by job, in their order.
    pub executions: Vec<Execution>,
    /// The workers, by id.
    pub workers: Vec<WorkerView>,
    /// The queues, by name.
    pub queues: Vec<QueueView>,
}

/// Why a job is as urgent as it is: itself, or the chain that it inherits from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The effective priority.
    pub effective: Priority,
    /// Its own.
    pub own: Priority,
    /// From whom, and how urgent that one is by itself; `None` when it is its own.
    pub from: Option<(JobId, Priority)>,
    /// Whether it comes from a parent (`true`) or from a job that waits for it.
    pub from_parent: bool,
}

/// Something that a doctor found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check: a short name such as `blocked_on_ended`.
    pub check: &'static str,
    /// Whether it breaks a promise (`true`) or is worth knowing.
    pub broken: bool,
    /// What was found, with ids and counts, and what would be right.
    pub what: String,
}
