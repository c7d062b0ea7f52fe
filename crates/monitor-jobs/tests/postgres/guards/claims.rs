//! Who may claim, what, and how much of it.

use std::time::Duration;

use monitor_jobs::{Backend, ClaimError, NewJob, When, WorkerId, WorkerState};

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
