//! The writer's batches, and other processes on the same file.

use std::num::NonZeroUsize;
use std::time::Duration;

use monitor_jobs::{
    Backend, EnqueueError, NewJob, Payload, SqliteJobs, SqliteOptions, StoreErrorKind,
};

use crate::place::{Place, after_first, claim, completed, register, states, work};

/// One that no test waits for.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// JOB-28, JOB-48: one call to the store for a claim, one for a completion that releases fifty.
#[tokio::test]
async fn a_claim_and_a_fan_out_of_fifty_are_one_call_each() {
    let jobs = Place::new();
    let jobs = jobs.open();
    let worker = jobs.register(&register()).await.unwrap();
    let graph: Vec<_> = [work()]
        .into_iter()
        .chain((0..50).map(|_| after_first()))
        .collect();
    jobs.enqueue(&graph).await.unwrap();
    let before = jobs.stats();
    let parent = claim(&jobs, worker, 1).await;
    assert_eq!(jobs.stats().commands - before.commands, 1);
    jobs.settle(worker, &completed(&parent)).await.unwrap();
    assert_eq!(jobs.stats().commands - before.commands, 2);
    assert_eq!(claim(&jobs, worker, 100).await.jobs.len(), 50);
}

/// JOB-30: what is asked for while the writer is busy becomes durable together.
#[tokio::test]
async fn what_is_queued_becomes_one_transaction() {
    let place = Place::new();
    let jobs = place.open();
    let other = place.sql();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let puts: Vec<_> = (0..100)
        .map(|_| {
            let jobs = jobs.clone();
            tokio::spawn(async move { jobs.enqueue(&[work()]).await.unwrap() })
        })
        .collect();
    // On this one thread: every task sends its command before this goes on.
    tokio::task::yield_now().await;
    other.execute_batch("COMMIT").unwrap();
    for put in puts {
        put.await.unwrap();
    }
    let stats = jobs.stats();
    assert_eq!(stats.commands, 100);
    assert!(
        stats.transactions <= 2,
        "the first, and all others: {stats:?}"
    );
}

/// One command's failure is not that of the others in the same transaction.
#[tokio::test]
async fn a_failing_command_takes_back_itself() {
    let place = Place::new();
    let jobs = SqliteJobs::open(&SqliteOptions {
        max_batch: const { NonZeroUsize::new(50).unwrap() },
        ..place.options()
    })
    .unwrap();
    place.fail(Some("INSERT ON job WHEN new.kind = 'bad'"));
    let puts: Vec<_> = (0..40)
        .map(|number| {
            let kind = if number % 4 == 0 { "bad" } else { "good" };
            let (jobs, job) = (jobs.clone(), NewJob::new(kind, Payload::default()));
            tokio::spawn(async move { jobs.enqueue(&[job]).await.is_ok() })
        })
        .collect();
    let mut well = Vec::new();
    for put in puts {
        well.push(put.await.unwrap());
    }
    let expected: Vec<_> = (0..40).map(|number| number % 4 != 0).collect();
    assert_eq!(well, expected);
    assert_eq!(states(&jobs).await.len(), 30);
}

/// JOB-6, JOB-44: a file that somebody else writes to is busy, not down; reads go on, nothing is
/// half-done, and the next call succeeds.
#[tokio::test]
async fn a_busy_file_is_a_passing_failure() {
    let place = Place::new();
    let jobs = place.open_impatient();
    let other = place.sql();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = jobs.register(&register()).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Transient, "{error}");
    assert_eq!(jobs.workers().await.unwrap(), [], "reads go on");
    assert_eq!(jobs.stats().failed_transactions, 1);
    other.execute_batch("COMMIT").unwrap();
    jobs.register(&register()).await.unwrap();
}

/// JOB-6, JOB-36: nothing is acknowledged that goes to a file without a name. When the file is back,
/// so are the jobs, with all that was acknowledged.
#[tokio::test]
async fn a_file_that_is_removed_is_gone_until_it_is_back() {
    let place = Place::new();
    let jobs = place.open();
    jobs.enqueue(&[work()]).await.unwrap();
    let (path, away) = (place.path(), place.folder().join("away"));
    std::fs::rename(&path, &away).unwrap();
    let error = jobs.register(&register()).await.unwrap_err();
    assert!(error.to_string().contains("removed or replaced"), "{error}");
    let begun = jobs.enqueue(&[work()]).await.unwrap_err();
    let EnqueueError::Store(error) = begun else {
        panic!("{begun}");
    };
    assert_eq!(error.kind, StoreErrorKind::Transient, "{error}");
    assert!(!path.exists());
    std::fs::rename(&away, &path).unwrap();
    jobs.enqueue(&[work()]).await.unwrap();
    assert_eq!(place.count("SELECT count(*) FROM job"), 2);
    assert_eq!(place.count("SELECT count(*) FROM job_worker"), 0);
}

/// JOB-9, R4: a commit by another process wakes whoever waits; so does one of this process.
#[tokio::test]
async fn commits_of_all_processes_wake() {
    let place = Place::new();
    let (here, there) = (place.open(), place.open());
    for writer in [&there, &here] {
        let wait = here.wait(&[], FOR_EVER);
        let new = [work()];
        let put_in = writer.enqueue(&new);
        let ((), put_in) = tokio::join!(wait, put_in);
        put_in.unwrap();
    }
}

/// JOB-29, D4, D7, D8: a release in slices goes on where it was when its process ended.
#[tokio::test]
async fn a_release_in_slices_outlives_its_process() {
    let place = Place::new();
    let jobs = place.open();
    let worker = jobs.register(&register()).await.unwrap();
    let graph: Vec<_> = [work()]
        .into_iter()
        .chain((0..3500).map(|_| after_first()))
        .collect();
    jobs.enqueue(&graph).await.unwrap();
    let parent = claim(&jobs, worker, 1).await;
    jobs.settle(worker, &completed(&parent)).await.unwrap();
    assert_eq!(
        place.count("SELECT count(*) FROM job WHERE state = 3"),
        1000
    );
    assert!(
        jobs.doctor()
            .await
            .unwrap()
            .iter()
            .all(|finding| !finding.broken)
    );
    jobs.close().await.unwrap();
    let jobs = place.open();
    let mut slices = Vec::new();
    loop {
        match jobs.release(1000).await.unwrap() {
            0 => break,
            resolved => slices.push(resolved),
        }
    }
    assert_eq!(slices, [1000, 1000, 500]);
    assert_eq!(
        place.count("SELECT count(*) FROM job WHERE state = 3"),
        3500
    );
    assert_eq!(jobs.doctor().await.unwrap(), []);
}
