//! What is kept and what goes.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "helpers of tests panic, too")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Place, applied};
use monitor_model::conformance::{id, monitor, up};
use monitor_model::{Observation, Phases, Record, Resolution, Store};
use monitor_operation::Epoch;
use monitor_store::SqliteStore;
use tokio::task::JoinSet;

const HOUR_MS: i64 = 3_600_000;

async fn removed(store: &SqliteStore, rows: u64) {
    while store.stats().removed_rows < rows {
        tokio::task::yield_now().await;
    }
}

/// OPS-29: history is bounded by age, and where it ends is known all the same.
#[tokio::test]
async fn history_goes_by_age_and_tallies_stay() {
    let place = Place::new();
    let mut options = place.options();
    options.retain_history = Duration::from_secs(3600);
    let store = Arc::new(SqliteStore::open(options).unwrap());
    for name in ["a", "idle"] {
        store.define(monitor(name), Epoch::new(1)).await.unwrap();
        // More than one slice holds, written together.
        let commit = |second: i64| {
            let store = Arc::clone(&store);
            async move { applied(&*store, up(name, 1, second * 1000)).await }
        };
        let tasks: JoinSet<_> = (0..1200).map(commit).collect();
        tasks.join_all().await;
    }
    applied(&*store, up("a", 1, HOUR_MS + 600_000)).await;
    // The first of each stays: there the verdict changed.
    removed(&store, 1198).await;
    store.close().await.unwrap();
    // Of the others exactly those of the last hour are left: seconds 600 to 1199, and the last one.
    let oldest = "SELECT min(due_unix_ms) || ' ' || count(*) FROM history
        JOIN monitor ON number = monitor WHERE changed = 0 AND id = ";
    assert_eq!(
        place.ask::<String>("SELECT group_concat(due_unix_ms) FROM history WHERE changed"),
        "0,0"
    );
    assert_eq!(place.ask::<String>(&format!("{oldest}'a'")), "600000 601");
    assert_eq!(
        place.ask::<String>(&format!("{oldest}'idle'")),
        "600000 600"
    );
    let store = place.open();
    assert_eq!(
        store.tally(&id("a"), 0).await.unwrap().up,
        1201,
        "counts go on"
    );
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.monitors[1].last_due.unwrap().due_unix_ms, 1_199_000);
}

/// A deleted monitor's history goes in slices, also when the process ended in between.
#[tokio::test]
async fn a_deleted_monitor_leaves_nothing_but_its_grave() {
    let place = Place::new();
    let store = place.open();
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    store.define(monitor("b"), Epoch::new(1)).await.unwrap();
    applied(&store, up("b", 1, 0)).await;
    store.close().await.unwrap();
    place.put_lines(5000, 0, "NULL");
    let store = place.open();
    assert!(store.delete(&id("a"), Epoch::new(2)).await.unwrap());
    // A new life of the same id sees nothing of the old one, removed or not yet.
    store.define(monitor("a"), Epoch::new(3)).await.unwrap();
    assert!(store.history(&id("a"), 10).await.unwrap().is_empty());
    store.close().await.unwrap();
    let store = place.open();
    let left = || place.ask::<i64>("SELECT count(*) FROM monitor WHERE ended = 1");
    while left() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        place.ask::<i64>("SELECT count(*) FROM history"),
        1,
        "that of b"
    );
    assert_eq!(store.load().await.unwrap().monitors.len(), 2);
    store.close().await.unwrap();
}

/// Removal gives room back while commits go on, a bounded number of rows at a time: the file on disk
/// shrinks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn free_pages_go_back_to_the_file_system_while_commits_go_on() {
    let place = Place::new();
    let store = place.open();
    for name in ["a", "b"] {
        store.define(monitor(name), Epoch::new(1)).await.unwrap();
    }
    store.close().await.unwrap();
    place.put_lines(2000, 0, "hex(zeroblob(1000))");
    let large = std::fs::metadata(place.path()).unwrap().len();
    let store = place.open();
    assert!(store.delete(&id("a"), Epoch::new(2)).await.unwrap());
    let mut commits = 0;
    while place.ask::<i64>("PRAGMA page_count") * 4096 > large.cast_signed() / 4 {
        commits += 1;
        applied(&store, up("b", 1, commits)).await;
    }
    let stats = store.stats();
    assert_eq!(stats.removed_rows, 2000);
    // 500 rows a slice at most, and 64 pages: some 1000 of them were to be given back.
    assert!(stats.slices >= 2000 / 500 + 1000 / 64, "{stats:?}");
    store.close().await.unwrap();
    let small = std::fs::metadata(place.path()).unwrap().len();
    assert!(small < large / 4, "{small} of {large} bytes");
    assert_eq!(place.ask::<String>("PRAGMA integrity_check"), "ok");
    let store = place.open();
    assert_eq!(
        store.tally(&id("b"), 0).await.unwrap().up,
        commits.unsigned_abs()
    );
}

