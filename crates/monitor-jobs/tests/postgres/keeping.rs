//! What is kept of jobs that have ended, and for how long.

use std::time::Duration;

use monitor_jobs::conformance::{Base, START_MS};
use monitor_jobs::{Backend, Edge, JobId, JobState, On, Outcome, Unmet};

use crate::call::{self, new};
use crate::support::{Database, open, quiet};

/// JOB-16, JOB-41: where what completes leaves no row, its attempts leave none, neither the last
/// one nor those that failed before.
#[tokio::test]
async fn a_forgotten_job_leaves_no_attempts() {
    let mut options = quiet();
    options.forget_completed = true;
    let db = open(options).await;
    let worker = db.worker(9).await;
    let parent = db.put(new()).await;
    let child = db.put(new().after(parent)).await;
    let alone = db.put(new()).await;
    let attempts = "SELECT count(*) FROM job_execution";
    for (end, kept) in [
        (Outcome::Release, 2),
        (
            Outcome::Fail {
                error: "no".to_owned(),
                retry_in: Some(Duration::ZERO),
            },
            4,
        ),
        (call::done(), 3),
    ] {
        let held = db.claim_as(worker, 2).await.unwrap().jobs;
        assert_eq!([held[0].id, held[1].id], [parent, alone]);
        let ends = [
            call::end(&held[0], end.clone()),
            call::end(&held[1], end.clone()),
        ];
        db.jobs.settle(worker, &ends).await.unwrap();
        assert_eq!(db.number(attempts).await, kept, "{end:?}");
    }
    assert_eq!(db.jobs.executions(parent).await.unwrap().len(), 3);
    let held = db.claim_as(worker, 2).await.unwrap().jobs;
    assert_eq!(held[0].id, child);
    db.complete_all(worker, &held).await;
    assert_eq!(db.number(attempts).await, 3);
    assert_eq!(db.jobs.prune(Duration::ZERO, 10).await.unwrap(), 1);
    assert_eq!(db.number(attempts).await, 0);
}

/// A dead job, and a session that puts a child in under it at the worst moment of a prune: after
/// that has seen that nobody needs the job, before it has it in its hands.
async fn pruned_beside_an_enqueue(db: &Database) -> (JobId, JobId) {
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    let held = db.claim_as(worker, 1).await.unwrap().jobs;
    let dead = Outcome::Fail {
        error: "no".to_owned(),
        retry_in: None,
    };
    let end = [call::end(&held[0], dead)];
    db.jobs.settle(worker, &end).await.unwrap();
    let pause = "CREATE FUNCTION test_pause() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
        BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN true; END $$";
    db.sql.batch_execute(pause).await.unwrap();
    let old = "d.ended_ms <= oldest";
    let slow = "d.ended_ms <= oldest AND test_pause()";
    db.mutate("jobs_prune", old, slow).await;
    db.hold("SELECT pg_advisory_xact_lock(7)").await;
    let pruning = db.spawn(|db| async move { db.jobs.prune(Duration::ZERO, 10).await });
    db.until_blocked(1).await;
    let edge = Edge {
        parent,
        on: On::Success,
        unmet: Unmet::Hold,
    };
    let child = db.put(new().edge(edge)).await;
    db.commit().await;
    assert_eq!(pruning.await.unwrap().unwrap(), 0);
    (parent, child)
}

/// JOB-26, R7: a job that got a child while it was about to be pruned is kept, with the edge that
/// holds the child.
#[tokio::test]
async fn r7_a_job_that_gets_a_child_is_not_pruned() {
    let db = open(quiet()).await;
    let (parent, child) = pruned_beside_an_enqueue(&db).await;
    assert_eq!(db.state(parent).await, JobState::Dead);
    assert_eq!(db.state(child).await, JobState::Held);
    db.healthy().await;
    assert_eq!(db.jobs.retry(parent).await.unwrap(), Some(true));
    assert_eq!(db.state(child).await, JobState::Blocked);
    db.healthy().await;
    let damage = "UPDATE job SET holds = 1, state = 1, pending = 0 WHERE state = 0;
        DELETE FROM job_edge";
    db.sql.batch_execute(damage).await.unwrap();
    let findings = db.jobs.doctor().await.unwrap();
    let found = findings.iter().any(|it| it.broken && it.check == "holds");
    assert!(found, "{findings:?}");
}

/// JOB-48: of what is not old yet nothing is read.
#[tokio::test]
async fn a_prune_reads_no_more_than_is_old() {
    let db = open(quiet()).await;
    db.stop_clock(START_MS).await;
    let worker = db.worker(10_000).await;
    for (put_in, ended_ms) in [(20, START_MS), (3_000, START_MS + 10_000)] {
        db.put_all(put_in).await;
        let held = db.claim_as(worker, 10_000).await.unwrap().jobs;
        db.set_clock(ended_ms).await;
        db.complete_all(worker, &held).await;
    }
    for (old, removed) in [("9000", 20), ("9000", 0)] {
        db.sql.batch_execute("BEGIN").await.unwrap();
        let prune = format!("SELECT jobs_prune({old}, 1000)::bigint");
        assert_eq!(db.number(&prune).await, removed);
        let read = "SELECT pg_stat_get_xact_tuples_returned('job_ended'::regclass)
            + pg_stat_get_xact_tuples_fetched('job_ended'::regclass)";
        let read = db.number(read).await;
        // The entries of what is gone are still in the index, and looked at.
        assert!(read <= 100, "{read} rows for {removed}");
        db.commit().await;
    }
}

/// R7: what is needed stands in the way of nothing that ended after it.
#[tokio::test]
async fn r7_what_is_kept_keeps_nothing_else() {
    let db = open(quiet()).await;
    let worker = db.worker(100).await;
    let parents = db.put_all(30).await;
    let children: Vec<_> = parents
        .iter()
        .map(|parent| new().after(*parent).queue("elsewhere"))
        .collect();
    db.jobs.enqueue(&children).await.unwrap();
    db.put_all(5).await;
    let held = db.claim_as(worker, 100).await.unwrap().jobs;
    db.complete_all(worker, &held).await;
    assert_eq!(db.jobs.prune(Duration::ZERO, 4).await.unwrap(), 4);
    assert_eq!(db.jobs.prune(Duration::ZERO, 4).await.unwrap(), 1);
    for parent in parents {
        assert_eq!(db.state(parent).await, JobState::Completed);
    }
}
