//! Health and API of the real binary, over real sockets.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests panic, too")]

mod process;
mod served;

use monitor_testkit::targets::{Refusing, Target};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use served::{Served, file_monitor, problem, up};

const API: &str = "/api/v1/monitors";

/// ROB-28, ROB-29, ROB-31, ROB-32: the strict majority rule, seen from outside; unknown is not healthy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_follows_the_strict_majority() {
    let (healthy, silent) = (
        Target::healthy().await.unwrap(),
        Target::silent().await.unwrap(),
    );
    let refusing = Refusing::new().unwrap();
    let served = Served::start(&format!(
        "[[monitor]]\nid = \"silent\"\nurl = {:?}\ninterval = \"1d\"\ntimeout = \"1h\"\n",
        silent.url()
    ));
    let health = async |expected: u16| -> Value {
        let response = served.get("/health").await;
        assert_eq!(response.status().as_u16(), expected);
        response.json().await.unwrap()
    };
    let unknown = health(503).await;
    assert_eq!(
        (&unknown["status"], &unknown["unknown"]),
        (&json!("unknown"), &json!(1))
    );
    assert_eq!(unknown["health_percentage"], Value::Null);
    let mut stream = served.stream().await;
    let define = async |id: &str, spec: Value| {
        let mut spec = spec;
        spec["id"] = json!(id);
        spec["interval"] = json!("1d");
        served.define(spec).await
    };
    define("a", json!({ "url": healthy.url() })).await;
    stream.result("a", "up").await;
    assert_eq!(
        health(200).await["status"],
        "healthy",
        "what has no verdict counts on no side"
    );
    define("b", json!({ "tcp": refusing.addr().to_string() })).await;
    stream.result("b", "down").await;
    let half = health(503).await;
    assert_eq!(
        (&half["healthy_probes"], &half["total_probes"]),
        (&json!(1), &json!(3))
    );
    assert_eq!(
        (&half["status"], &half["health_percentage"]),
        (&json!("unhealthy"), &json!(50.0))
    );
    define("c", json!({ "url": healthy.url() })).await;
    stream.result("c", "up").await;
    let most = health(200).await;
    for field in [
        "status",
        "degraded",
        "down",
        "unknown",
        "up",
        "checked_at",
        "version",
    ] {
        assert!(!most[field].is_null(), "{field}: {most}");
    }
    assert_eq!(most["monitors"], Value::Null);
    let verbose = served.json("/health?verbose").await;
    let monitors = verbose["monitors"].as_array().unwrap();
    let b = monitors.iter().find(|one| one["id"] == "b").unwrap();
    assert_eq!(
        (&b["outcome"], &b["category"]),
        (&json!("down"), &json!("network"))
    );
    assert!(b["age_ms"].is_u64(), "{b}");
    served.act("b", "pause").await;
    assert_eq!(
        health(200).await["health_percentage"],
        100.0,
        "a paused one is not judged"
    );
}

/// ROB-30: a process is alive and ready whatever becomes of its targets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn liveness_and_readiness_do_not_depend_on_targets() {
    let refusing = Refusing::new().unwrap();
    let served = Served::start(&format!(
        "[[monitor]]\nid = \"gone\"\ntcp = \"{}\"\ninterval = \"1d\"\n",
        refusing.addr()
    ));
    served.stream().await.result("gone", "down").await;
    assert_eq!(
        served.get("/health").await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    for path in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(served.get(path).await.status(), StatusCode::OK, "{path}");
    }
    let ready = served.json("/readyz").await;
    assert_eq!(
        (&ready["status"], &ready["store"]),
        (&json!("ready"), &json!("writable"))
    );
}

