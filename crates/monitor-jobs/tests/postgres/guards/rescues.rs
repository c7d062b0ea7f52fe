//! Who is given up, and what is taken from them.

use monitor_jobs::conformance::Base;
use monitor_jobs::{Backend, JobState, Outcome, Settled};

use super::{Promise, fine, held, holds};
use crate::call::{self, new};
use crate::support::Database;

pub(super) async fn beat_of_retired(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let pulse = db.pulse(worker).await;
    fine(db.jobs.rescue(&pulse, 5).await)?;
    holds(fine(db.jobs.beat(worker).await)?.is_none(), "it beats")
}

pub(super) async fn late_beat(db: &Database) -> Promise {
    let (worker, _) = held(db).await?;
    let pulse = db.pulse(worker).await;
    fine(db.jobs.beat(worker).await)?;
    let rescued = fine(db.jobs.rescue(&pulse, 5).await)?;
    holds(
        rescued.alive && rescued.requeued == 0,
        format!("{rescued:?}"),
    )
}

/// When it was given up is not moved by who asks again, or it would never be pruned.
pub(super) async fn retired_twice(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let pulse = db.pulse(worker).await;
    db.stop_clock(1000).await;
    fine(db.jobs.rescue(&pulse, 5).await)?;
    db.set_clock(2000).await;
    fine(db.jobs.rescue(&pulse, 5).await)?;
    let at = db.number("SELECT retired_ms FROM job_worker").await;
    holds(at == 1000, format!("given up at {at}"))
}

pub(super) async fn rescue_beside_claim(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    db.put(new()).await;
    let pulse = db.pulse(worker).await;
    db.hold(&format!("SELECT jobs_claim({worker}, 1, true)"))
        .await;
    let rescuing = db.spawn(move |db| async move { db.jobs.rescue(&pulse, 5).await });
    db.until_blocked_or_over(&rescuing).await;
    db.commit().await;
    let rescued = fine(fine(rescuing.await)?)?;
    let lost = fine(db.jobs.doctor().await)?;
    holds(
        !rescued.retired && lost.iter().all(|finding| !finding.broken),
        format!("{rescued:?} {lost:?}"),
    )
}

/// A job that left its claim, and is another's now, stays there.
pub(super) async fn rescue_of_others(db: &Database) -> Promise {
    let (one, two) = (db.worker(5).await, db.worker(5).await);
    db.put_all(2).await;
    let held = fine(db.claim_as(one, 2).await)?.jobs;
    let back = [call::end(&held[0], Outcome::Release)];
    fine(db.jobs.settle(one, &back).await)?;
    let theirs = fine(db.claim_as(two, 2).await)?.jobs;
    let pulse = db.pulse(one).await;
    fine(db.jobs.rescue(&pulse, 5).await)?;
    let settled = db.complete(two, &theirs[0]).await;
    holds(settled == Settled::Done, format!("{settled:?}"))
}

/// A job that was handed back is no crash of whoever had it.
pub(super) async fn rescue_of_released(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    db.put_all(2).await;
    let held = fine(db.claim_as(worker, 2).await)?.jobs;
    let back = [call::end(&held[0], Outcome::Release)];
    fine(db.jobs.settle(worker, &back).await)?;
    let pulse = db.pulse(worker).await;
    let rescued = fine(db.jobs.rescue(&pulse, 5).await)?;
    holds(rescued.requeued == 1, format!("{rescued:?}"))
}

/// Somebody ends a job of a claim: the others of that claim are passed over.
pub(super) async fn rescue_beside_end(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    db.put_all(2).await;
    let held = fine(db.claim_as(worker, 2).await)?.jobs;
    db.hold(&call::complete(worker, &held[0])).await;
    let rescued = fine(db.at_once(&call::rescue(worker)).await);
    db.commit().await;
    rescued
}

/// So is a job that such a claim has taken again, although an older one still names it.
pub(super) async fn rescue_of_claimed_again(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    db.put_all(3).await;
    let held = fine(db.claim_as(worker, 2).await)?.jobs;
    let back = [call::end(&held[0], Outcome::Release)];
    fine(db.jobs.settle(worker, &back).await)?;
    let again = fine(db.claim_as(worker, 2).await)?.jobs;
    db.hold(&call::complete(worker, &again[1])).await;
    let rescued = fine(db.at_once(&call::rescue(worker)).await);
    db.commit().await;
    rescued
}

pub(super) async fn rescue_beside_fence(db: &Database) -> Promise {
    let (worker, job) = held(db).await?;
    db.hold(&call::fence(&job)).await;
    let rescued = fine(db.at_once(&call::rescue(worker)).await);
    db.commit().await;
    rescued
}

/// A claim of the worker that leaves is under way.
pub(super) async fn leave_beside_claim(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let job = db.put(new()).await;
    db.hold(&format!("SELECT jobs_claim({worker}, 1, true)"))
        .await;
    let leaving = db.spawn(move |db| async move { db.jobs.deregister(worker).await });
    db.until_blocked(1).await;
    db.commit().await;
    let left = fine(fine(leaving.await)?)?;
    let state = db.state(job).await;
    holds(left && state == JobState::Ready, format!("{state:?}"))
}

pub(super) async fn rescue_in_parts(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    db.put_all(5).await;
    fine(db.claim_as(worker, 5).await)?;
    let pulse = db.pulse(worker).await;
    let rescued = fine(db.jobs.rescue(&pulse, 3).await)?;
    holds(
        rescued.requeued == 3 && !rescued.retired,
        format!("{rescued:?}"),
    )
}
