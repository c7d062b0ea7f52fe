//! The caller's own statements, in one transaction with jobs.

use std::time::Duration;

use monitor_jobs::rusqlite;
use monitor_jobs::{
    Backend, Claimed, EnqueueError, JobState, JobTransaction, Jobs, Registered, SettleError,
    SqliteJobs, StoreErrorKind,
};

use crate::place::{Place, register, states, work};

/// A new job, claimed.
async fn claimed(jobs: &SqliteJobs) -> (Registered, Claimed) {
    jobs.enqueue(&[work()]).await.unwrap();
    let worker = Jobs::new(jobs.clone()).register(register()).await.unwrap();
    let claimed = worker.claim(1, Duration::ZERO).await.unwrap().remove(0);
    (worker, claimed)
}

/// JOB-3: the caller's own rows and the jobs for them, all or none; a panic takes its own
/// transaction back and nothing else.
#[tokio::test]
async fn statements_and_jobs_of_a_closure_stand_together() {
    let place = Place::new();
    let jobs = place.open();
    let put_in = |amount: i64, end: End| {
        jobs.transact(move |write| {
            let order = "INSERT INTO orders VALUES (?1)";
            write.sql().execute(order, [amount]).unwrap();
            let put_in = write
                .enqueue(&[work()])
                .map_err(|error| error.to_string())?;
            match end {
                End::Well => Ok(put_in.len()),
                End::Refused => Err("refused".to_owned()),
                End::Panic => panic!("on purpose"),
                End::Commit => {
                    write.sql().execute_batch("COMMIT").unwrap();
                    Ok(0)
                }
            }
        })
    };
    jobs.transact(|write| {
        write
            .sql()
            .execute_batch("CREATE TABLE orders (amount INTEGER)")
    })
    .await
    .unwrap()
    .unwrap();
    assert_eq!(put_in(1, End::Well).await.unwrap(), Ok(1));
    assert_eq!(
        put_in(2, End::Refused).await.unwrap(),
        Err("refused".to_owned())
    );
    let error = put_in(3, End::Panic).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Fatal, "{error}");
    assert_eq!(place.count("SELECT sum(amount) FROM orders"), 1);
    assert_eq!(states(&jobs).await, [JobState::Ready]);
    let error = put_in(4, End::Commit).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Ambiguous, "{error}");
    assert_eq!(
        put_in(5, End::Well).await.unwrap(),
        Ok(1),
        "the writer lives on"
    );
}

#[derive(Clone, Copy)]
enum End {
    Well,
    Refused,
    Panic,
    Commit,
}

/// JOB-3, F4: a transaction that falls silent is rolled back, and nobody waits for it for ever.
#[tokio::test]
async fn a_silent_transaction_is_rolled_back() {
    let place = Place::new();
    let jobs = place.open_impatient();
    let mut silent = jobs.begin().await.unwrap();
    silent.enqueue(&[work(), work()]).await.unwrap();
    // Comes to its turn when the silence has lasted too long.
    jobs.enqueue(&[work()]).await.unwrap();
    let error = silent
        .run(|sql| sql.execute_batch("SELECT 1"))
        .await
        .unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Transient, "{error}");
    assert_eq!(states(&jobs).await.len(), 1);
}

/// F4, INV-JOBS-3: what permits one transaction to be committed permits no other.
#[tokio::test]
async fn inv_jobs_3_a_permit_commits_its_own_transaction_only() {
    let place = Place::new();
    let jobs = place.open();
    let (worker, claimed) = claimed(&jobs).await;
    let mut first = jobs.begin().await.unwrap();
    let permit = claimed.complete_in(&mut first, None).await.unwrap();
    drop(first);
    let mut second = jobs.begin().await.unwrap();
    second
        .run(|sql| sql.execute_batch("CREATE TABLE effect (a)"))
        .await
        .unwrap();
    let error = second.commit(permit).await.unwrap_err();
    assert!(error.to_string().contains("another transaction"), "{error}");
    assert_eq!(
        place.count("SELECT count(*) FROM sqlite_schema WHERE name = 'effect'"),
        0
    );
    assert_ne!(states(&jobs).await, [JobState::Completed]);
    worker.close().await;
}

/// JOB-34, F4: effects of a worker that lost its job are never committed.
#[tokio::test]
async fn effects_of_a_lost_job_are_not_committed() {
    let place = Place::new();
    let jobs = place.open();
    jobs.transact(|write| {
        write
            .sql()
            .execute_batch("CREATE TABLE effect (job INTEGER)")
    })
    .await
    .unwrap()
    .unwrap();
    let (_worker, claimed) = claimed(&jobs).await;
    let pulse = jobs.pulses().await.unwrap().remove(0);
    assert_eq!(jobs.rescue(&pulse, 10).await.unwrap().requeued, 1);
    let mut late = jobs.begin().await.unwrap();
    let job = claimed.job().id.0;
    late.run(move |sql| sql.execute("INSERT INTO effect VALUES (?1)", [job]))
        .await
        .unwrap();
    let refused = claimed.complete_in(&mut late, None).await.unwrap_err();
    assert!(matches!(refused, SettleError::Stale { .. }), "{refused}");
    drop(late);
    assert_eq!(states(&jobs).await, [JobState::Ready]);
    assert_eq!(place.count("SELECT count(*) FROM effect"), 0);
}

/// A statement of the caller's that fails takes back itself, not the transaction.
#[tokio::test]
async fn a_failing_statement_takes_back_itself() {
    let place = Place::new();
    let jobs = place.open();
    let mut transaction = jobs.begin().await.unwrap();
    let failed = transaction.run(|sql| {
        sql.execute_batch("CREATE TABLE effect (a)")?;
        sql.execute_batch("INSERT INTO nowhere VALUES (1)")
    });
    failed.await.unwrap_err();
    let tables = transaction.run(|sql| -> rusqlite::Result<i64> {
        let query = "SELECT count(*) FROM sqlite_schema WHERE name = 'effect'";
        sql.query_row(query, [], |row| row.get(0))
    });
    assert_eq!(tables.await.unwrap(), 0);
    let refused = transaction
        .enqueue(&[work().after(monitor_jobs::JobId(77))])
        .await;
    assert!(matches!(refused, Err(EnqueueError::UnknownParent { .. })));
    assert_eq!(transaction.enqueue(&[work()]).await.unwrap().len(), 1);
}
