//! The suite that every backend passes.
//!
//! A backend's own tests implement [`Rig`] and call [`conformance_tests!`](crate::conformance_tests),
//! which makes one test for each promise. The last of them, [`schedules`], runs random schedules of
//! everything that can happen against the backend and the model in memory, and compares all that
//! can be seen after every step.

mod claims;
mod ends;
mod faults;
mod graph;
mod invariants;
mod pair;
mod scale;
mod schedules;
mod shell;
mod snapshots;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{
    Backend, Claim, ClaimRequest, Claimed, ClaimedJob, Enqueued, JobId, JobState, JobView, Jobs,
    NewJob, Outcome, Payload, Priority, Register, Settle, SettleError, Settled, WorkerId,
};

pub use self::claims::*;
pub use self::ends::*;
pub use self::faults::*;
pub use self::graph::*;
pub use self::scale::*;
pub use self::schedules::schedules;
pub use self::shell::*;
pub use self::snapshots::*;
pub use self::workers::*;

/// Where the clock of a fresh database stands, unix milliseconds.
pub const START_MS: i64 = 1_700_000_000_000;

/// Makes databases for the suite.
#[async_trait]
pub trait Rig: Send + Sync {
    /// A new, empty database whose clock stands still at [`START_MS`].
    async fn fresh(&self) -> Arc<dyn Base>;
}

/// One database.
#[async_trait]
pub trait Base: Send + Sync {
    /// Its backend.
    fn backend(&self) -> Arc<dyn Backend>;

    /// Sets its clock.
    async fn set_clock(&self, unix_ms: i64);

    /// The same database as another process opens it later, with this clock.
    async fn reopen(&self) -> Arc<dyn Base>;

    /// Whether it has rows and statements that can fail.
    fn is_durable(&self) -> bool {
        true
    }

    /// From now on notes which tables are changed, and how.
    async fn trace(&self);

    /// What was noted, such as `UPDATE ON job`; notes no more.
    async fn traced(&self) -> Vec<String>;

    /// From now on whatever makes that change to a row fails by `broken`; `None`: nothing does.
    async fn fail(&self, change: Option<&str>);

    /// Begins a transaction, completes `claimed` in it, puts `jobs` in in it, and commits it, or
    /// drops it without.
    async fn in_transaction(
        &self,
        claimed: Claimed,
        jobs: Vec<NewJob>,
        commit: bool,
    ) -> Result<(), SettleError>;
}

