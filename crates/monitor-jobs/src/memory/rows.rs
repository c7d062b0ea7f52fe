//! What the in-memory database holds: one struct for each table.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::kernel::attempts::{Attempt, End};
use crate::kernel::edges::EdgeState;
use crate::kernel::ordering::Place;
use crate::kernel::standing::{Health, Standing};
use crate::{
    ClaimedJob, Edge, Epoch, Execution, JobId, JobState, JobView, Payload, Priority, Register,
    WorkerId, WorkerView,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) kind: String,
    pub(super) queue: String,
    pub(super) payload: Payload,
    pub(super) tenant: Option<String>,
    pub(super) unique_key: Option<String>,
    pub(super) inherits: bool,
    pub(super) state: JobState,
    /// Its own priority, with its parents', and with whatever waits for it.
    pub(super) own: Priority,
    pub(super) base: Priority,
    pub(super) effective: Priority,
    pub(super) place: Place,
    pub(super) key: i64,
    pub(super) attempt: u16,
    pub(super) max_attempts: u16,
    pub(super) crashes: u16,
    pub(super) max_crashes: u16,
    pub(super) timeout: Option<Duration>,
    pub(super) epoch: Option<Epoch>,
    pub(super) worker: Option<WorkerId>,
    pub(super) cancel_requested: bool,
    pub(super) last_end: Option<End>,
    /// INV-JOBS-4: how many of its edges are open.
    pub(super) pending: u32,
    pub(super) holds: u32,
    pub(super) enqueued_ms: i64,
    pub(super) run_at_ms: i64,
    pub(super) ended_ms: Option<i64>,
    pub(super) progress: Option<(u8, String)>,
    pub(super) last_error: Option<String>,
    pub(super) result: Option<Payload>,
}

impl Job {
    pub(super) fn attempt(&self) -> Attempt {
        Attempt {
            attempt: self.attempt,
            max_attempts: self.max_attempts,
            crashes: self.crashes,
            max_crashes: self.max_crashes,
            cancel_requested: self.cancel_requested,
        }
    }

    pub(super) fn claimed(&self, epoch: Epoch) -> ClaimedJob {
        ClaimedJob {
            id: self.id,
            epoch,
            kind: self.kind.clone(),
            queue: self.queue.clone(),
            payload: self.payload.clone(),
            attempt: self.attempt,
            max_attempts: self.max_attempts,
            timeout: self.timeout,
            enqueued_unix_ms: self.enqueued_ms,
        }
    }

    pub(super) fn view(&self, parents: Vec<Edge>, now_ms: i64) -> JobView {
        JobView {
            id: self.id,
            kind: self.kind.clone(),
            queue: self.queue.clone(),
            tenant: self.tenant.clone(),
            state: self.state.as_of(self.run_at_ms, now_ms),
            priority: self.own,
            effective_priority: self.effective,
            sort_key: self.key,
            attempt: self.attempt,
            max_attempts: self.max_attempts,
            crashes: self.crashes,
            epoch: self.epoch,
            worker: self.worker,
            pending: self.pending,
            enqueued_unix_ms: self.enqueued_ms,
            run_at_unix_ms: self.run_at_ms,
            ended_unix_ms: self.ended_ms,
            progress: self.progress.clone(),
            last_error: self.last_error.clone(),
            result: self
                .result
                .as_ref()
                .map(|result| result.as_str().to_owned()),
            payload: self.payload.as_str().to_owned(),
            parents,
            cancel_requested: self.cancel_requested,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct EdgeRow {
    pub(super) child: JobId,
    pub(super) edge: Edge,
    pub(super) state: EdgeState,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) name: String,
    pub(super) queues: Vec<String>,
    pub(super) capacity: u32,
    pub(super) lease: Duration,
    pub(super) beats: u64,
    pub(super) registered_ms: i64,
    pub(super) seen_ms: i64,
    pub(super) draining: bool,
    pub(super) health: Health,
    pub(super) has_claimed: bool,
    /// When a rescue retired it.
    pub(super) failed_ms: Option<i64>,
}

impl Worker {
    pub(super) fn new(id: WorkerId, register: &Register, now_ms: i64) -> Self {
        Self {
            id,
            name: register.name.clone(),
            queues: register.queues.clone(),
            capacity: register.capacity,
            lease: register.lease,
            beats: 0,
            registered_ms: now_ms,
            seen_ms: now_ms,
            draining: false,
            health: Health::Healthy,
            has_claimed: false,
            failed_ms: None,
        }
    }

    pub(super) fn standing(&self, held: u32) -> Standing {
        Standing {
            failed: self.failed_ms.is_some(),
            draining: self.draining,
            health: self.health,
            held,
            has_claimed: self.has_claimed,
        }
    }

    pub(super) fn view(&self, held: u32) -> WorkerView {
        WorkerView {
            id: self.id,
            name: self.name.clone(),
            queues: self.queues.clone(),
            state: self.standing(held).state(),
            capacity: self.capacity,
            held,
            beats: self.beats,
            lease: self.lease,
            registered_unix_ms: self.registered_ms,
            seen_unix_ms: self.seen_ms,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ExecutionRow {
    pub(super) job: JobId,
    pub(super) epoch: Epoch,
    pub(super) attempt: u16,
    pub(super) worker: WorkerId,
    pub(super) worker_name: String,
    pub(super) started_ms: i64,
    pub(super) ended: Option<(i64, End)>,
    pub(super) error: Option<String>,
}

impl ExecutionRow {
    pub(super) fn view(&self) -> Execution {
        Execution {
            job: self.job,
            epoch: self.epoch,
            attempt: self.attempt,
            worker: self.worker,
            worker_name: self.worker_name.clone(),
            started_unix_ms: self.started_ms,
            ended_unix_ms: self.ended.map(|(at, _)| at),
            outcome: self.ended.map(|(_, end)| end.as_str()),
            error: self.error.clone(),
        }
    }
}
