//! What is kept on PostgreSQL: lines are counted once wherever they are, and age as they should.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "tests panic")]

#[path = "common/postgres.rs"]
mod postgres;

use std::time::Duration;

use monitor_model::conformance::{down, id, monitor, up};
use monitor_model::{Commit, MemoryStore, Record, Resolution, Store};
use monitor_operation::Epoch;
use monitor_store::PostgresStore;
use postgres::Schema;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// In the past, whatever the clock of this machine says.
const START: i64 = 1_500_000_000_000 / DAY * DAY;

async fn commit(store: &dyn Store, record: Record) {
    let commit = store.commit(record).await.unwrap();
    assert!(matches!(commit, Commit::Applied(_)), "{commit:?}");
}

/// OPS-29: ten days by the hour, with an outage in them. Lines go after six hours but for those at
/// which the verdict changed, minutes after two days; hours and days have counted everything, what
/// came late too, and say the same as a store that forgets nothing.
#[tokio::test]
async fn lines_and_minutes_go_by_age_and_the_counts_stay_true() {
    let schema = Schema::new().await;
    let mut options = schema.options();
    options.retain_hours = Duration::from_secs(5 * 86_400);
    let store = PostgresStore::open(options.clone()).await.unwrap();
    let plain = MemoryStore::new();
    let both: [&dyn Store; 2] = [&store, &plain];
    for each in both {
        each.define(monitor("a"), Epoch::new(1)).await.unwrap();
    }
    let end = START + 10 * DAY;
    for hour in 0..240 {
        let due = START + hour * HOUR;
        let make = if (100..103).contains(&hour) { down } else { up };
        let mut record = make("a", 1, due);
        record.took = Some(Duration::from_micros(1000 + hour.unsigned_abs()));
        for each in both {
            commit(each, record.clone()).await;
        }
        if hour % 24 == 23 {
            // Seven hours late: long rolled up.
            let late = up("a", 1, due - 7 * HOUR + MINUTE);
            for each in both {
                commit(each, late.clone()).await;
            }
        }
    }
    // Work that is due is done before a store closes or between commits; opening asks for a round.
    store.close().await.unwrap();
    let store = PostgresStore::open(options).await.unwrap();
    commit(&store, up("a", 1, end)).await;
    commit(&plain, up("a", 1, end)).await;
    let left = "SELECT count(*) FROM history WHERE due_unix_ms < ";
    let is_removed = async |from: i64, most: i64| loop {
        if schema.ask(&format!("{left} {from}")).await <= most {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    // Before the hours' horizon nothing; later only where the verdict changed: twice.
    is_removed(end - 5 * DAY, 0).await;
    is_removed(end - 7 * HOUR, 2).await;
    let minutes = "SELECT count(*) FROM bucket WHERE resolution = 0 AND start_unix_ms < ";
    while schema
        .ask(&format!("{minutes} {}", end - 2 * DAY - HOUR))
        .await
        > 0
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let name = id("a");
    for (resolution, from) in [
        (Resolution::Minute, end - 2 * DAY + HOUR),
        (Resolution::Hour, end - 4 * DAY),
        (Resolution::Day, START),
    ] {
        let range = from..i64::MAX;
        let kept = store
            .buckets(&name, resolution, range.clone())
            .await
            .unwrap();
        assert_eq!(
            kept,
            plain.buckets(&name, resolution, range).await.unwrap(),
            "{resolution}"
        );
    }
    for since in [START, end - 4 * DAY, end - HOUR] {
        let kept = store.tally(&name, since).await.unwrap();
        assert_eq!(
            kept,
            plain.tally(&name, since).await.unwrap(),
            "since {since}"
        );
    }
    assert_eq!(store.doctor().await.unwrap(), []);
    assert_eq!(
        store.incidents(&name, 9).await.unwrap().len(),
        1,
        "state changes are kept"
    );
}

/// OPS-29: incidents that are over go when days do; one that is open stays.
#[tokio::test]
async fn incidents_that_are_over_go_by_age() {
    let schema = Schema::new().await;
    let mut options = schema.options();
    options.retain_days = Duration::from_secs(86_400);
    let store = PostgresStore::open(options).await.unwrap();
    for name in ["a", "b"] {
        store.define(monitor(name), Epoch::new(1)).await.unwrap();
        commit(&store, down(name, 1, START)).await;
    }
    for half_day in 1..12 {
        commit(&store, up("a", 1, START + half_day * 12 * HOUR)).await;
    }
    while !store.incidents(&id("a"), 9).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(
        store.incidents(&id("b"), 9).await.unwrap().len(),
        1,
        "it is not over"
    );
    assert_eq!(store.doctor().await.unwrap(), []);
}

/// OPS-29: what is kept stands in the database: a store that was taken over, or opened again, does not
/// answer from counts of which some were removed.
#[tokio::test]
async fn what_is_kept_is_asked_of_the_database_each_time() {
    let schema = Schema::new().await;
    let former = schema.open().await;
    former.define(monitor("a"), Epoch::new(1)).await.unwrap();
    for hour in 0..48 {
        commit(&former, up("a", 1, START + hour * HOUR)).await;
    }
    let mut options = schema.options();
    options.take_over = true;
    options.retain_hours = Duration::from_secs(86_400);
    let owner = PostgresStore::open(options.clone()).await.unwrap();
    for hour in 48..96 {
        commit(&owner, up("a", 1, START + hour * HOUR)).await;
    }
    // Three days of hours are gone but for what their days say.
    let hours = "SELECT count(*) FROM bucket WHERE resolution = 1 AND start_unix_ms < ";
    while schema.ask(&format!("{hours} {}", START + 2 * DAY)).await > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let name = id("a");
    for store in [&former, &owner] {
        assert_eq!(store.tally(&name, START).await.unwrap().due, 96);
        let range = START..i64::MAX;
        let hours = store.buckets(&name, Resolution::Hour, range).await.unwrap();
        assert!(hours[0].start_unix_ms >= START + 2 * DAY);
    }
    let before = owner.tally(&name, START + HOUR).await.unwrap();
    owner.close().await.unwrap();
    let again = PostgresStore::open(options).await.unwrap();
    assert_eq!(again.tally(&name, START + HOUR).await.unwrap(), before);
}

/// OPS-17: a deleted monitor goes with all its lines and counts; a new life of its id stays.
#[tokio::test]
async fn a_deleted_monitor_is_removed_in_slices_and_its_successor_is_not() {
    let schema = Schema::new().await;
    let store = schema.open().await;
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    let sql = schema.sql().await;
    let many = "INSERT INTO history (monitor, due_unix_ms, slots, interval_ms, epoch, outcome,
            \"trigger\", started_unix_ms, turned)
        SELECT number, due, 1, 1000, 1, 'up', 'timer', due, false
        FROM monitor, generate_series(1, 5000) AS due";
    sql.batch_execute(many).await.unwrap();
    assert!(store.delete(&id("a"), Epoch::new(2)).await.unwrap());
    store.define(monitor("a"), Epoch::new(3)).await.unwrap();
    commit(&store, up("a", 3, 1000)).await;
    while schema.ask("SELECT count(*) FROM monitor").await > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(schema.ask("SELECT count(*) FROM history").await, 1);
    assert_eq!(store.stats().removed_rows, 5000);
    assert_eq!(store.doctor().await.unwrap(), []);
}

/// How many records a second this machine commits, by 64 callers on 1 000 monitors; and that they
/// share transactions.
#[tokio::test(flavor = "multi_thread")]
async fn many_callers_share_few_transactions() {
    let schema = Schema::new().await;
    let store = std::sync::Arc::new(schema.open().await);
    let (monitors, rounds) = (1_000i64, 5i64);
    for number in 0..monitors {
        store
            .define(monitor(&format!("m{number}")), Epoch::new(1))
            .await
            .unwrap();
    }
    let before = tokio::time::Instant::now();
    let mut tasks = Vec::new();
    for number in 0..monitors {
        let store = std::sync::Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            for round in 1..=rounds {
                commit(&*store, up(&format!("m{number}"), 1, round * 1000)).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let (took, stats) = (before.elapsed(), store.stats());
    let commits = stats.commands;
    println!(
        "{commits} records in {took:?}, {} transactions",
        stats.transactions
    );
    assert_eq!(commits, (monitors * rounds).unsigned_abs());
    assert!(stats.transactions * 20 < commits, "{stats:?}");
    store.close().await.unwrap();
}