/// PRB-24, PRB-25, PRB-26, PRB-27, PRB-28, PRB-29, PRB-31, PRB-32, PRB-38: the status with the
/// field names of old.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_status_has_the_fields_of_old() {
    let silent = Target::silent().await.unwrap();
    let refusing = Refusing::new().unwrap();
    let served = Served::start(&format!(
        "[[monitor]]\nid = \"silent\"\nurl = {:?}\ninterval = \"1d\"\ntimeout = \"1h\"\n\
         [[monitor]]\nid = \"gone\"\ntcp = \"{}\"\ninterval = \"90s\"\npreset = \"gate2\"\n\
         backoff_base_interval = \"1m\"\nbackoff_max_interval = \"1h\"\n",
        silent.url(),
        refusing.addr()
    ));
    let mut stream = served.stream().await;
    if served.history("gone").await.is_empty() {
        stream.result("gone", "down").await;
    }
    silent.until(|seen| seen.requests == 1).await;
    let status = served.json("/api/admin/probes").await;
    assert_eq!(status["ongoing"], json!(["silent"]));
    let mut scheduled: Vec<_> = status["scheduled"].as_array().unwrap().clone();
    scheduled.sort_by_key(ToString::to_string);
    assert_eq!(scheduled, [json!("gone"), json!("silent")]);
    assert_eq!(
        (&status["concurrencyLimit"], &status["currentConcurrency"]),
        (&json!(20), &json!(1))
    );
    let gone = &status["states"]["gone"];
    assert_eq!(gone["service"], "gone");
    assert_eq!(gone["intervalMs"], 90_000);
    assert_eq!(gone["currentBackoffMs"], 120_000);
    assert_eq!(gone["consecutiveFailures"], 1);
    assert_eq!(gone["isActive"], true);
    for field in ["lastProbeAt", "lastErrorAt"] {
        let text = gone[field]
            .as_str()
            .unwrap_or_else(|| panic!("{field}: {gone}"));
        assert!(
            text.ends_with('Z') && text.contains('T'),
            "{field} is RFC 3339: {text}"
        );
    }
    assert_eq!(gone["lastSuccessAt"], Value::Null);
    assert!(gone.as_object().unwrap().contains_key("lastError"));
    served.act("gone", "reset-backoff").await;
    let status = served.json("/api/admin/probes").await;
    assert_eq!(status["states"]["gone"]["consecutiveFailures"], 0);
}

/// OPS-42: pause, trigger and resume; a paused monitor stays paused and keeps its verdict.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_of_the_file_can_be_paused_but_not_changed() {
    let (served, _target) = up().await;
    let mut stream = served.stream().await;
    stream.result("web", "up").await;
    let paused = served.act("web", "pause").await;
    assert_eq!(paused["result"], "paused");
    assert_eq!(
        stream.event("lifecycle", "web").await["lifecycle"],
        "paused"
    );
    assert_eq!(served.act("web", "trigger").await["result"], "started");
    stream.result("web", "up").await;
    let view = served.monitor("web").await;
    assert_eq!(
        (&view["lifecycle"], &view["outcome"]),
        (&json!("paused"), &json!("up"))
    );
    assert!(served.text("/").await.contains("<h1>web is paused</h1>"));
    served.act("web", "resume").await;
    assert_eq!(served.act("web", "trigger").await["id"], "web");
    stream.result("web", "up").await;
    for (method, body) in [
        (Method::PUT, json!({ "tcp": "h:1" })),
        (Method::DELETE, json!({})),
    ] {
        let response = served.send(method, "/api/v1/monitors/web", &body).await;
        let body = problem(response, 409).await;
        assert!(
            body["detail"].as_str().unwrap().contains("edit it there"),
            "{body}"
        );
    }
    let response = served
        .send(Method::POST, "/api/admin/probes/web/explode", &json!({}))
        .await;
    problem(response, 404).await;
    let response = served
        .send(Method::POST, "/api/admin/probes/nobody/pause", &json!({}))
        .await;
    problem(response, 404).await;
}

/// OPS-42: a paused monitor waits for no permit, and has no due time that one could wait for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_monitor_that_finds_no_permit_says_so() {
    let held = Target::held().await.unwrap();
    let url = held.url();
    let served = Served::start(&format!(
        "[limits]\nmax_concurrent_probes = 1\n\n[[monitor]]\nid = \"first\"\nurl = {url:?}\n\
         interval = \"1d\"\ntimeout = \"1h\"\n"
    ));
    held.until(|seen| seen.requests == 1).await;
    let spec = json!({ "id": "web", "url": url, "interval": "1d", "timeout": "1h" });
    served.define(spec).await;
    served.act("web", "pause").await;
    let path = "/api/admin/probes/web/trigger";
    let refused = served.send(Method::POST, path, &json!({})).await;
    let detail = problem(refused, 503).await["detail"].to_string();
    assert!(
        detail.contains("it is paused") && !detail.contains("due time"),
        "{detail}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn monitors_are_made_read_changed_and_deleted() {
    let (served, target) = up().await;
    let spec = json!({ "id": "api", "url": target.url(), "interval": "1d" });
    let response = served.send(Method::POST, API, &spec).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["location"], "/api/v1/monitors/api");
    let made: Value = response.json().await.unwrap();
    assert_eq!((&made["source"], &made["spec"]), (&json!("api"), &spec));
    problem(served.send(Method::POST, API, &spec).await, 409).await;
    let list = served.json(API).await;
    assert_eq!(list["monitors"].as_array().unwrap().len(), 2);

    let changed = json!({ "url": target.url(), "interval": "2h", "name": "Renamed" });
    let response = served
        .send(Method::PUT, "/api/v1/monitors/api", &changed)
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    let changed: Value = response.json().await.unwrap();
    assert_eq!(
        (&changed["name"], &changed["interval_ms"]),
        (&json!("Renamed"), &json!(7_200_000))
    );
    let other = json!({ "id": "else", "url": target.url() });
    problem(
        served
            .send(Method::PUT, "/api/v1/monitors/api", &other)
            .await,
        422,
    )
    .await;
    problem(
        served
            .send(Method::PUT, "/api/v1/monitors/none", &other)
            .await,
        404,
    )
    .await;

    let wrong = json!({ "id": "bad", "url": "ftp://h/", "interval": "1ms", "colour": "red" });
    let body = problem(served.send(Method::POST, API, &wrong).await, 422).await;
    let fields: Vec<_> = body["errors"].as_array().unwrap().iter().collect();
    let of = |name: &str| fields.iter().find(|error| error["field"] == name);
    for name in ["url", "interval", "colour"] {
        assert!(of(name).is_some(), "{name} is not named in {body}");
    }
    assert!(
        of("interval").unwrap()["value"]
            .as_str()
            .unwrap()
            .contains("1ms")
    );
    assert!(
        !of("interval").unwrap()["allowed"]
            .as_str()
            .unwrap()
            .is_empty()
    );

    for (limit, code) in [
        ("1", 200),
        ("1000", 200),
        ("0", 400),
        ("1001", 400),
        ("x", 400),
    ] {
        let path = format!("/api/v1/monitors/web/history?limit={limit}");
        assert_eq!(served.get(&path).await.status().as_u16(), code, "{limit}");
    }
    let path = "/api/v1/monitors/api";
    assert_eq!(
        served.send(Method::DELETE, path, &json!({})).await.status(),
        StatusCode::NO_CONTENT
    );
    problem(served.send(Method::DELETE, path, &json!({})).await, 404).await;
}

