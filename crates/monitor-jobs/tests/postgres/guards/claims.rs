//! Who may claim, what, and how much of it.

use std::time::Duration;

use monitor_jobs::{
    Backend, ClaimError, JobId, JobState, NewJob, Register, When, WorkerId, WorkerState,
};

use super::{Promise, fine, holds};
use crate::call::new;
use crate::support::Database;

/// A job is there, and the worker may not claim.
async fn may_not(db: &Database, worker: WorkerId) -> Promise {
    db.put(new()).await;
    holds(db.claim_as(worker, 1).await.is_err(), "it claimed")
}

pub(super) async fn retired(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let pulse = db.pulse(worker).await;
    fine(db.jobs.rescue(&pulse, 5).await)?;
    may_not(db, worker).await
}

pub(super) async fn draining(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    fine(db.jobs.drain(worker).await)?;
    may_not(db, worker).await
}

pub(super) async fn failing(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    fine(db.jobs.set_health(worker, WorkerState::Failing).await)?;
    may_not(db, worker).await
}

/// A worker finds nothing to claim in this job.
async fn nothing_in(db: &Database, job: NewJob) -> Promise {
    let worker = db.worker(5).await;
    db.put(job).await;
    let claim = fine(db.claim_as(worker, 1).await)?;
    holds(claim.jobs.is_empty(), "it claimed")
}

pub(super) async fn paused_queue(db: &Database) -> Promise {
    fine(db.jobs.set_paused("default", true).await)?;
    nothing_in(db, new()).await
}

pub(super) async fn other_queue(db: &Database) -> Promise {
    nothing_in(db, new().queue("other")).await
}

pub(super) async fn not_due(db: &Database) -> Promise {
    let later = When::In(Duration::from_secs(3600));
    nothing_in(db, new().when(later)).await
}

/// One waits for its parent, which runs.
pub(super) async fn not_ready(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    let child = db.put(new().after(parent)).await;
    let mut claimed = Vec::new();
    for _ in 0..2 {
        let claim = fine(db.claim_as(worker, 1).await)?;
        claimed.extend(claim.jobs.iter().map(|job| job.id));
    }
    let state = db.state(child).await;
    let waits = claimed == [parent] && state == JobState::Blocked;
    holds(waits, format!("{claimed:?}, and the child is {state:?}"))
}

/// The first of one queue is locked, and in another something is ready.
pub(super) async fn claim_beside_lock(db: &Database) -> Promise {
    let register = Register {
        name: "worker".to_owned(),
        queues: vec!["default".to_owned(), "other".to_owned()],
        capacity: 100,
        lease: Duration::from_secs(30),
    };
    let worker = fine(db.jobs.register(&register).await)?;
    let first = db.put(new()).await;
    // By one call, so none of them is before another but by its id.
    let ready = fine(db.jobs.enqueue(&vec![new().queue("other"); 3]).await)?;
    let ready: Vec<JobId> = ready.into_iter().map(|job| job.id()).collect();
    let lock = format!("SELECT FROM job WHERE job_id = {first} FOR NO KEY UPDATE");
    db.hold(&lock).await;
    let claim = fine(db.claim_as(worker, 3).await);
    db.commit().await;
    let claimed: Vec<JobId> = claim?.jobs.iter().map(|job| job.id).collect();
    holds(claimed == ready, format!("{claimed:?}"))
}

pub(super) async fn claim_beside_retirement(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    db.put(new()).await;
    db.hold(&format!("SELECT jobs_deregister({worker})")).await;
    let claim = db.spawn(move |db| async move { db.claim_as(worker, 1).await });
    db.until_blocked(1).await;
    db.commit().await;
    match fine(claim.await)? {
        Err(ClaimError::UnknownWorker(_)) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

pub(super) async fn capacity_at_once(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    db.put_all(20).await;
    db.hold(&format!("SELECT jobs_claim({worker}, 4, true)"))
        .await;
    let second = db.spawn(move |db| async move { db.claim_as(worker, 4).await });
    db.until_blocked_or_over(&second).await;
    db.commit().await;
    let held = fine(fine(second.await)?)?.jobs.len() + 4;
    holds(held == 5, format!("it holds {held} of 5"))
}

pub(super) async fn capacity_in_turn(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    db.put_all(20).await;
    fine(db.claim_as(worker, 4).await)?;
    let more = fine(db.claim_as(worker, 4).await)?.jobs.len();
    holds(more == 1, format!("it holds {} of 5", 4 + more))
}

pub(super) async fn limit(db: &Database) -> Promise {
    let worker = db.worker(50).await;
    db.put_all(20).await;
    let claimed = fine(db.claim_as(worker, 3).await)?.jobs.len();
    holds(claimed == 3, format!("{claimed} of 3"))
}

pub(super) async fn claim_beside_claim(db: &Database) -> Promise {
    let (one, two) = (db.worker(5).await, db.worker(5).await);
    db.put_all(4).await;
    db.hold(&format!("SELECT jobs_claim({one}, 2, true)")).await;
    let claim = format!("SELECT jobs_claim({two}, 2, true)");
    let claimed = fine(db.at_once(&claim).await);
    db.commit().await;
    claimed
}
