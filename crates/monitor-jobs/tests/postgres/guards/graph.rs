//! What is put in once, and what the end of a parent does to its children.

use std::time::Duration;

use monitor_jobs::{Backend, Edge, Enqueued, JobId, JobState, On, Outcome, Priority, Unmet, When};

use super::{Promise, claimed, fine, holds};
use crate::call::{self, new};
use crate::support::Database;

pub(super) async fn late_edge(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    let job = claimed(db, worker).await?;
    // The parents are looked at, and the child is not written yet.
    let look = format!("SELECT jobs_prepare('{{default}}', NULL, '{{{parent}}}', 1)");
    db.hold(&look).await;
    let end = [call::end(&job, call::done())];
    let ending = db.spawn(move |db| async move { db.jobs.settle(worker, &end).await });
    db.until_blocked_or_over(&ending).await;
    let early = ending.is_finished();
    db.commit().await;
    fine(fine(ending.await)?)?;
    holds(
        !early,
        "the parent ended between the look at it and its child",
    )
}

/// A parent that is retried ends again: the edge that was met by its first end stays met.
pub(super) async fn met_edge(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let (parent, other) = (db.put(new()).await, db.put(new()).await);
    let edge = Edge {
        parent,
        on: On::Success,
        unmet: Unmet::Run,
    };
    let child = db.put(new().edge(edge).after(other)).await;
    for _ in 0..2 {
        let held = fine(db.claim_as(worker, 2).await)?.jobs;
        let Some(job) = held.iter().find(|job| job.id == parent) else {
            return Err("the parent was not claimed".to_owned());
        };
        let failed = Outcome::Fail {
            error: "no".to_owned(),
            retry_in: None,
        };
        fine(db.jobs.settle(worker, &[call::end(job, failed)]).await)?;
        fine(db.jobs.retry(parent).await)?;
    }
    let view = fine(db.jobs.job(child).await)?;
    let pending = view.map_or(0, |view| view.pending);
    holds(pending == 1, format!("it waits for {pending} of 1"))
}

pub(super) async fn held_edge(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    let child = db.put(new().after(parent)).await;
    let job = claimed(db, worker).await?;
    let end = [call::end(&job, Outcome::Cancelled)];
    fine(db.jobs.settle(worker, &end).await)?;
    fine(db.jobs.retry(parent).await)?;
    let state = db.state(child).await;
    holds(state == JobState::Blocked, format!("{state:?}"))
}

pub(super) async fn slices(db: &Database) -> Promise {
    left_to_release(db).await?;
    while fine(db.jobs.release(100).await)? > 0 {}
    let blocked = db.number("SELECT count(*) FROM job WHERE state = 0").await;
    holds(blocked == 0, format!("{blocked} wait for ever"))
}

/// A crowd waits for a job that has ended: the note of that, of which nothing is done yet.
async fn left_to_release(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    let children = vec![new().after(parent); 1500];
    fine(db.jobs.enqueue(&children).await)?;
    let job = claimed(db, worker).await?;
    // In the session beside the pool: nobody goes on with it there.
    fine(db.sql.batch_execute(&call::complete(worker, &job)).await)
}

pub(super) async fn release_beside_release(db: &Database) -> Promise {
    left_to_release(db).await?;
    db.hold("SELECT jobs_release(100)").await;
    let second = fine(db.at_once("SELECT jobs_release(100)").await);
    db.commit().await;
    second
}

/// A parent ends together with a job that is higher than its child.
pub(super) async fn lower_child(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    let child = db.put(new().after(parent)).await;
    db.put(new()).await;
    let held = fine(db.claim_as(worker, 2).await)?.jobs;
    db.complete_all(worker, &held).await;
    let state = db.state(child).await;
    holds(state == JobState::Ready, format!("{state:?}"))
}

/// A child that ends by the end of its parent has a child below the parent's last: a release that
/// has the last one in its hands waits for no lower one.
pub(super) async fn lower_wave(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    let cancelled = Edge::success(parent).unmet(Unmet::Cancel);
    let ending = db.put(new().edge(cancelled)).await;
    let lower = db.put(new().after(ending)).await;
    db.put(new().after(parent)).await;
    let higher = db.put(new()).await;
    let held = fine(db.claim_as(worker, 2).await)?.jobs;
    let epoch = held.first().map_or(0, |job| job.epoch.0);
    // Beside the end of a higher job: left to a release.
    let ends = format!(
        "SELECT jobs_settle({worker}, '{{{parent},{higher}}}', '{{{epoch},{epoch}}}', '{{1,0}}',
            '{{-1,-1}}', '{{NULL,NULL}}', false)"
    );
    fine(db.sql.batch_execute(&ends).await)?;
    let lock = format!("SELECT FROM job WHERE job_id = {lower} FOR UPDATE");
    db.hold(&lock).await;
    let released = fine(db.at_once("SELECT jobs_release(1000)").await);
    db.commit().await;
    released
}

