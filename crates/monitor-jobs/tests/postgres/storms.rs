//! Many real connections at once. Counted afterwards: nothing lost, nothing twice, no deadlock, no
//! foreign key in the way.

use monitor_jobs::{Backend, ClaimError, JobId};

use crate::call::new;
use crate::support::{Database, open, quiet};

async fn storm() -> Database {
    let mut options = quiet();
    options.max_connections = 24;
    open(options).await
}

async fn no_deadlock(db: &Database) {
    db.sql
        .batch_execute("SELECT pg_stat_force_next_flush()")
        .await
        .unwrap();
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(db.number(deadlocks).await, 0, "D9");
    db.healthy().await;
}

/// JOB-1, JOB-13, JOB-14, W1, W2, W3: workers that register, claim and are deregistered in the
/// middle of it, by others.
#[tokio::test(flavor = "multi_thread")]
async fn w1_register_claim_deregister() {
    let db = storm().await;
    db.put_all(400).await;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            db.spawn(|db| async move {
                for _ in 0..10 {
                    let worker = db.register("same name", 5).await;
                    let (claim, gone) =
                        tokio::join!(db.claim_as(worker, 3), db.jobs.deregister(worker));
                    assert!(gone.unwrap());
                    assert!(
                        matches!(claim, Ok(_) | Err(ClaimError::UnknownWorker(_))),
                        "{claim:?}"
                    );
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(
        db.number("SELECT count(*) FROM job WHERE state = 3").await,
        400
    );
    assert_eq!(db.number("SELECT count(*) FROM job_claim").await, 0);
    no_deadlock(&db).await;
}

/// JOB-23, JOB-24, JOB-33, S6, S7, D1, D5, D9: 64 parents that end at the same time, in single
/// calls and in batches, while children of theirs are put in.
#[tokio::test(flavor = "multi_thread")]
async fn s7_parents_end_while_children_come() {
    let db = storm().await;
    for batch in [1, 8] {
        let parents = db.put_all(64).await;
        let children: Vec<JobId> = {
            let all = |mut child: monitor_jobs::NewJob, step: usize| {
                for parent in parents.iter().step_by(step) {
                    child = child.after(*parent);
                }
                child
            };
            let wide = [all(new(), 1), all(new(), 2), all(new(), 3)];
            let put_in = db.jobs.enqueue(&wide).await.unwrap();
            put_in.into_iter().map(monitor_jobs::Enqueued::id).collect()
        };
        let worker = db.worker(200).await;
        let held = db.claim_as(worker, 64).await.unwrap().jobs;
        assert_eq!(held.len(), 64);
        let mut tasks = Vec::new();
        for (place, some) in held.chunks(batch).enumerate() {
            let some = some.to_vec();
            tasks.push(db.spawn(move |db| async move {
                db.complete_all(worker, &some).await;
                0
            }));
            let (jobs, one, two) = (db.jobs.clone(), parents[place], parents[63 - place]);
            tasks.push(tokio::spawn(async move {
                let late = new().after(one);
                let late = if one == two { late } else { late.after(two) };
                jobs.enqueue(&[late]).await.unwrap().len()
            }));
        }
        let mut late = 0;
        for task in tasks {
            late += task.await.unwrap();
        }
        while db.jobs.release(1000).await.unwrap() > 0 {}
        let expected = i64::try_from(children.len() + late).unwrap();
        db.healthy().await;
        assert_eq!(
            db.number("SELECT count(*) FROM job WHERE state = 3").await,
            expected
        );
        assert_eq!(db.number("SELECT count(*) FROM job_edge").await, 0);
        db.sql.batch_execute("DELETE FROM job").await.unwrap();
    }
    no_deadlock(&db).await;
}

/// JOB-15, JOB-30, JOB-47, S6, C1: 128 workers on 24 connections: each job by one, none twice.
#[tokio::test(flavor = "multi_thread")]
async fn job_30_many_workers() {
    let db = storm().await;
    db.put_all(3000).await;
    let tasks: Vec<_> = (0..128)
        .map(|_| {
            db.spawn(|db| async move {
                let worker = db.register("one of many", 10).await;
                let mut done = 0;
                loop {
                    let held = db.claim_as(worker, 10).await.unwrap().jobs;
                    if held.is_empty() {
                        return done;
                    }
                    db.complete_all(worker, &held).await;
                    done += held.len();
                }
            })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.unwrap();
    }
    assert_eq!(done, 3000);
    assert_eq!(
        db.number("SELECT count(*) FROM job_ended WHERE attempt = 1")
            .await,
        3000
    );
    assert_eq!(db.number("SELECT count(*) FROM job_execution").await, 3000);
    no_deadlock(&db).await;
}
