//! What fails while the store is open: told with its kind, and nothing acknowledged is lost.

#![cfg(feature = "sqlite")]

mod common;

use std::time::Duration;

use common::{Place, applied};
use monitor_model::conformance::{down, id, monitor, up};
use monitor_model::{Commit, Record, Store, StoreErrorKind, Unobserved};
use monitor_operation::Epoch;
use monitor_store::SqliteStore;

/// A record with a long note, so that a small file is full soon.
fn long(text: &str, due_unix_ms: i64) -> Record {
    let observation = monitor_model::Observation::up().with_note("x".repeat(2000));
    Record::observed(
        id(text),
        Epoch::new(1),
        due_unix_ms,
        observation,
        Default::default(),
    )
}

/// OPS-18: a full file refuses, keeps what it has acknowledged, and works again when there is room.
#[tokio::test]
async fn a_full_file_recovers_when_there_is_room() {
    let place = Place::new();
    let mut options = place.options();
    options.max_size = Some(256 << 10);
    let store = SqliteStore::open(options).unwrap();
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    store.define(monitor("b"), Epoch::new(1)).await.unwrap();
    let mut written = 0;
    let error = loop {
        match store.commit(long("a", written)).await {
            Ok(Commit::Applied(_)) => written += 1,
            Ok(Commit::Refused(refusal)) => panic!("{refusal:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, StoreErrorKind::Full);
    let text = error.to_string();
    assert!(
        text.contains("monitor.sqlite: ") && text.contains("full"),
        "{text}"
    );
    assert!(
        (20..200).contains(&written),
        "{written} rows of 2 kB, each with a page of its own, in 256 kB"
    );
    let error = store.commit(long("a", written)).await.unwrap_err();
    assert_eq!(
        error.kind,
        StoreErrorKind::Full,
        "for as long as there is no room"
    );
    // Everything acknowledged is there, and nothing else.
    let up_to_now = store.tally(&id("a"), 0).await.unwrap();
    assert_eq!(up_to_now.up, written.unsigned_abs());
    let loaded = store.load().await.unwrap();
    assert_eq!(i64::from(loaded.monitors[0].status.streak), written);
    assert_eq!(place.ask::<i64>("SELECT count(*) FROM history"), written);
    // Room: the history of a deleted monitor goes, in slices, before the next command or after it.
    assert!(store.delete(&id("a"), Epoch::new(2)).await.unwrap());
    store.define(monitor("c"), Epoch::new(1)).await.unwrap();
    while store.stats().removed_rows < written.unsigned_abs() {
        tokio::task::yield_now().await;
    }
    applied(&store, long("b", 0)).await;
    store.close().await.unwrap();
    assert_eq!(place.ask::<String>("PRAGMA integrity_check"), "ok");
}

#[tokio::test]
async fn a_larger_limit_lets_a_full_file_go_on() {
    let place = Place::new();
    let mut options = place.options();
    options.max_size = Some(1);
    let store = SqliteStore::open(options.clone()).unwrap();
    // No less than the tables themselves: each has its first page.
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    let mut due = 0;
    let error = loop {
        match store.commit(long("a", due)).await {
            Ok(_) => due += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, StoreErrorKind::Full);
    store.close().await.unwrap();
    options.max_size = Some(1 << 20);
    let store = SqliteStore::open(options).unwrap();
    applied(&store, long("a", due)).await;
}

/// OPS-18: nothing is acknowledged that goes to a file without a name. When the file is back, so is
/// the store, with all that was acknowledged.
#[tokio::test]
async fn a_file_that_is_removed_or_replaced_is_gone_until_it_is_back() {
    let place = Place::new();
    let store = place.open();
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    applied(&store, up("a", 1, 1000)).await;
    let away = place.folder().join("away");
    std::fs::rename(place.path(), &away).unwrap();
    let error = store.commit(up("a", 1, 2000)).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unreachable, "{error}");
    assert!(error.to_string().contains("removed or replaced"), "{error}");
    std::fs::write(place.path(), "another").unwrap();
    let error = store.commit(up("a", 1, 2000)).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unreachable, "{error}");
    assert_eq!(std::fs::read(place.path()).unwrap(), b"another");
    assert_eq!(store.history(&id("a"), 9).await.unwrap().len(), 1);
    std::fs::rename(&away, place.path()).unwrap();
    applied(&store, up("a", 1, 2000)).await;
    store.close().await.unwrap();
    assert_eq!(place.ask::<i64>("SELECT count(*) FROM history"), 2);
}

/// Another program that writes makes a command wait, then fail as busy; never anything else.
#[tokio::test]
async fn a_file_that_another_program_writes_is_busy_and_then_free() {
    let place = Place::new();
    let mut options = place.options();
    options.busy_timeout = Duration::from_millis(20);
    let store = SqliteStore::open(options).unwrap();
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    let other = place.sql();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.commit(up("a", 1, 1000)).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Busy);
    assert_eq!(store.load().await.unwrap().monitors.len(), 1, "reads go on");
    assert_eq!(store.stats().failed_transactions, 1);
    other.execute_batch("ROLLBACK").unwrap();
    applied(&store, up("a", 1, 1000)).await;
}

/// OPS-19: an unreadable row is an error that names it; other rows stay readable.
#[tokio::test]
async fn a_row_that_cannot_be_read_is_named() {
    let code = |name: &str| format!("(SELECT code FROM term WHERE name = '{name}')");
    let missed = format!("outcome = {}", code("missed"));
    let damages = [
        ("outcome = 99", "column outcome: \"code 99\""),
        (&*missed, "column reason: it is null"),
        (
            &*format!("{missed}, reason = {}", code("breaker_open")),
            "breaker_open is no reason of missed",
        ),
        (
            &*format!("{missed}, reason = -7"),
            "column reason: \"code -7\"",
        ),
        ("fault_layer = NULL", "column fault_layer: it is null"),
        ("fault_layer = 1000", "column fault_layer: "),
        ("fault_reason = NULL", "column fault_reason: it is null"),
        ("fault_reason = 1", "column fault_reason: "),
        ("slots = 0", "column slots: it is 0"),
        ("slots = -1", "column slots: -1"),
        ("slots = 4294967296", "column slots: 4294967296"),
        ("epoch = -1", "column epoch: -1"),
        ("took_us = -5", "column took_us: "),
        ("resolve_us = -9223372036854775808", "column resolve_us: "),
        ("operation = x'00'", "column operation: "),
        ("operation = zeroblob(16)", "an operation id is not zero"),
    ];
    let place = Place::new();
    let store = place.open();
    for name in ["a", "b"] {
        store.define(monitor(name), Epoch::new(1)).await.unwrap();
        applied(&store, down(name, 1, 1000)).await;
    }
    let sql = place.sql();
    for (damage, problem) in damages {
        sql.execute_batch("BEGIN IMMEDIATE; CREATE TEMP TABLE kept AS SELECT * FROM history")
            .unwrap();
        sql.execute_batch(&format!(
            "UPDATE history SET {damage} WHERE sequence = 1; COMMIT"
        ))
        .unwrap();
        let error = store.history(&id("a"), 10).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Corrupt, "{damage}");
        let text = error.to_string();
        assert!(
            text.contains("history row 1: ") && text.contains(problem),
            "{damage}: {text}"
        );
        assert_eq!(store.history(&id("b"), 10).await.unwrap().len(), 1);
        sql.execute_batch(
            "BEGIN IMMEDIATE; REPLACE INTO history SELECT * FROM kept; DROP TABLE kept; COMMIT",
        )
        .unwrap();
        assert_eq!(store.history(&id("a"), 10).await.unwrap().len(), 1);
    }
}

