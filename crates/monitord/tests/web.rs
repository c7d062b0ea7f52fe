//! Page, stream, health and API of the real binary, over real sockets.

#![cfg(unix)]

mod process;
mod served;

use std::collections::BTreeMap;

use monitor_testkit::targets::{Refusing, Target};
use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use served::Served;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const API: &str = "/api/v1/monitors";

fn file_monitor(id: &str, target: &Target) -> String {
    let url = target.url();
    format!("[[monitor]]\nid = {id:?}\nurl = {url:?}\ninterval = \"200ms\"\n")
}

async fn up() -> (Served, Target) {
    let target = Target::healthy().await.unwrap();
    let served = Served::start(&file_monitor("web", &target));
    (served, target)
}

/// Sends bytes as they are and returns the whole answer.
async fn raw(served: &Served, request: &str) -> String {
    let mut stream = TcpStream::connect(served.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn problem(response: reqwest::Response, status: u16) -> Value {
    assert_eq!(response.status().as_u16(), status, "{response:?}");
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status);
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_complete_without_javascript_and_loads_nothing_from_elsewhere() {
    let (served, _target) = up().await;
    served.stream().await.result("web", "up").await;
    let response = served.get("/").await;
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"));
    assert!(!policy.contains("unsafe"), "{policy}");
    let html = response.text().await.unwrap();
    for part in [
        "<h1>web is up</h1>",
        "id=\"m-web\"",
        "Where the time goes",
        "Why it is as it is",
    ] {
        assert!(html.contains(part), "{part} is missing in:\n{html}");
    }
    assert!(
        !html.contains(" style=\"") && !html.contains(" onclick"),
        "inline code is forbidden"
    );
    let addresses = html
        .split('"')
        .filter(|text| text.starts_with("/") || text.contains("://"));
    let assets: Vec<_> = addresses
        .filter(|text| text.starts_with("/assets/"))
        .collect();
    assert_eq!(assets.len(), 3, "style, script, icon");
    assert!(!html.contains("src=\"http") && !html.contains("href=\"http"));
    for asset in assets {
        let response = served.get(asset).await;
        assert_eq!(response.status(), StatusCode::OK, "{asset}");
        let kept = response.headers()["cache-control"].to_str().unwrap();
        assert!(kept.contains("immutable"), "{kept}");
        let tag = response.headers()["etag"].clone();
        let again = served
            .client
            .get(served.url(asset))
            .header("if-none-match", tag);
        assert_eq!(
            again.send().await.unwrap().status(),
            StatusCode::NOT_MODIFIED
        );
    }
    problem(served.get("/assets/status-0000000000000000.css").await, 404).await;
}

/// OPS-33, OPS-34, OPS-19: what the store has committed is what the stream has told, each once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_committed_result_is_on_the_stream() {
    let target = Target::flaky(&[200, 200, 503]).await.unwrap();
    let served = Served::start(&file_monitor("web", &target));
    let mut stream = served.stream().await;
    let mut told = BTreeMap::new();
    let mut sequences = Vec::new();
    for _ in 0..15 {
        let message = stream.until(|message| message.event == "result").await;
        sequences.push(message.data["sequence"].as_u64().unwrap());
        let due = message.data["due_unix_ms"].as_i64().unwrap();
        assert!(
            told.insert(due, message.data).is_none(),
            "a due time is told once"
        );
    }
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
    let (first, last) = (told.keys().next().unwrap(), told.keys().last().unwrap());
    let stored = served.history("web").await;
    let stored: BTreeMap<_, _> = stored
        .iter()
        .map(|row| (row["due_unix_ms"].as_i64().unwrap(), row))
        .collect();
    let stored: BTreeMap<_, _> = stored.range(first..=last).collect();
    assert_eq!(
        stored.keys().copied().collect::<Vec<_>>(),
        told.keys().collect::<Vec<_>>()
    );
    for (due, data) in &told {
        for field in [
            "outcome",
            "operation",
            "fault",
            "phases_ms",
            "took_ms",
            "epoch",
        ] {
            assert_eq!(data[field], stored[due][field], "{field} at {due}");
        }
    }
}

/// OPS-34: after a break the stream goes on where it was, and says that there was a break.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_comes_back_gets_what_it_missed() {
    let (served, _target) = up().await;
    let mut stream = served.stream().await;
    let last = stream.until(|message| message.event == "result").await;
    let mut other = served.stream().await;
    drop(stream);
    let missed = other.until(|message| message.event == "result").await;
    let mut stream = served.stream_after(last.id.as_deref()).await;
    let first = stream.next().await.unwrap();
    assert_eq!(
        first.data["sequence"],
        last.data["sequence"].as_u64().unwrap() + 1
    );
    let again = if first.id == missed.id {
        first
    } else {
        stream.until(|message| message.id == missed.id).await
    };
    assert_eq!(again.data, missed.data);
    stream.until(|message| message.event == "resync").await;
    let mut lost = served.stream_after(Some("1-1")).await;
    assert_eq!(
        lost.next().await.unwrap().event,
        "resync",
        "of another process: only that helps"
    );
}

