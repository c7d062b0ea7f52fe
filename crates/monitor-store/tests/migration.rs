//! Files of earlier versions, with data in them.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "helpers of tests panic, too")]

mod common;

use common::{Place, applied};
use monitor_fault::{Layer, Reason};
use monitor_model::conformance::{id, up};
use monitor_model::{
    DefectKind, Lifecycle, Outcome, Phase, Resolution, Store, Tally, Trigger, Unobserved,
};
use monitor_operation::Epoch;

const HOUR_MS: i64 = 3_600_000;
/// An hour of 2023.
const BASE: i64 = 472_222 * HOUR_MS;

/// A file as version 1 has left it: one monitor with a line of each kind and counts of an hour whose
/// lines are gone, one that is deleted and not yet removed, and a grave.
fn version_1(place: &Place) {
    let sql = place.sql();
    sql.execute_batch(
        "PRAGMA auto_vacuum = incremental; PRAGMA journal_mode = wal;
         CREATE TABLE schema_version (component TEXT PRIMARY KEY, version INTEGER NOT NULL)
             STRICT, WITHOUT ROWID;
         INSERT INTO schema_version VALUES ('store', 1);",
    )
    .unwrap();
    sql.execute_batch(include_str!("../migrations/0001_initial.sql"))
        .unwrap();
    let (gone, hour) = (BASE / HOUR_MS - 2, BASE / HOUR_MS);
    sql.execute_batch(&format!(
        r#"INSERT INTO monitor VALUES (1, 'a', 'A', 'api', '{{}}', 0), (2, 'b', 'B', 'file', '', 1);
         INSERT INTO status VALUES (1, 7, 'active', 'down', {BASE} + 1003, {BASE} + 1003, 1,
             'connect', 'refused', '127.0.0.1:1', NULL, {BASE} + 2000, 3, 1000);
         INSERT INTO grave VALUES ('b', 9);
         INSERT INTO history VALUES
             (10, 1, {BASE} - 10000, 1, 0, 7, 'up', NULL, 'timer', {BASE} - 10000, 2000, NULL, NULL,
                 NULL, NULL, '200 OK', x'00000000000000000000000000000007', 5, NULL, NULL, NULL, 6),
             (11, 1, {BASE}, 1, 1000, 7, 'up', NULL, 'manual', {BASE} + 5, 4000, NULL, NULL, NULL,
                 NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
             (12, 2, 5, 1, 0, 1, 'up', NULL, 'timer', 5, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                 NULL, NULL, NULL, NULL, NULL),
             (13, 1, {BASE} + 2000, 3, 1000, 7, 'missed', 'in_flight', 'timer', {BASE} + 2000, NULL,
                 NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
             (14, 1, {BASE} + 1000, 1, 1000, 7, 'down', NULL, 'timer', {BASE} + 1003, 2500,
                 'connect', 'refused', '127.0.0.1:1', 1500000, NULL, NULL, 1250, NULL, NULL, NULL,
                 NULL);
         UPDATE sqlite_sequence SET seq = 20 WHERE name = 'history';
         INSERT INTO tally VALUES (1, {gone}, 300, 20, 10, 360), (1, {hour} - 1, 1, 0, 4, 5),
             (1, {hour}, 1, 0, 1, 5), (2, 0, 1, 0, 0, 1);"#
    ))
    .unwrap();
}

/// OPS-18: nothing that a file of version 1 says is lost, and it goes on where it was.
#[tokio::test]
async fn inv_store_11_a_file_of_version_1_is_read_as_it_was_written() {
    let place = Place::new();
    version_1(&place);
    let mut options = place.options();
    // No slice of work changes anything yet: nothing was recorded.
    options.retain_history = std::time::Duration::MAX;
    let store = monitor_store::SqliteStore::open(options).unwrap();
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.graves, [(id("b"), Epoch::new(9))]);
    let [stored] = &loaded.monitors[..] else {
        panic!("{loaded:?}")
    };
    let status = &stored.status;
    assert_eq!(
        (status.lifecycle, status.epoch),
        (Lifecycle::Active, Epoch::new(7))
    );
    assert_eq!(status.outcome, Some(Outcome::Down));
    assert_eq!(status.fault.as_ref().unwrap().reason(), Reason::Refused);
    assert_eq!(stored.last_due.unwrap().end_unix_ms(), BASE + 4000);
    assert_eq!(stored.due_from_unix_ms, None, "nobody knows");

    let lines = store.history(&id("a"), 10).await.unwrap();
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line.sequence,
                line.record.outcome(),
                line.record.started_unix_ms - BASE,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (10, Outcome::Up, -10_000),
            (11, Outcome::Up, 5),
            (14, Outcome::Down, 1003),
            (13, Outcome::Missed, 2000)
        ]
    );
    let first = &lines[0].record;
    assert_eq!(first.note(), Some("200 OK"));
    assert_eq!(first.operation.unwrap().get(), 7);
    assert_eq!(first.phases().get(Phase::Transfer).unwrap().as_micros(), 6);
    assert_eq!(
        (first.trigger, lines[1].record.trigger),
        (Trigger::Timer, Trigger::Manual)
    );
    let fault = lines[2].record.fault().unwrap();
    assert_eq!(
        (fault.layer(), fault.detail()),
        (Layer::Connect, Some("127.0.0.1:1"))
    );
    assert_eq!(fault.retry_after().unwrap().as_millis(), 1500);
    assert_eq!(lines[3].record.reason(), Some(Unobserved::InFlight));
    assert_eq!(
        (lines[3].record.slots, lines[3].record.interval_ms),
        (3, 1000)
    );
    // The verdict changed with 10 and with 14, by the order of arrival.
    let changed: String =
        place.ask("SELECT group_concat(sequence) FROM history WHERE changed AND monitor = 1");
    assert_eq!(changed, "10,14");

    counts(&store).await;
    // It goes on: numbers rise, and what comes is counted with what was.
    let next = applied(&store, up("a", 7, BASE + 9000)).await;
    assert!(next.sequence > 20, "{}", next.sequence);
    assert_eq!(store.tally(&id("a"), 0).await.unwrap().up, 303);
    store.close().await.unwrap();
    assert_eq!(place.ask::<String>("PRAGMA integrity_check"), "ok");
    assert_eq!(
        place.ask::<i64>("SELECT count(*) FROM pragma_foreign_key_check"),
        0
    );
    let old = "SELECT count(*) FROM sqlite_schema WHERE name IN ('tally', 'history_2')";
    assert_eq!(place.ask::<i64>(old), 0);
}

