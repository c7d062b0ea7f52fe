//! Two sessions against each other, one of them held open: who holds a job, and whose effects count.
//! T1 to T13 are the schedules that other queues were seen to fail in.

use std::sync::Arc;
use std::time::Duration;

use monitor_jobs::{
    Backend, ClaimError, Epoch, JobId, JobState, JobTransaction, Outcome, PgJobs, Settled,
    WorkerId, WorkerPulse,
};
use monitor_testkit::services::Postgres;

use crate::call::{self, new};
use crate::support::{open, open_on, quiet};

/// T1, JOB-1, JOB-14: what the others do: a row that names a worker whose registration is not
/// committed fails at once. T2, W1: a claim does not; it says that there is no such worker.
#[tokio::test]
async fn t1_a_claim_beside_an_uncommitted_registration() {
    let db = open(quiet()).await;
    db.jobs.enqueue(&[new()]).await.unwrap();
    let worker: i64 = {
        db.sql.batch_execute("BEGIN").await.unwrap();
        let insert =
            "INSERT INTO job_worker (name, queues, capacity, lease_ms, registered_ms, seen_ms)
            VALUES ('w', '{1}', 5, 30000, 0, 0) RETURNING worker_id";
        db.sql.query_one(insert, &[]).await.unwrap().get(0)
    };
    let other = db.session().await;
    let naive = format!("INSERT INTO job_claim VALUES (1, {worker}, 1, '{{1}}')");
    let refused = other.batch_execute(&naive).await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "23503");
    let worker = WorkerId(worker);
    let claim = db.claim_as(worker, 1).await;
    assert!(
        matches!(claim, Err(ClaimError::UnknownWorker(_))),
        "{claim:?}"
    );
    db.sql.batch_execute("COMMIT").await.unwrap();
    assert_eq!(db.claim_as(worker, 1).await.unwrap().jobs.len(), 1);
}

/// T1b, T2, JOB-1, JOB-2, W1, W3: a claim waits for an open deregistration, then finds no worker.
#[tokio::test]
async fn t2_a_claim_waits_for_an_open_retirement() {
    let db = open(quiet()).await;
    db.jobs.enqueue(&[new()]).await.unwrap();
    let worker = db.worker(5).await;
    db.hold(&format!("SELECT jobs_deregister({worker})")).await;
    let claim = db.spawn(move |db| async move { db.claim_as(worker, 1).await });
    db.until_blocked(1).await;
    db.commit().await;
    let claim = claim.await.unwrap();
    assert!(
        matches!(claim, Err(ClaimError::UnknownWorker(_))),
        "{claim:?}"
    );
    db.healthy().await;
}

/// T2: beats do not wait for a claim, a retirement does, and then it sees what was claimed.
#[tokio::test]
async fn t2_a_retirement_waits_for_an_open_claim_and_sees_it() {
    let db = open(quiet()).await;
    let job = db.put(new()).await;
    let worker = db.worker(5).await;
    db.hold(&format!("SELECT jobs_claim({worker}, 1, true)"))
        .await;
    assert!(db.jobs.beat(worker).await.unwrap().is_some());
    let gone = db.spawn(move |db| async move { db.jobs.deregister(worker).await.unwrap() });
    db.until_blocked(1).await;
    db.commit().await;
    assert!(gone.await.unwrap());
    assert_eq!(db.state(job).await, JobState::Ready);
    db.healthy().await;
}

/// T5, JOB-33, S6: a rescue beside an acknowledgement that is not committed yet.
#[tokio::test]
async fn t5_a_rescue_leaves_what_is_being_acknowledged() {
    let db = open(quiet()).await;
    let worker = db.worker(5).await;
    let job = db.put(new()).await;
    let held = db.claim_as(worker, 1).await.unwrap().jobs;
    let pulse = db.pulse(worker).await;
    db.hold(&call::complete(worker, &held[0])).await;
    let rescued = db.jobs.rescue(&pulse, 10).await.unwrap();
    assert_eq!((rescued.requeued, rescued.retired), (0, false));
    db.commit().await;
    let rescued = db.jobs.rescue(&pulse, 10).await.unwrap();
    assert_eq!((rescued.requeued, rescued.retired), (0, true));
    assert_eq!(db.state(job).await, JobState::Completed);
    db.healthy().await;
}

