//! Beside an old snapshot: what has died is there for good, and claims do not walk through it.
//!
//! Counted are entries of the index of ready jobs, as the server counts them.

use monitor_jobs::{Ordering, WorkerId};
use monitor_pool::managers::postgres::tokio_postgres::Client;

use crate::call::new;
use crate::support::{Database, open, quiet};

/// Jobs that were ready once.
const DEAD: usize = 3000;

/// Puts so many in, claims and ends them, while somebody holds a snapshot open.
async fn drained(db: &Database) -> (WorkerId, Client) {
    let pin = db.session().await;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM job";
    pin.batch_execute(begin).await.unwrap();
    let worker = db.worker(5000).await;
    for _ in 0..DEAD / 1000 {
        db.put_all(1000).await;
        let held = db.claim_as(worker, 1000).await.unwrap().jobs;
        db.complete_all(worker, &held).await;
    }
    (worker, pin)
}

impl Database {
    /// Claims one job by the function alone: entries it looked at, and the key it took.
    async fn claim_from(&self, worker: WorkerId, floors: &str) -> (i64, Option<i64>) {
        let claim = format!(
            "SELECT walked, sort_keys[1] FROM jobs_claim({worker}, 1, true, '{{default}}', {floors})"
        );
        let row = self.sql.query_one(&claim, &[]).await.unwrap();
        (row.get(0), row.get(1))
    }
}

/// JOB-48: a floor leads past what is dead, and is no more than advice: what became ready below it
/// is found before nothing is.
#[tokio::test]
async fn a_claim_from_a_floor_passes_over_what_is_dead() {
    let db = open(quiet()).await;
    let (worker, _pin) = drained(&db).await;
    db.put_all(2).await;
    let dead = i64::try_from(DEAD).unwrap();
    let (walked, key) = db.claim_from(worker, "NULL").await;
    assert!(walked > dead, "{walked} entries from the start");
    let key = key.unwrap();
    let (walked, _) = db.claim_from(worker, &format!("'{{{key}}}'")).await;
    assert!(walked < 20, "{walked} entries from {key}");

    let deadline = Ordering::Deadline { unix_ms: 0 };
    let urgent = db.put(new().ordering(deadline)).await;
    let (_, below) = db.claim_from(worker, &format!("'{{{key}}}'")).await;
    assert!(below.unwrap() < key, "{urgent} was not found");
    let guard = "IF picked IS NULL AND NOT from_start THEN";
    db.mutate("jobs_claim", guard, "IF false THEN").await;
    db.put(new().ordering(deadline)).await;
    let (_, below) = db.claim_from(worker, &format!("'{{{key}}}'")).await;
    assert_eq!(below, None, "nothing finds it without {guard:?}");
}

/// JOB-48: a worker's claims come to know the floor by themselves.
#[tokio::test]
async fn claims_remember_where_the_dead_end() {
    let db = open(quiet()).await;
    let (worker, _pin) = drained(&db).await;
    db.put_all(100).await;
    let mut walks = Vec::new();
    for _ in 0..100 {
        let before = db.jobs.entries_walked();
        let held = db.claim_as(worker, 1).await.unwrap().jobs;
        assert_eq!(held.len(), 1);
        walks.push(db.jobs.entries_walked() - before);
    }
    assert!(
        walks.iter().any(|walk| *walk < 1000),
        "each looked at all of them: {walks:?}"
    );
}