/// ROB-27: HEAD, unknown paths, wrong methods, wrong bodies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_request_is_said() {
    let (served, _target) = up().await;
    for path in ["/", "/livez", "/metrics", API] {
        let response = served.client.head(served.url(path)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "HEAD {path}");
        assert!(response.text().await.unwrap().is_empty());
    }
    for path in [
        "/nothing",
        "/api/nothing",
        "/api/v1/monitors/web/more",
        "/assets/",
    ] {
        problem(served.get(path).await, 404).await;
    }
    let response = served.send(Method::DELETE, "/health", &json!({})).await;
    assert!(
        response.headers()["allow"]
            .to_str()
            .unwrap()
            .contains("GET")
    );
    problem(response, 405).await;
    problem(served.send(Method::PATCH, API, &json!({})).await, 405).await;

    let post = |body: &str| {
        let request = served.client.post(served.url(API)).body(body.to_owned());
        request.header("content-type", "application/json").send()
    };
    problem(post("{").await.unwrap(), 400).await;
    problem(post(&" ".repeat(64 * 1024 + 1)).await.unwrap(), 413).await;
    problem(post("[]").await.unwrap(), 422).await;
    let plain = served.client.post(served.url(API)).body("{}").send();
    problem(plain.await.unwrap(), 415).await;
    for (name, value) in [
        ("host", "rebound.example"),
        ("origin", "https://evil.example"),
    ] {
        let request = served.client.post(served.url(API)).body("{}");
        let request = request
            .header("content-type", "application/json")
            .header(name, value);
        problem(request.send().await.unwrap(), 403).await;
    }
    assert_eq!(
        served.json(API).await["monitors"].as_array().unwrap().len(),
        1,
        "nothing changed"
    );
}

/// PRB-38: on an address that others reach, the API is closed and the page offers no actions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_is_open_on_loopback_only() {
    let target = Target::healthy().await.unwrap();
    let served = Served::listening("0.0.0.0:0", &file_monitor("web", &target));
    served.stream().await.result("web", "up").await;
    assert_eq!(served.get("/health").await.status(), StatusCode::OK);
    let html = served.text("/").await;
    assert!(
        html.contains("web is up") && !html.contains("data-action"),
        "{html}"
    );
    for path in ["/api/admin/probes", API, "/api/v1/monitors/web/history"] {
        problem(served.get(path).await, 403).await;
    }
    let path = "/api/admin/probes/web/pause";
    problem(served.send(Method::POST, path, &json!({})).await, 403).await;
}

/// Also what is refused before any handler is asked is told in the form of all refusals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_taken_apart_is_a_problem_too() {
    let (served, _target) = up().await;
    for path in [
        "/api/v1/monitors/%ff",
        "/assets/%ff",
        "/api/v1/monitors/shop/history?limit=5&limit=6",
        "/events?after=1&after=2",
    ] {
        let problem = problem(served.get(path).await, 400).await;
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("path or the query"), "{path}: {detail}");
    }
}
