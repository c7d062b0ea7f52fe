//! Page, stream and connections of the real binary, over real sockets.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests panic, too")]

mod process;
mod served;

use std::collections::BTreeMap;

use monitor_testkit::targets::{Refusing, Target};
use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::json;
use served::{Served, file_monitor, problem, up};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends bytes as they are and returns the whole answer.
async fn raw(served: &Served, request: &str) -> String {
    let mut stream = TcpStream::connect(served.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
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

/// OPS-33: what the store has committed is what the stream has told, each once.
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