/// A damaged state fails the commits of its own monitor and, as it must, the start-up.
#[tokio::test]
async fn a_state_that_cannot_be_read_stops_its_own_monitor_only() {
    let damages = [
        (
            "status SET lifecycle = 'asleep'",
            "status of monitor \"a\": column lifecycle: ",
        ),
        (
            "status SET streak = -1",
            "status of monitor \"a\": column streak: -1",
        ),
        (
            "status SET last_slots = NULL",
            "status of monitor \"a\": column last_slots: ",
        ),
    ];
    for (damage, problem) in damages {
        let place = Place::new();
        let store = place.open();
        for name in ["a", "b"] {
            store.define(monitor(name), Epoch::new(1)).await.unwrap();
            applied(&store, up(name, 1, 1000)).await;
        }
        let number = "(SELECT number FROM monitor WHERE id = 'a')";
        place
            .sql()
            .execute_batch(&format!("UPDATE {damage} WHERE monitor = {number}"))
            .unwrap();
        let error = store.commit(up("a", 1, 2000)).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Corrupt);
        assert!(error.to_string().contains(problem), "{error}");
        let error = store.load().await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Corrupt);
        assert!(error.to_string().contains("monitor \"a\": "), "{error}");
        applied(&store, up("b", 1, 2000)).await;
    }
}

#[tokio::test]
async fn an_epoch_or_a_number_beyond_a_row_is_an_error_not_a_panic() {
    let place = Place::new();
    // So that none of the two is too old for the other.
    let store = SqliteStore::open(place.keeping_all()).unwrap();
    let error = store
        .define(monitor("a"), Epoch::new(u64::MAX))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("is above 2^63 - 1"), "{error}");
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    let mut record = Record::unobserved(
        id("a"),
        Epoch::new(1),
        i64::MAX,
        u32::MAX,
        Unobserved::Stalled,
    );
    record.interval_ms = i64::MAX;
    record.took = Some(Duration::MAX);
    applied(&store, record).await;
    applied(&store, up("a", 1, i64::MIN)).await;
    assert_eq!(store.history(&id("a"), u32::MAX).await.unwrap().len(), 2);
    assert_eq!(store.tally(&id("a"), i64::MIN).await.unwrap().up, 1);
}

/// Counts that another program has changed are found by somebody who looks: an hour is the sum of
/// its minutes, and a day of its hours.
#[tokio::test]
async fn counts_that_do_not_add_up_are_found() {
    let place = Place::new();
    let store = place.open();
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    for due in [0, 60_000, 3_600_000, 90_000_000] {
        applied(&store, up("a", 1, due)).await;
    }
    while store.stats().rolled_rows < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.doctor().await.unwrap(), []);
    let damages = [
        (
            "DELETE FROM bucket_page WHERE resolution = 1 AND page = 0",
            "its hour from 0 on counts 2",
        ),
        (
            "DELETE FROM bucket_page WHERE resolution = 3",
            "its day from 0 on counts 0",
        ),
    ];
    for (damage, found) in damages {
        place.sql().execute_batch(damage).unwrap();
        let told: Vec<_> = store.doctor().await.unwrap();
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|told| told.contains(found)), "{told:?}");
    }
}
