//! What a claim takes beside others that lock, and of many that are due at once.

use std::time::Duration;

use monitor_jobs::conformance::{Base, START_MS};
use monitor_jobs::{Backend, JobId, NewJob, Register, WorkerId};

use crate::call::new;
use crate::support::{Database, open, quiet};

async fn serving(db: &Database, queues: &[&str]) -> WorkerId {
    let register = Register {
        name: "worker".to_owned(),
        queues: queues.iter().map(|queue| (*queue).to_owned()).collect(),
        capacity: 100_000,
        lease: Duration::from_secs(30),
    };
    db.jobs.register(&register).await.unwrap()
}

async fn claimed(db: &Database, worker: WorkerId, limit: u32) -> Vec<JobId> {
    let claim = db.claim_as(worker, limit).await.unwrap();
    claim.jobs.iter().map(|job| job.id).collect()
}

async fn put(db: &Database, queue: &str, count: usize) -> Vec<JobId> {
    let jobs: Vec<NewJob> = vec![new().queue(queue); count];
    let put_in = db.jobs.enqueue(&jobs).await.unwrap();
    put_in.into_iter().map(|job| job.id()).collect()
}

/// JOB-15, JOB-24: what others have locked, such as the parent of a job that is being put in, does
/// not stand for what is behind it, whatever queue that is in.
#[tokio::test]
async fn a_locked_head_keeps_no_other_queue_waiting() {
    let db = open(quiet()).await;
    let queues = ["a", "b", "c"];
    let worker = serving(&db, &queues).await;
    let first = put(&db, "a", 2).await;
    let middle = put(&db, "b", 2).await;
    let last = put(&db, "c", 5).await;
    // Of two queues everything, and of the third the first.
    let locked = [first.clone(), middle.clone(), vec![last[0]]].concat();
    let ids: Vec<i64> = locked.iter().map(|id| id.0).collect();
    db.hold(&format!(
        "SELECT FROM job WHERE job_id = ANY ('{{{}}}') FOR NO KEY UPDATE",
        ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
    ))
    .await;
    assert_eq!(claimed(&db, worker, 1).await, last[1..2]);
    assert_eq!(claimed(&db, worker, 2).await, last[2..4]);
    assert_eq!(claimed(&db, worker, 9).await, last[4..]);
    assert_eq!(claimed(&db, worker, 1).await, []);
    db.commit().await;
    assert_eq!(claimed(&db, worker, 9).await, locked);
    db.healthy().await;
}

/// JOB-20: whatever is passed over, nobody gets a job twice, and the order holds.
#[tokio::test]
async fn what_is_left_of_a_claim_is_filled_up_in_order() {
    let db = open(quiet()).await;
    let worker = serving(&db, &["a", "b"]).await;
    let mut jobs = Vec::new();
    for queue in ["a", "b", "a", "b", "b", "b", "a"] {
        jobs.extend(put(&db, queue, 1).await);
    }
    let lock = format!("SELECT FROM job WHERE job_id = {} FOR UPDATE", jobs[0]);
    db.hold(&lock).await;
    // The other of queue a takes the place of the first; there is no third.
    assert_eq!(claimed(&db, worker, 6).await, jobs[1..]);
    db.commit().await;
    assert_eq!(claimed(&db, worker, 6).await, jobs[..1]);
}

/// JOB-37, JOB-48: of a crowd that is due at one instant a claim writes down some thousands, and
/// the next ones the others.
#[tokio::test]
async fn a_crowd_that_is_due_at_once_is_no_burden_for_one_claim() {
    let db = open(quiet()).await;
    db.stop_clock(START_MS).await;
    let worker = serving(&db, &["default"]).await;
    let later = new().when(monitor_jobs::When::At(START_MS + 1000));
    let jobs = db.jobs.enqueue(&vec![later; 12_000]).await.unwrap();
    assert_eq!(claimed(&db, worker, 1).await, []);
    db.set_clock(START_MS + 1000).await;
    let mut all = claimed(&db, worker, 1).await;
    let left = "SELECT count(*) FROM job WHERE state = 2";
    assert_eq!(db.number(left).await, 7_000);
    all.extend(claimed(&db, worker, 9_999).await);
    assert_eq!(all.len(), 10_000, "as many as were asked for");
    loop {
        let more = claimed(&db, worker, 9_999).await;
        if more.is_empty() {
            break;
        }
        all.extend(more);
    }
    let put_in: Vec<JobId> = jobs.iter().map(|job| job.id()).collect();
    all.sort_unstable();
    assert_eq!(all, put_in);
}
