//! Group commit: what is queued together is flushed together.

#![cfg(feature = "sqlite")]

mod common;

use std::sync::Arc;

use common::{Place, applied};
use monitor_model::conformance::{down, id, monitor, up};
use monitor_model::{Commit, Refusal, Store};
use monitor_operation::Epoch;
use monitor_store::SqliteStore;
use tokio::task::JoinSet;

#[tokio::test]
async fn many_callers_share_few_transactions() {
    const CALLERS: i64 = 512;
    let place = Place::new();
    let mut options = place.options();
    options.max_batch = 256.try_into().unwrap();
    let store = Arc::new(SqliteStore::open(options).unwrap());
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    let before = store.stats();
    let mut tasks = JoinSet::new();
    for due in 0..CALLERS {
        let store = Arc::clone(&store);
        tasks.spawn(async move { applied(&*store, up("a", 1, due)).await.sequence });
    }
    let mut sequences = tasks.join_all().await;
    sequences.sort_unstable();
    sequences.dedup();
    assert_eq!(sequences.len(), 512, "every caller has a line of its own");
    let after = store.stats();
    assert_eq!(after.commands - before.commands, 512);
    // While one transaction is flushed, everybody else queues up for the next one. 256 is the
    // largest batch, so 2 is the least; a commit alone in each would be 512.
    let transactions = after.transactions - before.transactions;
    assert!(
        (2..=64).contains(&transactions),
        "{transactions} transactions"
    );
}

/// OPS-18, OPS-19: a refused command takes its own writes back and nobody else's.
#[tokio::test]
async fn one_refusal_in_a_batch_takes_nothing_else_back() {
    let place = Place::new();
    let store = Arc::new(place.open());
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    applied(&*store, up("a", 1, 0)).await;
    let before = store.stats().transactions;
    // Every third is a duplicate whose status would be down, every other third stale.
    let mut tasks = JoinSet::new();
    for due in 0..300 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            match due % 3 {
                0 => store.commit(down("a", 1, 0)).await.unwrap(),
                1 => store.commit(down("a", 7, due)).await.unwrap(),
                _ => store.commit(up("a", 1, due)).await.unwrap(),
            }
        });
    }
    let answers = tasks.join_all().await;
    let count = |refusal| {
        let is = |answer: &&Commit| **answer == Commit::Refused(refusal);
        answers.iter().filter(is).count()
    };
    assert_eq!(
        (count(Refusal::Duplicate), count(Refusal::Stale)),
        (100, 100)
    );
    assert!(
        store.stats().transactions - before < 300,
        "they shared transactions"
    );
    let status = store.load().await.unwrap().monitors.remove(0).status;
    assert_eq!(
        (status.outcome, status.streak),
        (Some(monitor_model::Outcome::Up), 101)
    );
    let tally = store.tally(&id("a"), 0).await.unwrap();
    assert_eq!((tally.up, tally.down, tally.due), (101, 0, 101));
    assert_eq!(place.ask::<i64>("SELECT count(*) FROM history"), 101);
}

/// OPS-18: a command that fails when it has written already takes its own writes back and nobody
/// else's.
#[tokio::test]
async fn one_failure_in_a_batch_takes_nothing_else_back() {
    let place = Place::new();
    let store = Arc::new(place.open());
    for name in ["a", "b"] {
        store.define(monitor(name), Epoch::new(1)).await.unwrap();
        applied(&*store, up(name, 1, 10)).await;
        // So much later that the first is rolled up.
        applied(&*store, up(name, 1, 3_600_000)).await;
    }
    while store.stats().rolled_rows < 2 {
        tokio::task::yield_now().await;
    }
    place
        .sql()
        .execute_batch("UPDATE bucket_page SET buckets = x'ff' WHERE monitor = 1")
        .unwrap();
    let before = store.load().await.unwrap().monitors.remove(0).status;
    let mut tasks = JoinSet::new();
    for due in 100..200 {
        for name in ["a", "b"] {
            let store = Arc::clone(&store);
            tasks.spawn(async move { (name, store.commit(up(name, 1, due)).await) });
        }
    }
    for (name, answer) in tasks.join_all().await {
        match name {
            "a" => assert!(answer.unwrap_err().to_string().contains("column buckets")),
            _ => assert!(matches!(answer.unwrap(), Commit::Applied(_))),
        }
    }
    assert!(store.stats().isolated_batches > 0, "{:?}", store.stats());
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.monitors[0].status, before);
    assert_eq!(loaded.monitors[1].status.streak, 102);
    assert_eq!(store.history(&id("a"), 1000).await.unwrap().len(), 2);
    assert_eq!(store.tally(&id("b"), 0).await.unwrap().up, 102);
    let defects = store.doctor().await.unwrap();
    let [defect] = &defects[..] else {
        panic!("{defects:?}")
    };
    assert!(
        defect
            .to_string()
            .contains("of monitor number 1: column buckets"),
        "{defect}"
    );
}

#[tokio::test]
async fn a_full_queue_makes_callers_wait_and_loses_none() {
    let place = Place::new();
    let mut options = place.options();
    options.queue = 1.try_into().unwrap();
    options.max_batch = 2.try_into().unwrap();
    let store = Arc::new(SqliteStore::open(options).unwrap());
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    let mut tasks = JoinSet::new();
    for due in 0..64 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { applied(&*store, up("a", 1, due)).await });
    }
    assert_eq!(tasks.join_all().await.len(), 64);
    assert_eq!(store.tally(&id("a"), 0).await.unwrap().up, 64);
}
