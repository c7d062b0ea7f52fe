//! What a day costs: 1 000 monitors at 10 s for 30 days stay under 300 MB.

#![cfg(feature = "sqlite")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Place, applied};
use monitor_model::conformance::{id, monitor};
use monitor_model::{Observation, Phase, Phases, Record, Store};
use monitor_operation::{Epoch, OperationId};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

const MONITORS: u64 = 4;
const HOURS: i64 = 8;
/// As in the file of a store that has run for a month.
const SEQUENCE: i64 = 250_000_000;

/// A check over HTTPS as a probe records it, with everything that a plain success has.
fn record(random: &mut SmallRng, name: &str, due: i64) -> Record {
    let mut time = |most: u64| Duration::from_micros(random.random_range(most / 8..most));
    let mut phases = Phases::default();
    for (phase, most) in [
        (Phase::Resolve, 3_000),
        (Phase::Connect, 30_000),
        (Phase::Tls, 60_000),
        (Phase::FirstByte, 200_000),
        (Phase::Transfer, 5_000),
    ] {
        phases.set(phase, time(most));
    }
    let took = time(300_000);
    let observation = Observation::up().with_note("200 OK");
    let mut record = Record::observed(id(name), Epoch::new(300), due, observation, phases);
    record.interval_ms = 10_000;
    record.took = Some(took);
    record.started_unix_ms = due + random.random_range(0..20);
    record.operation = OperationId::new(random.random());
    record
}

/// Everything that grows is measured where it grows: lines of six hours, minutes of an hour, hours
/// of a day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_monitors_for_thirty_days_stay_under_300_mb() {
    let place = Place::new();
    let store = place.open();
    for n in 0..MONITORS {
        store
            .define(monitor(&format!("m{n}")), Epoch::new(300))
            .await
            .unwrap();
    }
    store.close().await.unwrap();
    place
        .sql()
        .execute("UPDATE head SET sequence = ?1", [SEQUENCE])
        .unwrap();
    let store = Arc::new(place.open());
    let mut random = SmallRng::seed_from_u64(1);
    let base = 1_700_000_000_000 / 86_400_000 * 86_400_000;
    for tick in (0..HOURS * 360).step_by(30) {
        let mut tasks = JoinSet::new();
        for (at, n) in (tick..tick + 30).flat_map(|at| (0..MONITORS).map(move |n| (at, n))) {
            let due = base + at * 10_000 + n.cast_signed() * 1_237;
            let record = record(&mut random, &format!("m{n}"), due);
            let store = Arc::clone(&store);
            tasks.spawn(async move { applied(&*store, record).await });
        }
        tasks.join_all().await;
    }
    store.close().await.unwrap();

    let number = |query: &str| place.ask::<f64>(query);
    let pages = |table: &str| {
        number(&format!(
            "SELECT total(pgsize) FROM dbstat WHERE name = '{table}'"
        ))
    };
    let lines = number("SELECT total(1.0) FROM history");
    let expected = (MONITORS * 6 * 360) as f64;
    assert!(
        (expected..expected * 1.03).contains(&lines),
        "six hours: {lines} lines"
    );
    let bytes_per_line = pages("history") / lines;
    // Pages of buckets lie in pages of the file that are not full.
    let slack = pages("bucket_page") / number("SELECT total(length(buckets)) FROM bucket_page");
    let mean = |resolution: i64| {
        let query = format!(
            "SELECT avg(length(buckets) + 12) FROM bucket_page WHERE resolution = {resolution}"
        );
        number(&query) * slack
    };
    let hour_of_minutes = mean(1);
    let day_of_hours = mean(2) / HOURS as f64 * 24.0;
    let days = mean(3) * 30.0;
    let monitor =
        bytes_per_line * (6.0 * 360.0 + 30.0) + hour_of_minutes * 49.0 + day_of_hours * 30.0 + days;
    // Of the file one page in sixteen may be free.
    let megabytes = monitor * 1000.0 * 16.0 / 15.0 / 1e6;
    println!(
        "{bytes_per_line:.1} bytes for a line, {hour_of_minutes:.0} for an hour by minutes, \
         {day_of_hours:.0} for a day by hours: {megabytes:.0} MB"
    );
    assert!(megabytes < 300.0, "{megabytes} MB");
    assert!(megabytes > 100.0, "{megabytes} MB is too good to be true");
}