/// One test for each promise, all on the databases of `$rig`.
#[macro_export]
macro_rules! conformance_tests {
    ($rig:expr) => {
        $crate::conformance_tests! { @each $rig;
            /// JOB-1, JOB-2, JOB-13, JOB-14, JOB-41, JOB-56, W1, W2: registering, claiming and
            /// deregistering at the same time never meet an error, and leave no orphan.
            w1_claims_beside_deregistration_never_fail;
            /// JOB-2, JOB-7, JOB-8: nothing, unknown, draining and full are told apart.
            job_7_each_reason_for_nothing_is_told;
            /// JOB-41, W3, W4: ids are not used twice, and names are no identity.
            w4_names_are_no_identity;
            /// JOB-40, JOB-51: the states of a worker.
            job_40_worker_states;
            /// JOB-35, L5, W6: the jobs of a dead worker run again, under a later epoch.
            job_35_the_jobs_of_a_dead_worker_run_again;
            /// L5, W6: whoever keeps the house heeds the lease of each worker, not its own.
            w6_each_worker_is_judged_by_its_own_lease;
            /// W5: a beat in the last moment saves the worker, whatever the clock says.
            w5_a_beat_in_the_last_moment_saves;
            /// JOB-50, R1: a job that takes its workers down is buried.
            r1_a_poison_job_is_buried;
            /// R3: whoever holds a cancelled job hears of it with the next beat.
            r3_a_beat_tells_of_cancellations;
            /// JOB-3, JOB-17: refused jobs leave nothing.
            job_3_all_or_none;
            /// JOB-3, JOB-6, JOB-11, JOB-22, JOB-25, JOB-36, F6: whichever statement of a call
            /// fails, nothing of the call is there, and it can be made again.
            job_3_a_failure_in_any_statement_leaves_nothing;
            /// JOB-13, JOB-41, W1: a thousand registrations, each can claim at once.
            job_13_a_thousand_registrations;
            /// JOB-17: at most one job with a key that has not ended.
            job_17_unique_keys;
            /// JOB-15, JOB-33, S6, C1: thousands of jobs, each claimed once.
            job_15_every_job_is_claimed_once;
            /// JOB-30, JOB-33, S6, C1: hundreds of workers, each job once.
            job_30_many_workers;
            /// JOB-20, JOB-21, C2: the more urgent first, then the older.
            job_20_the_urgent_first_then_the_old;
            /// JOB-20: high, medium, low.
            job_20_bands;
            /// JOB-38, L7, P4: under a constant load of urgent jobs a low one is served in time.
            job_38_a_low_job_is_served_under_load;
            /// JOB-38, JOB-33: how long it takes to rise, and nobody is served twice for it.
            job_38_a_low_job_rises_in_one_and_two_minutes;
            /// JOB-49: the selectable orderings.
            job_49_orderings;
            /// C3: nothing is claimed from a paused queue.
            c3_a_paused_queue_gives_nothing;
            /// JOB-39, C4: a worker never holds more than its capacity.
            job_39_never_more_than_capacity;
            /// JOB-37: what is due later is claimed later, by the clock of the database.
            job_37_scheduled_jobs_wait_for_the_database_clock;
            /// JOB-37, R2: what is to be tried again is not forgotten with its process.
            job_37_a_retry_outlives_its_process;
            /// JOB-34, S6, F1, F2, F3: after a takeover the old holder changes nothing.
            job_34_a_stale_holder_changes_nothing;
            /// JOB-36, F5: an end that is repeated is answered as such.
            job_36_a_repeated_end_is_recognised;
            /// JOB-4, JOB-16, JOB-37: attempts are numbered, spent, dead, and retried by people.
            job_37_retry_and_dead_letter;
            /// JOB-6, JOB-21: what is handed back keeps its place and its attempts.
            job_21_what_is_handed_back_keeps_its_place;
            /// JOB-16: one execution for each attempt, closed on every exit.
            job_16_one_execution_for_each_attempt;
            /// JOB-33: an ended job is never run again by itself.
            job_33_an_ended_job_stays_ended;
            /// Cancelling: at once, by the holder, and what would run it again.
            cancelling;
            /// JOB-17: what the texts and payloads are that come back.
            job_17_payloads_come_back_to_the_letter;
            /// R7: pruning removes what is old, and nothing that is needed.
            r7_pruning_keeps_what_is_needed;
            /// JOB-18, JOB-19, P1, P2, P3: urgency runs down and up, and not to siblings.
            job_18_priority_inheritance;
            /// P1: urgency is taken back with the one it came from.
            p1_urgency_is_taken_back;
            /// JOB-22, JOB-23, JOB-25, S7, D1, D2, D4, D9: parents that end at the same time.
            job_23_fan_in_releases_once;
            /// JOB-24, D5: children put in while their parent completes.
            job_24_a_child_put_in_while_its_parent_completes;
            /// JOB-26, D3: each policy for each end of a parent.
            job_26_every_policy_for_every_end;
            /// JOB-26: people decide about held jobs.
            job_26_held_jobs_wait_for_people;
            /// JOB-27, D6: self, unknown, later, doubled: no cycle can be put in.
            job_27_no_cycles;
            /// JOB-28, JOB-42: fifty children are all ready with the commit.
            job_28_fan_out_of_fifty;
            /// JOB-29, D7, D8: thousands of children, in slices.
            job_29_fan_out_of_thousands;
            /// JOB-26, JOB-29, D8: a parent of thousands that is retried while its end is on its way.
            job_29_a_retry_finishes_the_release;
            /// JOB-29, D1: a child of thousands.
            job_29_fan_in_of_thousands;
            /// JOB-22, JOB-31, S7: chains of ten and of a thousand, run to their ends.
            job_31_a_long_chain_runs;
            /// JOB-18, JOB-31, P1, D3: a chain of five thousand, which is urgent, and fails.
            job_31_a_chain_of_thousands;
            /// R5: one job for each tick, however many nodes.
            r5_one_job_for_each_tick;
            /// JOB-9, R4: a claim that waits returns when something comes.
            job_9_a_waiting_claim_returns_when_work_appears;
            /// JOB-10, L3: calls that are refused, fail or are given up keep no connection.
            job_10_no_fault_keeps_a_connection;
            /// JOB-36, F4: effects and completion together, or neither.
            f4_complete_in_a_transaction;
            /// JOB-35, F3: a handle that was dropped hands its job back.
            job_35_a_dropped_handle_hands_its_job_back;
            /// JOB-41, W3: a registration that was given up poisons its handle.
            w3_a_lost_registration_is_poisoned;
            /// JOB-10, JOB-16, JOB-22, JOB-32, S6, S7: a graph of mixed jobs run by workers.
            job_32_workers_run_a_mixed_load;
            /// JOB-54: what is exported is of one instant, whatever goes on meanwhile.
            job_54_an_export_is_of_one_instant;
            /// JOB-53, R6, F1-F6, W1-W7, C1-C4, D1-D9, P1-P4, R1-R7: random schedules against the
            /// model.
            schedules;
        }
    };
    (@each $rig:expr; $($(#[$doc:meta])* $promise:ident;)*) => {
        $(
            $(#[$doc])*
            #[tokio::test]
            async fn $promise() {
                $crate::conformance::$promise(&$rig).await;
            }
        )*
    };
}

// What the promises are written with.

fn job(kind: &str) -> NewJob {
    NewJob::new(kind, Payload::default())
}

fn priority(number: u8) -> Priority {
    Priority::new(number).unwrap()
}

fn worker(name: &str) -> Register {
    Register {
        name: name.to_owned(),
        queues: vec!["default".to_owned()],
        capacity: 10_000,
        lease: Duration::from_secs(30),
    }
}

fn complete() -> Outcome {
    Outcome::Complete { result: None }
}

fn fail(retry_in: Option<Duration>) -> Outcome {
    let error = "it went wrong".to_owned();
    Outcome::Fail { error, retry_in }
}

fn settle(job: &ClaimedJob, outcome: Outcome) -> Settle {
    Settle {
        job: job.id,
        epoch: job.epoch,
        outcome,
    }
}

/// A database with one worker, and short words for what is done with it.
struct Bench {
    base: Arc<dyn Base>,
    backend: Arc<dyn Backend>,
    worker: WorkerId,
}

impl Bench {
    async fn new(rig: &dyn Rig) -> Self {
        let base = rig.fresh().await;
        let backend = base.backend();
        let worker = backend.register(&worker("bench")).await.unwrap();
        Self {
            base,
            backend,
            worker,
        }
    }

    async fn put(&self, new: NewJob) -> JobId {
        self.put_all(&[new]).await[0]
    }

    async fn put_all(&self, jobs: &[NewJob]) -> Vec<JobId> {
        let put_in = self.backend.enqueue(jobs).await.unwrap();
        put_in.into_iter().map(Enqueued::id).collect()
    }

    async fn claim_as(&self, worker: WorkerId, limit: u32) -> Claim {
        let request = ClaimRequest {
            worker,
            limit,
            history: true,
        };
        self.backend.claim(&request).await.unwrap()
    }

    async fn claim(&self, limit: u32) -> Vec<ClaimedJob> {
        self.claim_as(self.worker, limit).await.jobs
    }

    async fn claim_ids(&self, limit: u32) -> Vec<JobId> {
        let claimed = self.claim(limit).await;
        claimed.into_iter().map(|job| job.id).collect()
    }

    async fn end(&self, job: &ClaimedJob, outcome: Outcome) -> Settled {
        let ends = [settle(job, outcome)];
        self.backend.settle(self.worker, &ends).await.unwrap()[0]
    }

    /// Claims exactly that job, which must be the most urgent one, and ends it.
    async fn run(&self, id: JobId, outcome: Outcome) {
        let claimed = self.claim(1).await;
        assert_eq!(claimed.first().map(|job| job.id), Some(id));
        assert_eq!(self.end(&claimed[0], outcome).await, Settled::Done);
        self.release().await;
    }

    async fn release(&self) {
        while self.backend.release(10_000).await.unwrap() > 0 {}
    }

    async fn view(&self, id: JobId) -> JobView {
        self.backend.job(id).await.unwrap().unwrap()
    }

    async fn state(&self, id: JobId) -> JobState {
        self.view(id).await.state
    }

    async fn states(&self, ids: &[JobId]) -> Vec<JobState> {
        let mut states = Vec::new();
        for id in ids {
            states.push(self.state(*id).await);
        }
        states
    }

    async fn healthy(&self) {
        let findings = self.backend.doctor().await.unwrap();
        let broken: Vec<_> = findings.iter().filter(|finding| finding.broken).collect();
        assert!(broken.is_empty(), "{broken:?}");
    }

    fn jobs(&self) -> Jobs {
        Jobs::shared(Arc::clone(&self.backend))
    }
}