/// F3, L5, S6: a worker dies, or is stopped, between `complete_in` and the commit. Who rescues waits
/// for nothing: it takes what that claim does not keep at once, and the rest when the transaction is
/// gone, however it ends.
#[tokio::test]
async fn t5_a_rescue_waits_for_no_open_transaction() {
    for end in ["COMMIT", "ROLLBACK"] {
        let db = open(quiet()).await;
        let worker = db.worker(5).await;
        db.put_all(3).await;
        let held = db.claim_as(worker, 2).await.unwrap().jobs;
        let other = db.claim_as(worker, 1).await.unwrap().jobs;
        let pulse = db.pulse(worker).await;
        db.hold(&call::fence(&held[0])).await;
        let settle = call::complete(worker, &held[0]);
        db.sql.batch_execute(&settle).await.unwrap();
        db.at_once(&call::rescue(worker)).await.unwrap();
        let rescued = db.jobs.rescue(&pulse, 10).await.unwrap();
        assert_eq!((rescued.requeued, rescued.retired), (0, false), "{end}");
        assert_eq!(db.state(other[0].id).await, JobState::Ready);
        assert_eq!(db.state(held[1].id).await, JobState::Running);
        db.sql.batch_execute(end).await.unwrap();
        let rescued = db.jobs.rescue(&pulse, 10).await.unwrap();
        let left = if end == "COMMIT" { 1 } else { 2 };
        assert_eq!((rescued.requeued, rescued.retired), (left, true), "{end}");
        assert_eq!(db.state(held[1].id).await, JobState::Ready);
        db.healthy().await;
    }
}

/// T2: a deregistration, unlike a rescue, waits for whoever ends a job of the same claim.
#[tokio::test]
async fn t2_a_retirement_waits_for_an_open_end() {
    let db = open(quiet()).await;
    let worker = db.worker(5).await;
    db.put_all(2).await;
    let held = db.claim_as(worker, 2).await.unwrap().jobs;
    db.hold(&call::complete(worker, &held[0])).await;
    let gone = db.spawn(move |db| async move { db.jobs.deregister(worker).await.unwrap() });
    db.until_blocked(1).await;
    db.commit().await;
    assert!(gone.await.unwrap());
    assert_eq!(db.state(held[0].id).await, JobState::Completed);
    assert_eq!(db.state(held[1].id).await, JobState::Ready);
    db.healthy().await;
}

/// F3: a transaction whose process is stopped does not keep its job for hours, unless somebody said
/// so.
#[tokio::test]
async fn t5_an_idle_transaction_is_ended() {
    let db = open(quiet()).await;
    let limit = async |jobs: &PgJobs| -> String {
        let transaction = jobs.begin().await.unwrap();
        let show = "SHOW idle_in_transaction_session_timeout";
        let row = transaction.client().query_one(show, &[]).await.unwrap();
        transaction.rollback().await.unwrap();
        row.get(0)
    };
    assert_eq!(limit(&db.jobs).await, "1min");
    let mut config = db.config.clone();
    let options = db.config.get_options().unwrap();
    config.options(format!(
        "{options} -c idle_in_transaction_session_timeout=1s"
    ));
    let jobs = PgJobs::connect(config, quiet()).await.unwrap();
    assert_eq!(limit(&jobs).await, "1s");

    let worker = db.worker(5).await;
    db.put(new()).await;
    let held = db.claim_as(worker, 1).await.unwrap().jobs;
    let pulse = db.pulse(worker).await;
    let mut stopped = jobs.begin().await.unwrap();
    let end = call::end(&held[0], call::done());
    assert_eq!(stopped.settle(worker, &end).await.unwrap(), Settled::Done);
    while !db.jobs.rescue(&pulse, 10).await.unwrap().retired {
        tokio::task::yield_now().await;
    }
    assert_eq!(db.state(held[0].id).await, JobState::Ready);
    drop(stopped);
}

