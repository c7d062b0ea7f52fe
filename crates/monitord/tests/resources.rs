//! What the daemon says of itself: pools, pressure, its own tasks.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests panic, too")]

mod process;
mod served;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use monitor_testkit::services::check_metrics;
use monitor_testkit::targets::Target;
use reqwest::Method;
use serde_json::{Value, json};
use served::Served;

/// Answers every request of a connection that is kept open.
fn keeping() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut request = Vec::new();
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    request.extend_from_slice(&bytes[..count]);
                    if request.ends_with(b"\r\n\r\n") {
                        request.clear();
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                    }
                }
            });
        }
    });
    address
}

fn find<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    let mut items = list.as_array().unwrap().iter();
    items
        .find(|item| item[key] == name)
        .unwrap_or_else(|| panic!("no {name} in {list}"))
}

/// STB-40, STB-41, STB-42: the pool of a monitor that keeps its connections is in the metrics, by
/// the names of pools and on request by the older ones, and in the health; Prometheus's own tool
/// has nothing against it; and its series end with the monitor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pools_are_seen_for_as_long_as_they_are_there() {
    let target = Target::healthy().await.unwrap();
    let served = Served::start(&served::file_monitor("web", &target));
    let mut stream = served.stream().await;
    let spec = json!({
        "id": "kept", "url": format!("http://{}/", keeping()), "interval": "200ms", "timeout": "1m",
        "connection": "reuse",
    });
    served.define(spec).await;
    for _ in 0..3 {
        stream.result("kept", "up").await;
    }
    let text = served.text("/metrics").await;
    check_metrics(&text).unwrap();
    for expected in [
        "pool_acquire_duration_seconds_count{pool=\"monitor:kept\",outcome=\"acquired\"}",
        "pool_acquire_duration_seconds_bucket{le=\"+Inf\",pool=\"monitor:kept\",outcome=\"acquired\"}",
        "pool_waiting{pool=\"monitor:kept\"} 0",
        "pool_oldest_wait_seconds{pool=\"monitor:kept\"} 0",
        "pool_connections{pool=\"monitor:kept\",state=\"idle\"}",
        "pool_connections{pool=\"monitor:kept\",state=\"leased\"}",
        "pool_max_connections{pool=\"monitor:kept\"} 5",
        "pool_connects_total{pool=\"monitor:kept\"} 1",
        "pool_connect_failures_total{pool=\"monitor:kept\"} 0",
        "pool_races_total{pool=\"monitor:kept\"} 0",
    ] {
        assert!(text.contains(expected), "{expected} is missing in:\n{text}");
    }
    assert!(!text.contains("connection_pool_"), "on request alone");
    let old = served.text("/metrics?names=old").await;
    for expected in [
        "connection_pool_acquire_duration_ms_count{pool=\"monitor:kept\",outcome=\"acquired\"}",
        "connection_pool_race_detected{pool=\"monitor:kept\"} 0",
        "connection_pool_queue_size{pool=\"monitor:kept\"} 0",
    ] {
        assert!(old.contains(expected), "{expected} is missing in:\n{old}");
    }

    let health = served.json("/health").await;
    let pool = find(&health["pools"], "name", "monitor:kept");
    for (key, value) in [
        ("phase", json!("open")),
        ("size", json!(1)),
        ("max", json!(5)),
        ("waiting", json!(0)),
        ("oldest_wait_ms", json!(0)),
        ("unreachable", json!(false)),
        ("holders", Value::Null),
    ] {
        assert_eq!(pool[key], value, "{key}");
    }
    let verbose = served.json("/health?verbose").await;
    assert!(find(&verbose["pools"], "name", "monitor:kept")["holders"].is_array());

    let path = "/api/v1/monitors/kept";
    let deleted = served.send(Method::DELETE, path, &json!({})).await;
    assert!(deleted.status().is_success());
    let after = served.text("/metrics?names=old").await;
    assert!(!after.contains("monitor:kept"), "{after}");
    assert_eq!(served.json("/health").await["pools"], json!([]));
}

