//! Two sessions against each other, one of them held open: what waits, what is seen afterwards.
//! T1 to T13 are the schedules that other queues were seen to fail in.

use std::sync::Arc;
use std::time::Duration;

use monitor_jobs::{
    Backend, ClaimError, Edge, Epoch, JobId, JobState, Jobs, On, Outcome, Priority, Settled, Unmet,
    WorkerPulse,
};
use monitor_testkit::services::Postgres;
use tokio::task::JoinHandle;

use crate::support::{Database, call, new, open, open_on, quiet};

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
    let worker = monitor_jobs::WorkerId(worker);
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
    let ends: Vec<_> = held
        .iter()
        .map(|job| call::end(job, call::done()))
        .collect();
    let settled = db.jobs.settle(worker, &ends).await.unwrap();
    assert!(settled.iter().all(|settled| *settled == Settled::Done));
    assert_eq!(db.state(child).await, JobState::Ready);
    db.healthy().await;
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
    assert_eq!(
        second.await.unwrap(),
        [monitor_jobs::Enqueued::Existing(first[0].id())]
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
            SELECT d.job_id, 0, d.state FROM job_ended d; SELECT true'",
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

impl Database {
    /// Begins a transaction in the session beside the pool and leaves it open.
    async fn hold(&self, sql: &str) {
        self.sql.batch_execute("BEGIN").await.unwrap();
        self.sql.batch_execute(sql).await.unwrap();
    }

    async fn commit(&self) {
        self.sql.batch_execute("COMMIT").await.unwrap();
    }
}