/// Hours whose lines are gone say what they said, and hours whose lines are there say no more.
async fn counts(store: &monitor_store::SqliteStore) {
    let tally = store.tally(&id("a"), 0).await.unwrap();
    assert_eq!(
        tally,
        Tally {
            up: 302,
            degraded: 20,
            down: 15,
            due: 370
        }
    );
    let hours = store
        .buckets(&id("a"), Resolution::Hour, 0..i64::MAX)
        .await
        .unwrap();
    let told: Vec<_> = hours
        .iter()
        .map(|hour| {
            (
                hour.start_unix_ms - BASE,
                hour.tally.up,
                hour.tally.due,
                hour.latency.count,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (-2 * HOUR_MS, 300, 360, 0),
            (-HOUR_MS, 1, 5, 1),
            (0, 1, 5, 1)
        ]
    );
    let days = store
        .buckets(&id("a"), Resolution::Day, 0..i64::MAX)
        .await
        .unwrap();
    assert_eq!(days.iter().map(|day| day.tally.due).sum::<u64>(), 370);
    // Minutes are known of hours that have all their lines.
    let minutes = store
        .buckets(&id("a"), Resolution::Minute, 0..i64::MAX)
        .await
        .unwrap();
    assert_eq!(
        minutes.iter().map(|minute| minute.tally.due).sum::<u64>(),
        5
    );
}

/// OPS-18: an hour that a wrong clock had counted, years from now, does not withhold the minutes of
/// all hours before it.
#[tokio::test]
async fn an_hour_of_the_far_future_withholds_no_minutes() {
    let place = Place::new();
    version_1(&place);
    let far = 9_000_000;
    let ahead = format!("INSERT INTO tally VALUES (1, {far}, 3, 0, 1, 4)");
    place.sql().execute_batch(&ahead).unwrap();
    let store = place.open();
    for (resolution, from, to) in [
        (Resolution::Minute, BASE, BASE + HOUR_MS),
        (Resolution::Hour, far * HOUR_MS, i64::MAX),
        (Resolution::Day, far * HOUR_MS, i64::MAX),
    ] {
        let buckets = store.buckets(&id("a"), resolution, from..to).await.unwrap();
        let due: u64 = buckets.iter().map(|bucket| bucket.tally.due).sum();
        let all = if resolution == Resolution::Minute {
            5
        } else {
            4
        };
        assert_eq!(due, all, "{resolution}");
    }
    let defects = store.doctor().await.unwrap();
    let mut damaged = defects.iter().filter(|it| it.kind == DefectKind::Damaged);
    assert_eq!(damaged.next(), None);
    store.close().await.unwrap();
}

/// A step that fails takes all of them back, and says which file.
#[test]
fn a_file_that_cannot_be_migrated_is_as_it_was() {
    let place = Place::new();
    version_1(&place);
    let sql = place.sql();
    sql.execute_batch("CREATE TABLE bucket_page (x)").unwrap();
    let error = monitor_store::SqliteStore::open(place.options()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("monitor.sqlite: ") && text.contains("bucket_page"),
        "{text}"
    );
    assert_eq!(place.ask::<i64>("SELECT version FROM schema_version"), 1);
    assert_eq!(place.ask::<i64>("SELECT count(*) FROM history"), 5);
    assert_eq!(place.ask::<i64>("SELECT sum(due) FROM tally"), 371);
    sql.execute_batch("DROP TABLE bucket_page").unwrap();
    drop(sql);
    assert!(monitor_store::SqliteStore::open(place.options()).is_ok());
}