/// T8: a worker that is registered and claims in one transaction is accepted.
#[tokio::test]
async fn t8_registration_and_claim_in_one_transaction() {
    let db = open(quiet()).await;
    db.put(new()).await;
    let both = "BEGIN;
        INSERT INTO job_worker (name, queues, capacity, lease_ms, registered_ms, seen_ms)
            VALUES ('w', '{1}', 5, 30000, 0, 0);
        SELECT jobs_claim(max(worker_id), 1, true) FROM job_worker;
        COMMIT";
    db.sql.batch_execute(both).await.unwrap();
    assert_eq!(db.number("SELECT sum(remaining) FROM job_claim").await, 1);
    db.healthy().await;
}

/// T9, JOB-34, JOB-36, F3, F4: a transaction that fenced its job first, against a rescue and a
/// zombie. One effect, and it is the owner's.
#[tokio::test]
async fn t9_effects_of_a_fenced_transaction_beside_a_rescue() {
    let db = open(quiet()).await;
    db.sql
        .batch_execute("CREATE TABLE effect (who text)")
        .await
        .unwrap();
    let worker = db.worker(5).await;
    let job = db.put(new()).await;
    let held = db.claim_as(worker, 1).await.unwrap().jobs;
    let pulse = db.pulse(worker).await;
    let (id, epoch) = (held[0].id, held[0].epoch);
    db.hold(&format!("SELECT jobs_fence({id}, {epoch})")).await;
    assert_eq!(db.jobs.rescue(&pulse, 10).await.unwrap().requeued, 0);
    db.sql
        .batch_execute("INSERT INTO effect VALUES ('owner')")
        .await
        .unwrap();
    db.sql
        .batch_execute(&call::complete(worker, &held[0]))
        .await
        .unwrap();
    assert_eq!(db.jobs.rescue(&pulse, 10).await.unwrap().requeued, 0);
    db.commit().await;
    // The zombie: what was asked before, asked again after the takeover of another attempt.
    let fenced = db
        .number(&format!(
            "SELECT count(*) FROM jobs_fence({id}, {epoch}) f
        WHERE f IS NOT NULL"
        ))
        .await;
    assert_eq!(fenced, 0);
    assert_eq!(db.number("SELECT count(*) FROM effect").await, 1);
    assert_eq!(db.state(job).await, JobState::Completed);
}

/// T9, JOB-34, F2, F3: after a takeover has committed nothing of the old epoch changes a row.
#[tokio::test]
async fn t9_a_zombie_writes_nothing() {
    let db = open(quiet()).await;
    let (old, young) = (db.worker(5).await, db.worker(5).await);
    let job = db.put(new()).await;
    let held = db.claim_as(old, 1).await.unwrap().jobs;
    let pulse = db.pulse(old).await;
    assert!(db.jobs.rescue(&pulse, 10).await.unwrap().retired);
    let again = db.claim_as(young, 1).await.unwrap().jobs;
    assert!(again[0].epoch > held[0].epoch);
    let before = db.jobs.job(job).await.unwrap();
    for outcome in [
        call::done(),
        Outcome::Release,
        Outcome::Cancelled,
        Outcome::Snooze(Duration::from_secs(1)),
        Outcome::Fail {
            error: "late".to_owned(),
            retry_in: None,
        },
    ] {
        for worker in [old, young] {
            let settled = db
                .jobs
                .settle(worker, &[call::end(&held[0], outcome.clone())])
                .await;
            assert_eq!(settled.unwrap(), [Settled::Stale]);
        }
    }
    assert!(
        !db.jobs
            .progress(job, held[0].epoch, 50, "late")
            .await
            .unwrap()
    );
    assert!(db.jobs.beat(old).await.unwrap().is_none());
    assert_eq!(db.jobs.job(job).await.unwrap(), before);
    assert_eq!(db.complete(young, &again[0]).await, Settled::Done);
}

