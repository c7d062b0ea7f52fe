//! What people and workers ask for at a bad moment: retries beside releases, wrong counts.

use std::time::Duration;

use monitor_jobs::conformance::Base;
use monitor_jobs::{Backend, JobState, Jobs, NewJob, Ordering, Outcome};

use crate::call::{self, new};
use crate::support::{Database, open, quiet};

/// JOB-37: whoever carries the end of a job along locks the note of that, then children. A retry
/// that went the other way round would wait for the note with the children in its hands.
#[tokio::test]
async fn a_retry_waits_for_a_release_without_a_child_in_its_hands() {
    let first = "PERFORM FROM job_todo t WHERE t.job_id = p_job AND t.what = 0 FOR UPDATE;";
    for guarded in [true, false] {
        let db = open(quiet()).await;
        if !guarded {
            db.mutate("jobs_retry", first, "").await;
        }
        let free = child_is_free(&db).await;
        assert_eq!(free, guarded, "{first}");
        db.healthy().await;
    }
}

/// A retry meets a release: whether a child can be locked while it waits.
async fn child_is_free(db: &Database) -> bool {
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    let children = vec![new().after(parent); 1500];
    let child = db.jobs.enqueue(&children[..1000]).await.unwrap()[0].id();
    db.jobs.enqueue(&children[1000..]).await.unwrap();
    let held = db.claim_as(worker, 1).await.unwrap().jobs;
    // In the session beside the pool: nobody goes on with it there.
    let dead = call::settle_sql(worker, &held[0], 1);
    db.sql.batch_execute(&dead).await.unwrap();
    db.hold(&format!(
        "SELECT FROM job_todo WHERE job_id = {parent} FOR UPDATE"
    ))
    .await;
    let retrying = db.spawn(move |db| async move { db.jobs.retry(parent).await });
    db.until_blocked(1).await;
    let lock = format!("SELECT FROM job WHERE job_id = {child} FOR UPDATE NOWAIT");
    let free = db.sql.batch_execute(&lock).await.is_ok();
    db.commit().await;
    assert_eq!(retrying.await.unwrap().unwrap(), Some(true));
    assert_eq!(db.state(parent).await, JobState::Ready);
    free
}

/// JOB-24: a queue that is new in a transaction which stays open is nobody else's concern.
#[tokio::test]
async fn a_new_queue_in_an_open_transaction_keeps_nobody_waiting() {
    let db = open(quiet()).await;
    let fresh = || new().queue("fresh");
    let mut open = db.jobs.begin().await.unwrap();
    let jobs = Jobs::new(db.jobs.clone());
    let inside = jobs.enqueue_in(&mut open, &[fresh()]).await.unwrap();
    // Fails by lock_timeout if it has to wait.
    let outside = db.put(fresh()).await;
    open.rollback().await.unwrap();
    assert_eq!(db.state(outside).await, JobState::Ready);
    assert_eq!(db.jobs.job(inside[0].id()).await.unwrap(), None);
}

/// JOB-41: a count that is wrong keeps nobody from leaving, and nothing of it stays.
#[tokio::test]
async fn a_wrong_count_does_not_keep_a_worker() {
    let rest = "DELETE FROM job_claim c WHERE c.worker_id = p_worker;";
    for guarded in [true, false] {
        let db = open(quiet()).await;
        if !guarded {
            db.mutate("jobs_deregister", rest, "").await;
        }
        let worker = db.worker(5).await;
        let job = db.put(new()).await;
        db.claim_as(worker, 1).await.unwrap();
        let wrong = "UPDATE job_claim SET remaining = 7";
        db.sql.batch_execute(wrong).await.unwrap();
        let left = db.jobs.deregister(worker).await.is_ok_and(|was| was);
        assert_eq!(left, guarded, "{rest}");
        if left {
            assert_eq!(db.state(job).await, JobState::Ready);
            assert_eq!(db.number("SELECT count(*) FROM job_claim").await, 0);
            db.healthy().await;
        }
    }
}

/// JOB-41, JOB-49: what is kept of workers and tenants goes when it says nothing any more.
#[tokio::test]
async fn receipts_and_debts_do_not_pile_up() {
    const DAY_MS: i64 = 86_400_000;
    let mut options = quiet();
    options.forget_completed = true;
    let db = open(options).await;
    db.stop_clock(1000).await;
    let worker = db.worker(5).await;
    let fair = |tenant: &str| -> NewJob {
        let ordering = Ordering::Fair { weight: 1 };
        new().tenant(tenant).ordering(ordering)
    };
    db.put(fair("waiting").queue("waiting")).await;
    db.put(fair("done")).await;
    let held = db.claim_as(worker, 1).await.unwrap().jobs;
    let done = call::end(&held[0], Outcome::Complete { result: None });
    db.jobs.settle(worker, &[done]).await.unwrap();

    let kept = "SELECT count(*) FROM job_receipt";
    assert_eq!(db.number(kept).await, 1);
    db.jobs.deregister(worker).await.unwrap();
    assert_eq!(db.number(kept).await, 0, "nobody can ask any more");

    let tenants = "SELECT count(*) FROM job_fair";
    let prune = || db.jobs.prune(Duration::from_secs(1), 100);
    for (now_ms, left) in [(DAY_MS, 2), (DAY_MS + 10_000, 1)] {
        db.set_clock(now_ms).await;
        prune().await.unwrap();
        assert_eq!(db.number(tenants).await, left, "after {now_ms} ms");
    }
}