/// ROB-73, ROB-76, ROB-83: a process that uses more than it may is seen to, and is not ready; it is
/// alive all the same, and its targets are judged as ever.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_its_memory_it_is_critical_and_not_ready() {
    let target = Target::healthy().await.unwrap();
    let monitor = served::file_monitor("web", &target);
    let served = Served::start(&format!("[limits]\nmemory_limit_mb = 1\n{monitor}"));
    served.stream().await.result("web", "up").await;
    let health = served.get("/health").await;
    assert_eq!(health.status(), 200, "readiness alone is affected");
    let health: Value = health.json().await.unwrap();
    assert_eq!(health["pressure"]["level"], "critical");
    let sources = &health["pressure"]["sources"];
    let memory = find(sources, "source", "memory");
    assert_eq!(memory["level"], "critical");
    assert!(memory["usage"].as_str().unwrap().ends_with(" of 1.0 MiB"));
    assert!(memory["usage_ratio"].as_f64() > Some(1.0), "{memory}");
    for source in ["threads", "descriptors", "event_loop_lag", "queue_age"] {
        find(sources, "source", source);
    }

    let ready = served.get("/readyz").await;
    assert_eq!(ready.status(), 503);
    let ready: Value = ready.json().await.unwrap();
    assert_eq!(ready["pressure"], "critical");
    let reasons = ready["reasons"].to_string();
    assert!(reasons.contains("pressure is critical: "), "{reasons}");
    assert!(reasons.contains("memory: "), "{reasons}");
    assert_eq!(served.get("/livez").await.status(), 200);

    let text = served.text("/metrics").await;
    check_metrics(&text).unwrap();
    assert!(text.contains("prober_pressure_level{level=\"critical\"} 1"));
    assert!(text.contains("prober_pressure_level{level=\"normal\"} 0"));
    assert!(
        served
            .metric("prober_pressure_usage_ratio{source=\"memory\"}")
            .await
            > 1.0
    );
}

/// ROB-76, ROB-77, ROB-83: clients take every descriptor that the process may have. It sees to it and
/// names the cause, is alive and not ready, judges no target by what it lacks itself, and works on
/// once it has some again.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_it_is_critical_and_blames_no_target() {
    let target = Target::healthy().await.unwrap();
    let monitor = served::file_monitor("web", &target);
    let served = Served::start(&format!(
        "[limits]\nresource_check_interval = \"1s\"\n{monitor}"
    ));
    let mut stream = served.stream().await;
    stream.result("web", "up").await;
    let descriptors = async || {
        let health = served.json("/health").await;
        find(&health["pressure"]["sources"], "source", "descriptors").clone()
    };
    let usage = descriptors().await["usage"].to_string();
    let (used, _) = usage.trim_matches('"').split_once(" of ").unwrap();
    served
        .process
        .limit_descriptors(used.parse::<u64>().unwrap() + 40);
    let clients: Vec<_> = (0..80)
        .map(|_| TcpStream::connect(served.address()).unwrap())
        .collect();
    let exhausted = loop {
        let seen = descriptors().await;
        if seen["level"] == "critical" {
            break seen;
        }
    };
    assert!(
        exhausted["usage_ratio"].as_f64() >= Some(0.95),
        "{exhausted}"
    );
    let ready = served.get("/readyz").await;
    assert_eq!(ready.status(), 503);
    let reasons = ready.json::<Value>().await.unwrap()["reasons"].to_string();
    assert!(reasons.contains("descriptors: "), "{reasons}");
    assert_eq!(served.get("/livez").await.status(), 200);
    let text = served.text("/metrics").await;
    check_metrics(&text).unwrap();
    assert!(text.contains("prober_pressure_level{level=\"critical\"} 1"));
    stream.result("web", "unknown").await;

    drop(clients);
    stream.result("web", "up").await;
    while descriptors().await["usage_ratio"].as_f64() >= Some(0.8) {}
    let blamed = served.history("web").await.into_iter();
    let blamed = blamed.filter(|row| row["outcome"] == "down");
    assert_eq!(blamed.count(), 0, "the target was well all the time");
}

/// ROB-83, STB-22: its own tasks are well, and what they cost is measured.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_own_tasks_are_shown() {
    let (served, _target) = served::up().await;
    let mut stream = served.stream().await;
    // The tasks of the server begin with it; an update of the page is the last of their first ticks.
    stream.until(|message| message.event == "update").await;
    let health = served.json("/health?verbose").await;
    for name in ["journal", "page", "pools", "pressure", "server", "store"] {
        let task = find(&health["tasks"], "name", name);
        assert_eq!(
            (&task["healthy"], &task["last"]),
            (&json!(true), &json!("healthy"))
        );
        assert!(task["ticks"].as_u64() >= Some(1), "{task}");
        assert_eq!(task["failed"]["panic"], 0);
    }
    assert_eq!(
        served
            .metric("health_check_failures_total{component=\"store\",kind=\"panic\"}")
            .await,
        0.0
    );
}