/// OPS-33: the page's own updates carry rows ready to be put in place, after the commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_carry_the_changed_row() {
    let target = Target::flapping().await.unwrap();
    let served = Served::start(&file_monitor("web", &target));
    let mut stream = served.stream().await;
    stream.result("web", "up").await;
    target.set_up(false);
    let update = stream.until(|message| {
        message.event == "update"
            && message.data["html"]
                .as_str()
                .unwrap()
                .contains("web is down")
    });
    let html = update.await.data["html"].as_str().unwrap().to_owned();
    assert!(
        html.contains("id=\"m-web.row\"") && html.contains("class=\"incident\""),
        "{html}"
    );
    let refused = Refusing::new().unwrap();
    served
        .define(json!({ "id": "other", "tcp": refused.addr().to_string() }))
        .await;
    stream.until(|message| message.event == "resync").await;
    assert!(served.text("/").await.contains("id=\"m-other\""));
}

/// ROB-28, ROB-29, ROB-31: the strict majority rule, seen from outside; unknown is not healthy.
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

/// PRB-38, PRB-24..32: the status with the field names of old.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_status_has_the_fields_of_old() {
    let silent = Target::silent().await.unwrap();
    let refusing = Refusing::new().unwrap();
    let served = Served::start(&format!(
        "[[monitor]]\nid = \"silent\"\nurl = {:?}\ninterval = \"1d\"\ntimeout = \"1h\"\n\
         [[monitor]]\nid = \"gone\"\ntcp = \"{}\"\ninterval = \"90s\"\npreset = \"gate2\"\n",
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
    assert_eq!(gone["currentBackoffMs"], 2000);
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
    let path = "/api/admin/probes/web/trigger";
    problem(served.send(Method::POST, path, &json!({})).await, 409).await;
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

/// ROB-27: heads are bounded in number and size.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_too_large_is_refused() {
    let (served, _target) = up().await;
    let many: String = (0..100).map(|n| format!("x-{n}: 1\r\n")).collect();
    let large = format!("x: {}\r\n", "a".repeat(20_000));
    for headers in [many, large] {
        let request = format!("GET /livez HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        let answer = raw(&served, &request).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    assert!(
        raw(&served, "garbage\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 400 ")
    );
}

/// ROB-27, ROB-30, OPS-33: clients that send slowly or do not read hold up nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_do_not_hurt_others() {
    let (served, _target) = up().await;
    let mut slow = Vec::new();
    for n in 0..100 {
        let mut stream = TcpStream::connect(served.address()).await.unwrap();
        let request = match n % 2 {
            0 => "GET /livez HTTP/1.1\r\nhost: loc".to_owned(),
            _ => format!("GET /events HTTP/1.1\r\nhost: {}\r\n\r\n", served.address()),
        };
        stream.write_all(request.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let mut stream = served.stream().await;
    for _ in 0..5 {
        stream.result("web", "up").await;
        assert_eq!(served.get("/livez").await.status(), StatusCode::OK);
        assert_eq!(served.get("/").await.status(), StatusCode::OK);
    }
    drop(slow);
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

/// OPS-33: the stream tells of the results until the end, and then ends; it holds up no shutdown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_streams_end_with_the_process() {
    let silent = Target::silent().await.unwrap();
    let served = Served::start(&format!(
        "[[monitor]]\nid = \"silent\"\nurl = {:?}\ninterval = \"1d\"\ntimeout = \"1h\"\n",
        silent.url()
    ));
    let mut stream = served.stream().await;
    silent.until(|seen| seen.requests == 1).await;
    served.process.signal(Signal::TERM);
    stream.result("silent", "cancelled").await;
    while stream.next().await.is_some() {}
    let (status, log) = served.process.end();
    assert!(status.success(), "{log}");
}