/// Two parents end together, of which one child or the other has both: whatever is done to them in
/// which order, whoever waits for the lower one has not locked the higher one yet.
pub(super) async fn children_in_order(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    for of_both in 0..2 {
        let parents = db.put_all(2).await;
        let mut children = Vec::new();
        for child in 0..2 {
            let of_one = new().after(parents[0]);
            children.push(match child == of_both {
                true => db.put(of_one.after(parents[1])).await,
                false => db.put(of_one).await,
            });
        }
        let held = fine(db.claim_as(worker, 2).await)?.jobs;
        let lock = format!("SELECT FROM job WHERE job_id = {} FOR UPDATE", children[0]);
        db.hold(&lock).await;
        let ends = call::all_done(&held);
        let ending = db.spawn(move |db| async move { db.jobs.settle(worker, &ends).await });
        db.until_blocked_or_over(&ending).await;
        let free = format!(
            "SELECT count(*) FROM (
                 SELECT FROM job WHERE job_id = {} FOR NO KEY UPDATE SKIP LOCKED) free",
            children[1]
        );
        let free = db.number(&free).await;
        db.commit().await;
        fine(fine(ending.await)?)?;
        holds(free == 1, "it has the higher one and waits for the lower")?;
        let held = fine(db.claim_as(worker, 2).await)?.jobs;
        db.complete_all(worker, &held).await;
    }
    Ok(())
}

/// Two of three parents end together.
pub(super) async fn pending_beside_end(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let parents = db.put_all(3).await;
    let child = parents
        .iter()
        .fold(new(), |child, parent| child.after(*parent));
    let child = db.put(child).await;
    let held = fine(db.claim_as(worker, 2).await)?.jobs;
    fine(db.jobs.settle(worker, &call::all_done(&held)).await)?;
    let view = fine(db.jobs.job(child).await)?;
    let stands = view.map(|view| (view.state, view.pending));
    let right = Some((JobState::Blocked, 1));
    holds(stands == right, format!("{stands:?}"))
}

pub(super) async fn not_due_child(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    let later = When::In(Duration::from_secs(3600));
    let child = db.put(new().after(parent).when(later)).await;
    let job = claimed(db, worker).await?;
    db.complete(worker, &job).await;
    let state = db.state(child).await;
    holds(state == JobState::Scheduled, format!("{state:?}"))
}

pub(super) async fn key_of_living(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    db.put(new()).await;
    let keyed = db.put(new().unique_key("k")).await;
    let job = claimed(db, worker).await?;
    db.complete(worker, &job).await;
    let again = fine(db.jobs.enqueue(&[new().unique_key("k")]).await)?;
    holds(again == [Enqueued::Existing(keyed)], format!("{again:?}"))
}

pub(super) async fn tick_again(db: &Database) -> Promise {
    fine(db.jobs.tick("s", 1000, &new()).await)?;
    let again = fine(db.jobs.tick("s", 1000, &new()).await)?;
    holds(again.is_none(), "it was put in twice")
}

/// The end of a parent has not been carried to all of its children, so it is still needed.
pub(super) async fn prune_needed(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    let children = vec![new().after(parent); 1500];
    fine(db.jobs.enqueue(&children).await)?;
    for child in 0..1500 {
        fine(db.jobs.cancel(JobId(parent.0 + 1 + child)).await)?;
    }
    let job = claimed(db, worker).await?;
    fine(db.sql.batch_execute(&call::complete(worker, &job)).await)?;
    fine(db.sql.batch_execute("DELETE FROM job_todo").await)?;
    fine(db.jobs.prune(Duration::ZERO, 10_000).await)?;
    let kept = db
        .number("SELECT count(*) FROM job_ended WHERE job_id = 1")
        .await;
    holds(kept == 1, "it is gone")
}

/// An urgent child was cancelled, and nobody has told its parent yet.
pub(super) async fn prune_before_todo(db: &Database) -> Promise {
    let parent = db.put(new().priority(Priority::MIN)).await;
    let child = db.put(new().priority(Priority::MAX).after(parent)).await;
    while fine(db.jobs.release(1000).await)? > 0 {}
    // In the session beside the pool: nobody goes on with it there.
    let cancel = format!("SELECT jobs_cancel({child})");
    fine(db.sql.batch_execute(&cancel).await)?;
    fine(db.jobs.prune(Duration::ZERO, 10).await)?;
    while fine(db.jobs.release(1000).await)? > 0 {}
    let view = fine(db.jobs.job(parent).await)?;
    let urgency = view.map(|view| view.effective_priority);
    holds(urgency == Some(Priority::MIN), format!("{urgency:?}"))
}

pub(super) async fn prune_parent_of_living(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    db.put(new().after(parent)).await;
    let job = claimed(db, worker).await?;
    db.complete(worker, &job).await;
    let pruned = fine(db.jobs.prune(Duration::ZERO, 10).await)?;
    holds(pruned == 0, "it is gone")
}
