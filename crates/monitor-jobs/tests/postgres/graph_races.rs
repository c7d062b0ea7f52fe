//! Two sessions against each other, one of them held open: parents that end while children come, keys
//! and ticks that are put in twice. T1 to T13 are the schedules that other queues were seen to fail in.

use std::time::Duration;

use monitor_jobs::{
    Backend, Edge, Enqueued, JobId, JobState, Jobs, On, Outcome, Priority, Settled, Unmet,
};
use tokio::task::JoinHandle;

use crate::call::{self, new};
use crate::support::{open, quiet};

/// T3, JOB-23, S7: the last two parents end in transactions that overlap.
#[tokio::test]
async fn t3_two_last_parents_in_overlapping_transactions() {
    let db = open(quiet()).await;
    let worker = db.worker(5).await;
    let parents = [db.put(new()).await, db.put(new()).await];
    let child = db.put(new().after(parents[0]).after(parents[1])).await;
    let held = db.claim_as(worker, 2).await.unwrap().jobs;
    db.hold(&call::complete(worker, &held[0])).await;
    let last = held[1].clone();
    let second = db.spawn(move |db| async move { db.complete(worker, &last).await });
    db.until_blocked(1).await;
    db.commit().await;
    assert_eq!(second.await.unwrap(), Settled::Done);
    assert_eq!(db.state(child).await, JobState::Ready);
    db.healthy().await;
}

/// T4, JOB-24, D5: a child is put in under a running parent, which completes before that commits.
#[tokio::test]
async fn t4_a_late_edge_is_not_lost() {
    let db = open(quiet()).await;
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    let other = db.put(new()).await;
    let held = db.claim_as(worker, 2).await.unwrap().jobs;
    let mut transaction = db.jobs.begin().await.unwrap();
    let jobs = Jobs::new(db.jobs.clone());
    let put_in = jobs
        .enqueue_in(&mut transaction, &[new().after(parent)])
        .await;
    let child = put_in.unwrap()[0].id();
    let first = held[0].clone();
    let completing = db.spawn(move |db| async move { db.complete(worker, &first).await });
    db.until_blocked(1).await;
    // By hand: there is no claimed job in it.
    transaction.client().batch_execute("COMMIT").await.unwrap();
    assert_eq!(completing.await.unwrap(), Settled::Done);
    assert_eq!(db.state(child).await, JobState::Ready);

    // The other way round: who puts in waits for the completion, and finds the parent ended.
    db.hold(&call::complete(worker, &held[1])).await;
    let late = db.spawn(move |db| async move { db.put(new().after(other)).await });
    db.until_blocked(1).await;
    db.commit().await;
    assert_eq!(db.state(late.await.unwrap()).await, JobState::Ready);
    db.healthy().await;
}

/// T7, JOB-23, D1: two parents of one child in one settle: it is counted down by two.
#[tokio::test]
async fn t7_two_parents_in_one_statement() {
    let db = open(quiet()).await;
    let worker = db.worker(100).await;
    let parents = db.jobs.enqueue(&vec![new(); 64]).await.unwrap();
    let child = parents
        .iter()
        .fold(new(), |child, parent| child.after(parent.id()));
    let child = db.put(child).await;
    let held = db.claim_as(worker, 100).await.unwrap().jobs;
    db.complete_all(worker, &held).await;
    assert_eq!(db.state(child).await, JobState::Ready);
    db.healthy().await;
}

/// T13, JOB-18, P1, P2: two children raise an ancestor at the same time: the maximum holds.
#[tokio::test]
async fn t13_two_raises_at_the_same_time() {
    let db = open(quiet()).await;
    let low = |priority| new().priority(Priority::new(priority).unwrap());
    for _ in 0..8 {
        let top = db.put(low(0)).await;
        let middle = db.put(low(0).after(top)).await;
        let raises: Vec<JoinHandle<JobId>> = [4, 5, 3, 2]
            .into_iter()
            .map(|priority| {
                db.spawn(move |db| async move {
                    db.put(
                        new()
                            .priority(Priority::new(priority).unwrap())
                            .after(middle),
                    )
                    .await
                })
            })
            .collect();
        for raise in raises {
            raise.await.unwrap();
        }
        while db.jobs.release(1000).await.unwrap() > 0 {}
        for id in [top, middle] {
            let view = db.jobs.job(id).await.unwrap().unwrap();
            assert_eq!(view.effective_priority, Priority::MAX);
        }
    }
}

/// D9: what would lock a lower job after a higher one is left to a transaction of its own: beside
/// somebody who locks both in the right order there is no deadlock.
#[tokio::test]
async fn d9_a_settle_holds_nothing_while_it_waits_for_a_lower_job() {
    let db = open(quiet()).await;
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    let child = db.put(new().after(parent)).await;
    let higher = db.put(new()).await;
    let held = db.claim_as(worker, 2).await.unwrap().jobs;
    assert_eq!((held[0].id, held[1].id), (parent, higher));
    db.hold(&format!(
        "SELECT FROM job WHERE job_id = {child} FOR NO KEY UPDATE"
    ))
    .await;
    let ends = [
        call::end(&held[0], call::done()),
        call::end(&held[1], Outcome::Release),
    ];
    let settling = db.spawn(move |db| async move { db.jobs.settle(worker, &ends).await.unwrap() });
    db.until_blocked(1).await;
    let next = format!("SELECT FROM job WHERE job_id = {higher} FOR NO KEY UPDATE NOWAIT");
    db.sql.batch_execute(&next).await.unwrap();
    db.commit().await;
    assert_eq!(settling.await.unwrap(), [Settled::Done, Settled::Done]);
    assert_eq!(db.state(child).await, JobState::Ready);
}

