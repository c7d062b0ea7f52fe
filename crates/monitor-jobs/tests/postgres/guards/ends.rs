//! Whose end counts, and whose effects.

use monitor_jobs::{Backend, ClaimedJob, JobState, Outcome, Settled, WorkerId};

use super::{Promise, claimed, fine, held, holds};
use crate::call;
use crate::support::Database;

/// A claim that its worker handed back and made again: the first right to the job is gone.
async fn stale(db: &Database) -> Result<(WorkerId, ClaimedJob), String> {
    let (worker, first) = held(db).await?;
    let back = [call::end(&first, Outcome::Release)];
    fine(db.jobs.settle(worker, &back).await)?;
    claimed(db, worker).await?;
    Ok((worker, first))
}

pub(super) async fn stale_epoch(db: &Database) -> Promise {
    let (worker, first) = stale(db).await?;
    let settled = db.complete(worker, &first).await;
    holds(settled == Settled::Stale, format!("{settled:?}"))
}

/// Of a claim that was handed back, whether its job was claimed again or not.
async fn progress(db: &Database, first: &ClaimedJob) -> Promise {
    let noted = db.jobs.progress(first.id, first.epoch, 50, "half").await;
    holds(!fine(noted)?, "it was noted")
}

pub(super) async fn stale_progress(db: &Database) -> Promise {
    let (_, first) = stale(db).await?;
    progress(db, &first).await
}

pub(super) async fn late_progress(db: &Database) -> Promise {
    let (worker, first) = held(db).await?;
    let back = [call::end(&first, Outcome::Release)];
    fine(db.jobs.settle(worker, &back).await)?;
    progress(db, &first).await
}

/// Both ways to end: the key is another's, as after damage, and stays so.
pub(super) async fn key_of_another(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    for (key, forget) in [("kept", "false"), ("forgotten", "true")] {
        let keyed = call::new().unique_key(key);
        let keyed = db.put(keyed.queue("elsewhere")).await;
        let job = db.put(call::new()).await;
        let turn = format!("UPDATE job SET unique_key = '{key}' WHERE job_id = {job}");
        fine(db.sql.batch_execute(&turn).await)?;
        let job = claimed(db, worker).await?;
        let end = call::complete(worker, &job).replace("false", forget);
        fine(db.sql.batch_execute(&end).await)?;
        let bearer = format!("SELECT count(*) FROM job_unique WHERE job_id = {keyed}");
        let bearers = db.number(&bearer).await;
        holds(bearers == 1, format!("{key}: it is free"))?;
    }
    Ok(())
}

pub(super) async fn stale_fence(db: &Database) -> Promise {
    let (_, first) = stale(db).await?;
    let row = fine(db.sql.query_one(&call::fence(&first), &[]).await)?;
    let holder: Option<i64> = row.get(0);
    holds(holder.is_none(), "it was fenced")
}

pub(super) async fn other_worker(db: &Database) -> Promise {
    let (_, job) = held(db).await?;
    let other = db.worker(5).await;
    let settled = db.complete(other, &job).await;
    holds(settled == Settled::Stale, format!("{settled:?}"))
}

/// The job is taken from its worker while the worker ends it.
pub(super) async fn settle_beside_rescue(db: &Database) -> Promise {
    let (worker, job) = held(db).await?;
    let id = job.id;
    db.hold(&call::rescue(worker)).await;
    let end = [call::end(&job, call::done())];
    let settling = db.spawn(move |db| async move { db.jobs.settle(worker, &end).await });
    db.until_blocked(1).await;
    db.commit().await;
    let settled = fine(fine(settling.await)?)?;
    let state = db.state(id).await;
    holds(
        settled == [Settled::Stale] && state == JobState::Ready,
        format!("{settled:?}, and the job is {state:?}"),
    )
}

pub(super) async fn fence_beside_rescue(db: &Database) -> Promise {
    let (worker, job) = held(db).await?;
    let pulse = db.pulse(worker).await;
    db.hold(&call::fence(&job)).await;
    let rescued = fine(db.jobs.rescue(&pulse, 5).await)?;
    db.commit().await;
    holds(
        rescued.requeued == 0,
        "it was taken from a fenced transaction",
    )
}