/// T10: a beat touches no index: every one of two thousand is a HOT update.
#[tokio::test]
async fn t10_beats_are_hot_updates() {
    // On a server of its own: while another's snapshot keeps dead rows, a page fills up and the row
    // has to move to the next one.
    let alone = Postgres::with_settings("autovacuum = off").unwrap();
    let db = open_on(Arc::new(alone), quiet()).await;
    let worker = db.worker(5).await;
    let beats = format!(
        "DO $$ BEGIN FOR i IN 1..2000 LOOP
        PERFORM jobs_beat({worker}); COMMIT; END LOOP; END $$"
    );
    db.sql.batch_execute(&beats).await.unwrap();
    db.sql
        .batch_execute("SELECT pg_stat_force_next_flush()")
        .await
        .unwrap();
    let sql = "SELECT n_tup_upd - n_tup_hot_upd FROM pg_stat_user_tables
        WHERE relid = 'job_worker'::regclass AND n_tup_upd = 2000";
    assert_eq!(db.number(sql).await, 0);
}

/// T11, W2: the belt: a worker that holds something cannot be removed, whoever tries.
#[tokio::test]
async fn t11_a_worker_with_leases_cannot_be_removed() {
    let db = open(quiet()).await;
    let worker = db.worker(5).await;
    db.put(new()).await;
    db.claim_as(worker, 1).await.unwrap();
    let remove = format!("DELETE FROM job_worker WHERE worker_id = {worker}");
    let refused = db.sql.batch_execute(&remove).await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "23503");
    assert!(db.jobs.deregister(worker).await.unwrap());
    db.healthy().await;
}

/// T12, C1: beside an open claim another passes over what that one has locked, and takes no more
/// than its limit, in order.
#[tokio::test]
async fn t12_a_claim_never_takes_more_than_its_limit() {
    let db = open(quiet()).await;
    let (one, two) = (db.worker(100).await, db.worker(100).await);
    let jobs: Vec<JobId> = db.put_all(20).await;
    db.hold(&format!("SELECT jobs_claim({one}, 7, true)")).await;
    let claimed = db.claim_as(two, 7).await.unwrap().jobs;
    let ids: Vec<JobId> = claimed.iter().map(|job| job.id).collect();
    assert_eq!(ids, jobs[7..14]);
    db.commit().await;
    assert_eq!(
        db.number("SELECT count(*) FROM job WHERE state = 4").await,
        14
    );
    db.healthy().await;
}

/// JOB-39, C4: two claims of one worker at the same time share what is left of its capacity.
#[tokio::test]
async fn two_claims_of_one_worker_stay_within_its_capacity() {
    let db = open(quiet()).await;
    let worker = db.worker(5).await;
    db.put_all(20).await;
    db.hold(&format!("SELECT jobs_claim({worker}, 4, true)"))
        .await;
    let second = db.spawn(move |db| async move { db.claim_as(worker, 4).await });
    db.until_blocked(1).await;
    db.commit().await;
    assert_eq!(second.await.unwrap().unwrap().jobs.len(), 1);
    let third = db.claim_as(worker, 4).await;
    assert!(
        matches!(third, Err(ClaimError::AtCapacity { held: 5, .. })),
        "{third:?}"
    );
}

/// W5: a beat that is under way saves the worker; W1: so does a claim.
#[tokio::test]
async fn w5_a_rescue_passes_over_a_worker_that_is_busy_with_a_sign_of_life() {
    let db = open(quiet()).await;
    let worker = db.worker(5).await;
    let job = db.put(new()).await;
    let pulse = db.pulse(worker).await;
    for (sign, held) in [("jobs_beat($)", 0), ("jobs_claim($, 1, true)", 1)] {
        db.hold(&format!(
            "SELECT {}",
            sign.replace('$', &worker.to_string())
        ))
        .await;
        let rescued = db.jobs.rescue(&pulse, 10).await.unwrap();
        assert_eq!((rescued.requeued, rescued.retired), (0, false), "{sign}");
        db.commit().await;
        assert_eq!(db.number("SELECT count(*) FROM job_claim").await, held);
    }
    let stale = WorkerPulse { beats: 0, ..pulse };
    assert!(db.jobs.rescue(&stale, 10).await.unwrap().alive);
    assert_eq!(db.state(job).await, JobState::Running);
    assert_eq!(db.jobs.held(worker).await.unwrap(), [(job, Epoch(1))]);
}