/// R5: two nodes put in the same tick; the second waits for the first, then knows.
#[tokio::test]
async fn r5_a_tick_is_put_in_once() {
    let db = open(quiet()).await;
    db.hold("SELECT jobs_tick('nightly', 1000)").await;
    let second = db.spawn(|db| async move { db.jobs.tick("nightly", 1000, &new()).await.unwrap() });
    db.until_blocked(1).await;
    db.commit().await;
    assert_eq!(second.await.unwrap(), None);
    assert!(
        db.jobs
            .tick("nightly", 2000, &new())
            .await
            .unwrap()
            .is_some()
    );
}

/// JOB-17: two put in the same key at the same time: the second waits and learns who has it.
#[tokio::test]
async fn a_key_is_given_once() {
    let db = open(quiet()).await;
    db.put(new()).await;
    let mut transaction = db.jobs.begin().await.unwrap();
    let jobs = Jobs::new(db.jobs.clone());
    let first = jobs
        .enqueue_in(&mut transaction, &[new().unique_key("k")])
        .await
        .unwrap();
    let second =
        db.spawn(|db| async move { db.jobs.enqueue(&[new().unique_key("k")]).await.unwrap() });
    db.until_blocked(1).await;
    transaction.client().batch_execute("COMMIT").await.unwrap();
    assert_eq!(second.await.unwrap(), [Enqueued::Existing(first[0].id())]);
}

/// JOB-26: a parent that is retried while its end is still being carried finishes that first, and
/// an edge that was met stays met.
#[tokio::test]
async fn a_parent_retried_half_way_through_its_release() {
    let db = open(quiet()).await;
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    let edge = Edge {
        parent,
        on: On::Success,
        unmet: Unmet::Run,
    };
    let children: Vec<_> = (0..30).map(|_| new().edge(edge)).collect();
    db.jobs.enqueue(&children).await.unwrap();
    let held = db.claim_as(worker, 1).await.unwrap().jobs;
    // As a crash after the first transaction leaves it.
    let failed = call::settle_sql(worker, &held[0], 1);
    db.sql
        .batch_execute(
            "CREATE FUNCTION jobs_carry_nothing(bigint[], bigint, bigint)
        RETURNS boolean LANGUAGE sql AS 'INSERT INTO job_todo
            SELECT d.job_id, 0 FROM job_ended d; SELECT true'",
        )
        .await
        .unwrap();
    db.mutate("jobs_settle", "jobs_carry_inline", "jobs_carry_nothing")
        .await;
    db.sql.batch_execute(&failed).await.unwrap();
    assert_eq!(db.jobs.release(10).await.unwrap(), 10);
    assert_eq!(
        db.number("SELECT count(*) FROM job WHERE state = 3").await,
        10
    );
    assert_eq!(db.jobs.retry(parent).await.unwrap(), Some(true));
    assert_eq!(
        db.number("SELECT count(*) FROM job WHERE state = 3").await,
        31
    );
    let held = db.claim_as(worker, 1).await.unwrap().jobs;
    assert_eq!(held[0].id, parent);
    db.sql
        .batch_execute(&call::settle_sql(worker, &held[0], 0))
        .await
        .unwrap();
    while db.jobs.release(1000).await.unwrap() > 0 {}
    db.healthy().await;
}

/// A child of a dead parent that is being retried waits for it: it is not held by an end that is
/// taken back.
#[tokio::test]
async fn a_child_of_a_parent_that_is_being_retried_waits() {
    let db = open(quiet()).await;
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    assert_eq!(db.jobs.cancel(parent).await.unwrap(), Some(true));
    db.hold(&format!("SELECT jobs_retry({parent})")).await;
    let child = db.spawn(move |db| async move { db.put(new().after(parent)).await });
    db.until_blocked(1).await;
    db.commit().await;
    let child = child.await.unwrap();
    assert_eq!(db.state(child).await, JobState::Blocked);
    let held = db.claim_as(worker, 5).await.unwrap().jobs;
    assert_eq!(held.len(), 1);
    assert_eq!(db.complete(worker, &held[0]).await, Settled::Done);
    assert_eq!(db.state(child).await, JobState::Ready);
    db.healthy().await;
}

/// A retry that meets a prune leaves the key to others.
#[tokio::test]
async fn a_retry_of_a_pruned_job_keeps_no_key() {
    let db = open(quiet()).await;
    let job = db.put(new().unique_key("k")).await;
    assert_eq!(db.jobs.cancel(job).await.unwrap(), Some(true));
    db.hold("INSERT INTO job_unique VALUES ('k', 0)").await;
    let retried = db.spawn(move |db| async move { db.jobs.retry(job).await.unwrap() });
    db.until_blocked(1).await;
    assert_eq!(db.jobs.prune(Duration::ZERO, 10).await.unwrap(), 1);
    db.sql.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(retried.await.unwrap(), Some(false));
    db.healthy().await;
    assert_ne!(db.put(new().unique_key("k")).await, job);
}
