//! Maintenance and flapping as the daemon shows them: neither is a failure like others.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod process;
mod served;

use monitor_testkit::targets::Target;
use serde_json::{Value, json};
use served::Served;

const STATE: &str = "prober_state{monitor=\"worked-on\",state=\"maintenance\"}";

/// ROB-33: a target that refuses while somebody works on it is under maintenance, on every page:
/// nobody looks, each due time is suppressed with the reason, and no health is worse for it.
#[tokio::test]
async fn maintenance_is_shown_and_is_no_failure() {
    let served = Served::start(
        "[[monitor]]\nid = \"worked-on\"\ntcp = \"127.0.0.1:1\"\ninterval = \"200ms\"\n\
         maintenance = [\"daily 00:00-24:00\"]\n",
    );
    let rows = loop {
        let rows = served.history("worked-on").await;
        if rows.len() >= 3 {
            break rows;
        }
        tokio::task::yield_now().await;
    };
    for row in rows {
        assert_eq!(
            (&row["outcome"], &row["reason"], &row["took_ms"]),
            (&json!("suppressed"), &json!("maintenance"), &Value::Null)
        );
    }
    let monitor = served.monitor("worked-on").await;
    assert_eq!(monitor["outcome"], Value::Null);
    assert!(
        monitor["maintenance_until_unix_ms"].as_i64() > Some(0),
        "{monitor}"
    );
    let health = served.get("/health").await;
    assert_eq!(health.status(), 200);
    let health: Value = health.json().await.unwrap();
    assert_eq!(health["total_probes"], 0, "{health}");
    assert_eq!(served.metric(STATE).await, 1.0);
    let page = served.text("/").await;
    assert!(page.contains("worked-on is under maintenance"), "{page}");

    let explained = served.text("/api/admin/explain/worked-on").await;
    assert!(
        explained.contains("Somebody works on its target for another "),
        "{explained}"
    );

    // Whoever works there asks by hand, and is told what is the case.
    served.act("worked-on", "trigger").await;
    while served.monitor("worked-on").await["outcome"] != "down" {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        served.text("/").await.matches("worked-on is down").count(),
        0
    );
    assert_eq!(served.get("/health").await.status(), 200);
}

/// ROB-33, ROB-75: a target that comes and goes is said to flap, in the API, in the metrics and in
/// the log, while one that is down is not; and what their checks held in memory is on show.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flapping_is_shown() {
    let target = Target::flaky(&[200, 503]).await.unwrap();
    let mut served = Served::start(&format!(
        "[defaults]\ninterval = \"100ms\"\n[[monitor]]\nid = \"flaps\"\nurl = {:?}\n\
         [[monitor]]\nid = \"is-down\"\ntcp = \"127.0.0.1:1\"\n",
        target.url()
    ));
    let line = served.process.until("\"flapping\"");
    assert!(line.contains("\"monitor\":\"flaps\""), "{line}");
    let monitor = served.monitor("flaps").await;
    assert_eq!(monitor["flapping"], true, "{monitor}");
    assert!(monitor["changes_percent"].as_u64() >= Some(30), "{monitor}");
    assert!(monitor["memory_peak_bytes"].as_u64() > Some(0), "{monitor}");
    assert_eq!(served.monitor("is-down").await["flapping"], false);
    let of = |name: &str, id: &str| format!("prober_{name}{{monitor=\"{id}\"}}");
    assert_eq!(served.metric(&of("flapping", "flaps")).await, 1.0);
    assert_eq!(served.metric(&of("flapping", "is-down")).await, 0.0);
    let most = served.metric(&of("check_memory_peak_bytes", "flaps")).await;
    assert!(most > 0.0, "{most}");
}
