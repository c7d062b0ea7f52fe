//! What people ask for beside transactions that move the same jobs.

use monitor_jobs::{Backend, JobState, Jobs, NewJob, Ordering, Priority};

use crate::call::{self, new};
use crate::support::{Database, open, quiet};

/// JOB-18, P1: a job that is being put in below gets the new priority too.
#[tokio::test]
async fn p1_a_change_of_priority_reaches_what_is_being_put_in() {
    let db = open(quiet()).await;
    let low = || new().priority(Priority::MIN);
    let top = db.put(low()).await;
    let middle = db.put(low().after(top)).await;
    let last = db.put(low().after(top)).await;
    for parent in [top, middle] {
        let mut open = db.jobs.begin().await.unwrap();
        let jobs = Jobs::new(db.jobs.clone());
        let put_in = jobs.enqueue_in(&mut open, &[low().after(parent)]).await;
        let child = put_in.unwrap()[0].id();
        let raising = db.spawn(move |db| async move {
            let raised = db.jobs.reprioritise(top, Priority::MAX).await;
            raised.unwrap()
        });
        db.until_blocked(1).await;
        // D9: nothing that comes after what it waits for is in its hands.
        let free = format!("SELECT FROM job WHERE job_id = {last} FOR UPDATE");
        db.at_once(&free).await.unwrap();
        open.client().batch_execute("COMMIT").await.unwrap();
        assert_eq!(raising.await.unwrap(), Some(true));
        for id in [top, middle, last, child] {
            let view = db.jobs.job(id).await.unwrap().unwrap();
            assert_eq!(view.effective_priority, Priority::MAX, "job {id}");
        }
        db.jobs.reprioritise(top, Priority::MIN).await.unwrap();
        let view = db.jobs.job(child).await.unwrap().unwrap();
        assert_eq!(view.effective_priority, Priority::MIN);
    }
}

/// Calls `function` on a cancelled job that a retry brings back between its look at the living and
/// its look at the ended.
async fn brought_back<T: Send + 'static, F>(
    function: &str,
    call: impl FnOnce(call::Caller, monitor_jobs::JobId) -> F,
) -> (Database, monitor_jobs::JobId, T)
where
    F: Future<Output = T> + Send + 'static,
{
    let db = open(quiet()).await;
    let job = db.put(new()).await;
    assert_eq!(db.jobs.cancel(job).await.unwrap(), Some(true));
    let retry = db.session().await;
    let look = "FROM job j WHERE j.job_id = p_job FOR NO KEY UPDATE;";
    let pause = format!(
        "{look} IF NOT FOUND THEN
            PERFORM pg_advisory_xact_lock_shared(7); PERFORM FROM job j WHERE false;
        END IF;"
    );
    // It is the other's function from now on: the retry is made by what it was before.
    retry.batch_execute("BEGIN").await.unwrap();
    retry
        .batch_execute(&format!("SELECT jobs_retry({job})"))
        .await
        .unwrap();
    db.mutate(function, look, &pause).await;
    db.hold("SELECT pg_advisory_xact_lock(7)").await;
    let calling = db.spawn(move |db| call(db, job));
    db.until_blocked(1).await;
    retry.batch_execute("COMMIT").await.unwrap();
    db.commit().await;
    let answer = calling.await.unwrap();
    (db, job, answer)
}

/// A job that is brought back at the same time exists.
#[tokio::test]
async fn a_job_between_its_two_tables_is_found() {
    let (db, job, answer) = brought_back("jobs_cancel", |db, job| async move {
        db.jobs.cancel(job).await.unwrap()
    })
    .await;
    assert_eq!(answer, Some(true));
    assert_eq!(db.state(job).await, JobState::Cancelled);
    db.healthy().await;

    let (db, job, answer) = brought_back("jobs_retry", |db, job| async move {
        db.jobs.retry(job).await.unwrap()
    })
    .await;
    assert_eq!(answer, Some(false), "it is ready already");
    assert_eq!(db.state(job).await, JobState::Ready);
    db.healthy().await;

    let (db, job, answer) = brought_back("jobs_reprioritise", |db, job| async move {
        db.jobs.reprioritise(job, Priority::MAX).await.unwrap()
    })
    .await;
    assert_eq!(answer, Some(true));
    let view = db.jobs.job(job).await.unwrap().unwrap();
    assert_eq!(view.priority, Priority::MAX);
    db.healthy().await;
}

/// JOB-29, D9: a release waits for nobody who has an ended child in his hands and may want a later
/// one, as a retry of that child does; it leaves the edge for later.
#[tokio::test]
async fn d9_a_release_waits_for_no_retry_of_an_ended_child() {
    for settled in [false, true] {
        let db = open(quiet()).await;
        let worker = db.worker(5).await;
        let parent = db.put(new()).await;
        let ended = db.put(new().after(parent)).await;
        let held_by_it = db.put(new().after(parent).after(ended)).await;
        assert_eq!(db.jobs.cancel(ended).await.unwrap(), Some(true));
        assert_eq!(db.state(held_by_it).await, JobState::Held);
        let job = db.claim_as(worker, 1).await.unwrap().jobs.remove(0);
        let carry = match settled {
            true => call::complete(worker, &job),
            false => {
                // As one that left its edges to the next release.
                db.mutate("jobs_settle", "jobs_carry_inline", "test_carry")
                    .await;
                let todo = "CREATE FUNCTION test_carry(bigint[], bigint, bigint)
                    RETURNS boolean LANGUAGE sql AS 'INSERT INTO job_todo
                    SELECT u, 0 FROM unnest($1) u; SELECT true'";
                db.sql.batch_execute(todo).await.unwrap();
                let end = call::complete(worker, &job);
                db.sql.batch_execute(&end).await.unwrap();
                "SELECT jobs_release(1000)".to_owned()
            }
        };
        let lock = format!("SELECT FROM job_ended WHERE job_id = {ended} FOR UPDATE");
        db.hold(&lock).await;
        db.at_once(&carry).await.unwrap();
        let open = "SELECT count(*) FROM job_edge WHERE state = 0";
        assert_eq!(db.number(open).await, 1, "that of the ended child");
        assert_eq!(db.jobs.release(1000).await.unwrap(), 0);
        db.commit().await;
        db.healthy().await;
        while db.jobs.release(1000).await.unwrap() > 0 {}
        assert_eq!(db.number(open).await, 0);
        assert_eq!(db.number("SELECT count(*) FROM job_todo").await, 0);
        let view = db.jobs.job(ended).await.unwrap().unwrap();
        assert_eq!((view.state, view.pending), (JobState::Cancelled, 0));
        assert_eq!(db.jobs.retry(held_by_it).await.unwrap(), Some(true));
        assert_eq!(db.state(held_by_it).await, JobState::Ready);
        db.healthy().await;
    }
}

/// D9: new names of queues are written down in one order, also where some of them are of fair
/// jobs.
#[tokio::test]
async fn d9_new_queues_of_a_call_come_in_one_order() {
    let db = open(quiet()).await;
    let fair = new().queue("b").ordering(Ordering::Fair { weight: 1 });
    let jobs: Vec<NewJob> = vec![fair, new().queue("a")];
    db.hold("SELECT jobs_queues('{a}')").await;
    let second = db.spawn(move |db| async move { db.jobs.enqueue(&jobs).await.unwrap().len() });
    db.until_blocked(1).await;
    let next = "SET lock_timeout = '1ms'; SELECT jobs_queues('{b}')";
    db.sql.batch_execute(next).await.unwrap();
    db.commit().await;
    assert_eq!(second.await.unwrap(), 2);
}
