//! What Prometheus reads, judged by Prometheus's own tool.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests panic, too")]

mod process;
mod served;

use std::collections::BTreeSet;

use monitor_testkit::services::check_metrics;
use monitor_testkit::targets::{Refusing, Target};
use reqwest::Method;
use serde_json::json;
use served::Served;

async fn start() -> (Served, Target, Refusing) {
    let target = Target::healthy().await.unwrap();
    let refusing = Refusing::new().unwrap();
    let served = Served::start(&format!(
        "[[monitor]]\nid = \"web\"\nurl = {:?}\ninterval = \"200ms\"\ntimeout = \"1m\"\n\
         [[monitor]]\nid = \"gone\"\ntcp = \"{}\"\ninterval = \"1s\"\n",
        target.url(),
        refusing.addr()
    ));
    (served, target, refusing)
}

/// The name of a series and its labels, without its value.
fn series(metrics: &str) -> BTreeSet<&str> {
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    samples
        .filter_map(|line| Some(line.rsplit_once(' ')?.0))
        .collect()
}

/// ROB-34, ROB-57: names, types, units and help as the conventions want them, and the series that
/// there is data for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_accepts_the_metrics() {
    let (served, _target, _refusing) = start().await;
    let mut stream = served.stream().await;
    stream.result("web", "up").await;
    stream.result("gone", "down").await;
    served.act("web", "pause").await;
    let response = served.get("/metrics").await;
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = response.text().await.unwrap();
    check_metrics(&text).unwrap();
    let series = series(&text);
    for expected in [
        "prober_up{monitor=\"gone\",kind=\"tcp\"}",
        "prober_state{monitor=\"web\",state=\"paused\"}",
        "prober_checks_total{kind=\"http\",outcome=\"up\"}",
        "prober_checks_total{kind=\"tcp\",outcome=\"down\"}",
        "prober_check_failures_total{kind=\"tcp\",category=\"network\",layer=\"connect\",reason=\"refused\"}",
        "prober_phase_duration_seconds_count{kind=\"http\",phase=\"first_byte\"}",
        "prober_schedule_lag_seconds_count",
        "prober_in_flight",
        "prober_queue_depth",
        "prober_breaker_state{monitor=\"web\",state=\"closed\"}",
        "prober_last_attempt_timestamp_seconds{monitor=\"gone\"}",
        "prober_schedules_lost",
        "prober_store_writable",
        "prober_build_info{version=\"0.1.0\"}",
    ] {
        assert!(
            series.contains(expected),
            "{expected} is missing in:\n{text}"
        );
    }
    assert!(
        !series.contains("prober_up{monitor=\"web\",kind=\"http\"}"),
        "paused: neither 0 nor 1"
    );
    assert_eq!(served.metric("prober_schedules_lost").await, 0.0);
}

/// ROB-34: who asks for OpenMetrics gets it, with the same series.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_formats_have_the_same_series() {
    let (served, _target, _refusing) = start().await;
    let mut stream = served.stream().await;
    stream.result("web", "up").await;
    stream.result("gone", "down").await;
    for id in ["web", "gone"] {
        served.act(id, "pause").await;
    }
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    let request = served
        .client
        .get(served.url("/metrics"))
        .header("accept", accept);
    let response = request.send().await.unwrap();
    let media_type = &response.headers()["content-type"];
    assert_eq!(
        media_type,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let open = response.text().await.unwrap();
    assert!(open.ends_with("# EOF\n"), "{open}");
    let classic = served.text("/metrics").await;
    assert!(!classic.contains("# EOF") && !classic.contains("# UNIT"));
    assert_eq!(series(&open), series(&classic));
}

/// ROB-34: the number of series depends on monitors and closed sets, not on what happens; and the
/// series of a deleted monitor end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series_are_bounded_and_end_with_their_monitor() {
    let (served, _target, refusing) = start().await;
    let mut stream = served.stream().await;
    stream.result("web", "up").await;
    stream.result("gone", "down").await;
    let before = served.text("/metrics").await;
    let spec = json!({ "id": "extra", "tcp": refusing.addr().to_string(), "interval": "1s" });
    served.define(spec).await;
    stream.result("extra", "down").await;
    assert!(served.text("/metrics").await.contains("monitor=\"extra\""));
    let path = "/api/v1/monitors/extra";
    assert!(
        served
            .send(Method::DELETE, path, &json!({}))
            .await
            .status()
            .is_success()
    );
    for _ in 0..3 {
        stream.result("web", "up").await;
    }
    let after = served.text("/metrics").await;
    assert!(!after.contains("extra"), "{after}");
    let (before, after) = (series(&before), series(&after));
    let new: Vec<_> = after.difference(&before).collect();
    // Of kinds and reasons only.
    assert!(
        new.iter().all(|series| !series.contains("monitor=")),
        "{new:?}"
    );
    for label in ["127.0.0.1", "http://", "Connection refused"] {
        assert!(
            !after.iter().any(|series| series.contains(label)),
            "{label} in a label"
        );
    }
}
