//! A disk that refuses writes for a while, and one that is full: nothing half-done, and all goes on
//! when there is room again.
#![cfg(all(feature = "sqlite", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::time::Duration;

use monitor_jobs::{
    Backend, ClaimRequest, EnqueueError, JobFilter, JobState, NewJob, Outcome, Payload, Register,
    Settle, Settled, SqliteJobs, SqliteOptions, StoreErrorKind,
};
use monitor_testkit::disk;

fn work() -> NewJob {
    NewJob::new("work", Payload::default())
}

/// JOB-3, JOB-36: a refused write takes its call back whole; later the same call succeeds.
#[test]
fn a_disk_that_refuses_for_a_while_leaves_nothing_half_done() {
    if let Some(path) = disk::child_path() {
        return refused_for_a_while(&path);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.sqlite");
    let test = "a_disk_that_refuses_for_a_while_leaves_nothing_half_done";
    disk::run_child(test, &path).unwrap();
    let sql = monitor_jobs::rusqlite::Connection::open(&path).unwrap();
    let ended: i64 = sql
        .query_row("SELECT count(*) FROM job WHERE state = 5", [], |row| {
            row.get(0)
        })
        .unwrap();
    // As many as the child says, which exits well only after it has looked.
    assert_eq!(ended, 40);
}

#[tokio::main(flavor = "current_thread")]
async fn refused_for_a_while(path: &Path) {
    let jobs = SqliteJobs::open(&SqliteOptions::new(path)).unwrap();
    let register = Register {
        name: "w".to_owned(),
        queues: vec!["default".to_owned()],
        capacity: 100,
        lease: Duration::from_secs(60),
    };
    let worker = jobs.register(&register).await.unwrap();
    for _ in 0..4 {
        jobs.enqueue(&vec![work(); 10]).await.unwrap();
        let request = ClaimRequest {
            worker,
            limit: 10,
            history: true,
        };
        let claimed = jobs.claim(&request).await.unwrap().jobs;
        let ends: Vec<_> = claimed
            .iter()
            .map(|claimed| Settle {
                job: claimed.id,
                epoch: claimed.epoch,
                outcome: Outcome::Complete { result: None },
            })
            .collect();
        // Nothing can be written from here on: the log is longer than that already.
        disk::limit_file_size(Some(4096)).unwrap();
        let error = jobs.settle(worker, &ends).await.unwrap_err();
        // It is not the disk that has no room.
        assert_eq!(error.kind, StoreErrorKind::Io, "{error}");
        assert!(error.kind.is_worth_repeating());
        let error = jobs.enqueue(&[work()]).await.unwrap_err();
        let EnqueueError::Store(error) = error else {
            panic!("{error}");
        };
        assert_eq!(error.kind, StoreErrorKind::Io, "{error}");
        let running = JobFilter {
            state: Some(JobState::Running),
            ..JobFilter::default()
        };
        let running = jobs.list(&running).await.unwrap().len();
        assert_eq!(running, 10, "reads go on, and see what was acknowledged");
        disk::limit_file_size(None).unwrap();
        let settled = jobs.settle(worker, &ends).await.unwrap();
        assert_eq!(settled, [Settled::Done; 10]);
    }
    assert_eq!(jobs.list(&JobFilter::default()).await.unwrap().len(), 40);
    assert_eq!(jobs.doctor().await.unwrap(), []);
    jobs.close().await.unwrap();
}

/// JOB-3: a graph that does not fit is refused whole, and a smaller one fits.
#[tokio::test]
async fn a_full_file_refuses_whole_calls() {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions {
        max_size: Some(512 << 10),
        ..SqliteOptions::new(folder.path().join("jobs.sqlite"))
    };
    let jobs = SqliteJobs::open(&options).unwrap();
    let mut graph = vec![work()];
    graph.extend((0..20_000).map(|_| work().after(monitor_jobs::Parent::Earlier(0))));
    let error = jobs.enqueue(&graph).await.unwrap_err();
    let EnqueueError::Store(error) = error else {
        panic!("{error}");
    };
    assert_eq!(error.kind, StoreErrorKind::Full, "{error}");
    assert_eq!(jobs.list(&JobFilter::default()).await.unwrap(), []);
    jobs.enqueue(&graph[..50]).await.unwrap();
    assert_eq!(jobs.list(&JobFilter::default()).await.unwrap().len(), 50);
    assert_eq!(jobs.doctor().await.unwrap(), []);
}