/// Nine hours of two monitors, a check every ten seconds, with a note.
async fn nine_hours(store: &Arc<SqliteStore>) -> i64 {
    for name in ["a", "b"] {
        store.define(monitor(name), Epoch::new(1)).await.unwrap();
    }
    let newest = 9 * 360 - 1;
    for tenth in 0..9 * 18 {
        let commit = |n: i64| {
            let (store, name) = (Arc::clone(store), if n % 2 == 0 { "a" } else { "b" });
            let due = (tenth * 20 + n / 2) * 10_000;
            let observation = Observation::up().with_note("x".repeat(150));
            let record =
                Record::observed(id(name), Epoch::new(1), due, observation, Phases::default());
            async move { applied(&*store, record).await }
        };
        (0..40).map(commit).collect::<JoinSet<_>>().join_all().await;
    }
    newest * 10_000
}

/// OPS-29: a store that may not grow gives up what is oldest before its age, lines first, goes on
/// taking results, and still counts everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv_store_11_a_small_file_keeps_less_and_refuses_nothing() {
    const SIZE: u64 = 1 << 20;
    let place = Place::new();
    let mut options = place.options();
    options.max_size = Some(SIZE);
    options.retain_history = Duration::from_secs(24 * 3600);
    let store = Arc::new(SqliteStore::open(options).unwrap());
    let newest = nine_hours(&store).await;
    store.close().await.unwrap();
    let size = std::fs::metadata(place.path()).unwrap().len();
    assert!(size <= SIZE, "{size}");
    let from: i64 = place.ask("SELECT history_from_unix_ms FROM head");
    let kept = newest - from;
    assert!((HOUR_MS..8 * HOUR_MS).contains(&kept), "{kept} ms of lines");
    let minutes: i64 = place.ask("SELECT minutes_from_unix_ms FROM head");
    assert!(minutes < 0, "minutes come after lines");
    let store = place.open();
    for name in ["a", "b"] {
        assert_eq!(store.tally(&id(name), 0).await.unwrap().up, 9 * 360);
        let minutes = store
            .buckets(&id(name), Resolution::Minute, 0..i64::MAX)
            .await
            .unwrap();
        assert_eq!(
            minutes.iter().map(|minute| minute.tally.up).sum::<u64>(),
            9 * 360
        );
        assert_eq!(minutes.len(), 9 * 60);
    }
    assert_eq!(store.doctor().await.unwrap(), []);
}

/// OPS-29: removal keeps up with whatever is written, though the writer is never idle.
#[tokio::test]
async fn removal_keeps_up_with_a_flood() {
    const RESULTS: i64 = 12_000;
    let place = Place::new();
    let mut options = place.options();
    options.retain_history = Duration::from_secs(3600);
    let store = Arc::new(SqliteStore::open(options).unwrap());
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    // All of them at once: there is always another batch in the queue.
    let commit = |n: i64| {
        let store = Arc::clone(&store);
        async move { applied(&*store, up("a", 1, n * 10_000)).await }
    };
    (0..RESULTS)
        .map(commit)
        .collect::<JoinSet<_>>()
        .join_all()
        .await;
    // The last batch was answered just now, before anything else was done.
    let stats = store.stats();
    let removed = stats.removed_rows.cast_signed();
    assert!(
        removed > RESULTS / 2,
        "{removed} of {RESULTS} results in 33 hours"
    );
    assert!(
        stats.rolled_rows + stats.removed_rows <= stats.slices * 1000,
        "{stats:?}"
    );
    store.close().await.unwrap();
}

/// A line that another program has damaged keeps its own monitor's history where it is, and no
/// other's.
#[tokio::test]
async fn a_line_that_cannot_be_read_holds_up_its_own_monitor_only() {
    let place = Place::new();
    let mut options = place.options();
    options.retain_history = Duration::from_secs(600);
    let store = SqliteStore::open(options.clone()).unwrap();
    for name in ["a", "b"] {
        store.define(monitor(name), Epoch::new(1)).await.unwrap();
        for due in 0..4 {
            applied(&store, up(name, 1, due * 1000)).await;
        }
    }
    store.close().await.unwrap();
    place
        .sql()
        .execute_batch("UPDATE history SET outcome = 99 WHERE sequence = 2")
        .unwrap();
    let store = SqliteStore::open(options).unwrap();
    for name in ["a", "b"] {
        applied(&store, up(name, 1, HOUR_MS)).await;
    }
    // Three of b: the first stays, as the verdict changed.
    removed(&store, 3).await;
    store.close().await.unwrap();
    let left = "SELECT count(*) FROM history JOIN monitor ON number = monitor WHERE id = ";
    assert_eq!(place.ask::<i64>(&format!("{left}'a'")), 5);
    assert_eq!(place.ask::<i64>(&format!("{left}'b'")), 2);
    let error = place.open().tally(&id("a"), 0).await.unwrap_err();
    assert!(
        error.to_string().contains("history row 2: column outcome"),
        "{error}"
    );
}
