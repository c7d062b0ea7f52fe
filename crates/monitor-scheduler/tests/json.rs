//! The status as the admin API shows it.
#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use common::{Gauge, schedule, secs, spec};
use monitor_operation::Operations;
use monitor_scheduler::{Config, Scheduler, Verdict};
use serde_json::json;
use tokio::time::sleep;

/// PRB-19, PRB-24, PRB-25, PRB-26, PRB-27, PRB-28, PRB-29, PRB-30, PRB-31, PRB-32: the names and
/// units of the report that the scheduler is modelled on.
#[tokio::test(start_paused = true)]
async fn the_names_are_those_of_the_report() {
    let config = Config {
        origin_unix: secs(1_795_230_000),
        ..Config::default()
    };
    let scheduler = Scheduler::new(config, Operations::new(), Arc::new(()));
    let gauge = Gauge::default();
    schedule(
        &scheduler,
        &gauge,
        "db",
        spec(secs(60)),
        secs(1),
        Verdict::Failure,
    );
    sleep(secs(62)).await;
    let json = serde_json::to_value(scheduler.status()).unwrap();
    assert_eq!(json["ongoing"], json!([]));
    assert_eq!(json["scheduled"], json!(["db"]));
    assert_eq!(
        (&json["concurrencyLimit"], &json["currentConcurrency"]),
        (&json!(20), &json!(0))
    );
    assert_eq!(json["missedByReason"]["overload"], 0);
    assert_eq!(
        json["classes"][2],
        json!({
            "class": "critical",
            "concurrencyLimit": null,
            "currentConcurrency": 0,
            "pace": "full",
        })
    );
    let db = &json["states"]["db"];
    assert_eq!(db["class"], "normal");
    assert_eq!(db["service"], "db");
    assert_eq!(db["intervalMs"], 60_000);
    assert_eq!(db["consecutiveFailures"], 7);
    assert_eq!(db["currentBackoffMs"], 10_000);
    assert_eq!(db["lastProbeAt"], "2026-11-21T03:00:53.000Z");
    assert_eq!(db["lastErrorAt"], "2026-11-21T03:00:54.000Z");
    assert_eq!(
        (&db["lastSuccessAt"], &db["lastError"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(
        (&db["isActive"], &db["state"]),
        (&json!(true), &json!("armed"))
    );
    assert_eq!(db["nextDue"], "2026-11-21T03:01:04.000Z");
    assert_eq!(
        (&db["lastDurationMs"], &db["runningForMs"]),
        (&json!(1000), &json!(null))
    );
}
