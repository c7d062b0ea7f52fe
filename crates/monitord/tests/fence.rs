//! A check that is in flight when its monitor is paused, edited or deleted changes nothing: seen
//! from outside, through the HTTP API of the real binary.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests panic, too")]

mod process;
mod served;

use monitor_testkit::targets::Target;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use served::{Served, Stream};

/// Never checked by itself within a test.
const BYSTANDER: &str =
    "[[monitor]]\nid = \"bystander\"\ntcp = \"127.0.0.1:9\"\ninterval = \"1d\"\n";

/// Defines the monitor `slow` on a target that holds its answers back, and returns when its first
/// check is in flight: the target has the request and has not answered.
async fn in_flight(served: &Served, target: &Target) -> Stream {
    let stream = served.stream().await;
    let spec = json!({ "id": "slow", "url": target.url(), "interval": "1d", "timeout": "1h" });
    served.define(spec).await;
    target.until(|seen| seen.requests == 1).await;
    stream
}

/// Asserts that every line of history was written under the present epoch.
async fn only_of_this_epoch(served: &Served) {
    let epoch = &served.monitor("slow").await["epoch"];
    for row in served.history("slow").await {
        assert_eq!(&row["epoch"], epoch, "{row}");
    }
}

async fn fenced(served: &Served, reason: &str) -> f64 {
    let series = format!("prober_results_fenced_total{{reason=\"{reason}\"}}");
    served.metric(&series).await
}

/// OPS-1, OPS-17, OPS-19, OPS-42, OPS-43: a pause while a check is in flight is final.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_fences_the_check_in_flight() {
    let served = Served::start(BYSTANDER);
    let target = Target::held().await.unwrap();
    let mut stream = in_flight(&served, &target).await;
    let before = served.monitor("slow").await;
    assert_eq!(
        (&before["outcome"], &before["lifecycle"]),
        (&Value::Null, &json!("active"))
    );

    served.act("slow", "pause").await;
    let fenced_event = stream.event("fenced", "slow").await;
    assert_eq!(fenced_event["cause"], "paused");
    // The check's connection is gone: nothing of it is left that could report anything.
    target.until(|seen| seen.open == 0).await;

    let after = served.monitor("slow").await;
    assert_eq!(
        (&after["outcome"], &after["lifecycle"]),
        (&Value::Null, &json!("paused"))
    );
    assert_eq!(served.history("slow").await, Vec::<Value>::new());
    assert_eq!(fenced(&served, "paused").await, 1.0);
    assert_eq!(after["fenced_results"], 1);

    assert_eq!(target.seen().requests, 1, "its due times are nobody's");
    target.set_up(true);
    served.act("slow", "trigger").await;
    stream.result("slow", "up").await;
    let by_hand = served.monitor("slow").await;
    assert_eq!(
        (&by_hand["outcome"], &by_hand["lifecycle"]),
        (&json!("up"), &json!("paused")),
        "checked by hand, it stays paused"
    );
    only_of_this_epoch(&served).await;

    served.act("slow", "resume").await;
    served.act("slow", "trigger").await;
    stream.result("slow", "up").await;
    assert!(target.seen().requests > 2, "resumed, it is checked again");
    assert_eq!(fenced(&served, "paused").await, 1.0);
}

/// OPS-1, OPS-19, OPS-43: a result of the former definition is not written over the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_fences_the_check_in_flight() {
    let served = Served::start(BYSTANDER);
    let target = Target::held().await.unwrap();
    let other = Target::healthy().await.unwrap();
    let mut stream = in_flight(&served, &target).await;
    let epoch = served.monitor("slow").await["epoch"].as_u64().unwrap();

    let spec = json!({ "url": other.url(), "interval": "1d", "name": "Moved" });
    let response = served
        .send(Method::PUT, "/api/v1/monitors/slow", &spec)
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(stream.event("fenced", "slow").await["cause"], "edited");
    target.until(|seen| seen.open == 0).await;

    // The new definition is checked at once.
    stream.result("slow", "up").await;
    let after = served.monitor("slow").await;
    assert_eq!(
        (&after["name"], &after["outcome"]),
        (&json!("Moved"), &json!("up"))
    );
    assert!(after["epoch"].as_u64().unwrap() > epoch);
    only_of_this_epoch(&served).await;
    assert_eq!(served.history("slow").await.len(), 1);
    assert_eq!(fenced(&served, "edited").await, 1.0);
    assert_eq!(other.seen().requests, 1, "the new target is checked");
    assert_eq!(target.seen().requests, 1, "the old one no more");
}

/// OPS-17, OPS-43: no result brings a deleted monitor back, and nothing of it is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_fences_the_check_in_flight() {
    let served = Served::start(BYSTANDER);
    let target = Target::held().await.unwrap();
    let mut stream = in_flight(&served, &target).await;

    let response = served
        .send(Method::DELETE, "/api/v1/monitors/slow", &json!({}))
        .await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(stream.event("fenced", "slow").await["cause"], "deleted");
    target.until(|seen| seen.open == 0).await;

    assert_eq!(
        served.get("/api/v1/monitors/slow").await.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        served.get("/api/v1/monitors/slow/history").await.status(),
        StatusCode::NOT_FOUND
    );
    let metrics = served.text("/metrics").await;
    assert!(
        !metrics.contains("monitor=\"slow\""),
        "its series ended with it"
    );
    assert!(
        !served.text("/").await.contains("m-slow"),
        "its row ended with it"
    );
    assert_eq!(fenced(&served, "deleted").await, 1.0);
    let spec = json!({ "id": "slow", "url": target.url(), "interval": "1d" });
    let again = served.define(spec).await;
    assert_eq!(
        again["outcome"],
        Value::Null,
        "the same id again is a new life"
    );
    assert_eq!(served.history("slow").await, Vec::<Value>::new());
}

/// OPS-43: a target that never answers is down for that reason, and troubles no other
/// check and no reader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_never_answers_is_down_and_disturbs_nobody() {
    let silent = Target::silent().await.unwrap();
    let healthy = Target::healthy().await.unwrap();
    let served = Served::start(&format!(
        "[[monitor]]\nid = \"silent\"\nurl = {:?}\ninterval = \"1s\"\ntimeout = \"300ms\"\n\
         [[monitor]]\nid = \"healthy\"\nurl = {:?}\ninterval = \"200ms\"\ntimeout = \"1m\"\n",
        silent.url(),
        healthy.url()
    ));
    let mut stream = served.stream().await;
    let (mut seen, mut is_down) = (Vec::new(), 0);
    while is_down < 2 {
        let message = stream.until(|message| message.event == "result").await;
        let data = message.data;
        is_down += u32::from(data["monitor"] == "silent" && data["outcome"] == "down");
        seen.push(data);
    }
    for data in &seen {
        if data["monitor"] == "silent" {
            let reason = match data["outcome"].as_str().unwrap() {
                "down" => "timeout",
                // The daemon itself stood still: at the deadline, or at a due time.
                "unknown" => "stalled",
                "missed" => continue,
                other => panic!("{other}: {data}"),
            };
            assert_eq!(data["fault"]["reason"], reason, "{data}");
        } else {
            assert_ne!(data["outcome"], "down", "{data}");
            assert_ne!(data["outcome"], "unknown", "{data}");
        }
    }
    stream.result("healthy", "up").await;
    assert_eq!(served.get("/livez").await.status(), StatusCode::OK);
    assert_ne!(served.monitor("silent").await["outcome"], "up");
    assert_eq!(served.monitor("healthy").await["outcome"], "up");
}
