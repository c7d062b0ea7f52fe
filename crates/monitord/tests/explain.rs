//! `monitord explain` against a real daemon: what it says, and what it says when there is nothing.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests panic, too")]

mod process;
mod served;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Output;
use std::thread;

use monitor_testkit::targets::{Refusing, Target};
use process::{run, stderr, stdout};
use reqwest::StatusCode;
use serde_json::{Value, json};
use served::{Served, file_monitor, problem};

/// Asks in a thread of its own, so that the test's targets go on answering.
async fn explain(served: &Served, args: &[&str]) -> Output {
    let url = served.base.clone();
    let mut all = vec!["explain".to_owned()];
    all.extend(args.iter().map(|arg| (*arg).to_owned()));
    all.extend(["--url".to_owned(), url]);
    let ask = move || run(&all.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(ask).await.unwrap()
}

async fn explained(served: &Served, id: &str) -> (String, Value) {
    let text = explain(served, &[id]).await;
    assert_eq!(text.status.code(), Some(0), "{}", stderr(&text));
    let json = explain(served, &[id, "--json"]).await;
    assert_eq!(json.status.code(), Some(0), "{}", stderr(&json));
    (stdout(&text), serde_json::from_str(&stdout(&json)).unwrap())
}

/// Asks until the answer contains `text`: a result is told when it is stored, and what follows from
/// it for the schedule a moment later.
async fn explained_as(served: &Served, id: &str, text: &str) -> (String, Value) {
    let asking = async {
        loop {
            let (answer, json) = explained(served, id).await;
            if answer.contains(text) {
                return (answer, json);
            }
        }
    };
    let answer = tokio::time::timeout(process::HANG, asking).await;
    answer.unwrap_or_else(|_| panic!("{id} is never said to be {text:?}"))
}

/// A monitor that waits for its slot, one that is being checked, one in backoff behind an
/// open breaker, and one that is paused each say so, and when next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_state_is_told_in_plain_words() {
    let healthy = Target::healthy().await.unwrap();
    let silent = Target::silent().await.unwrap();
    let refusing = Refusing::new().unwrap();
    let served = Served::start(&file_monitor("well", &healthy));
    let mut stream = served.stream().await;
    let define = async |spec: Value| served.define(spec).await;
    define(json!({ "id": "calm", "url": healthy.url(), "interval": "1d" })).await;
    stream.result("calm", "up").await;
    let waits = "It waits for its next due time.";
    let (text, json) = explained_as(&served, "calm", waits).await;
    assert!(text.starts_with("calm  waiting\n"), "{text}");
    assert!(text.contains("The next check is in "), "{text}");
    assert!(
        text.contains("limit: ") && text.contains("running in all"),
        "{text}"
    );
    // The first check, which is beside the slots, also stands for one within half an interval.
    assert!(json["next_in_ms"].as_u64().unwrap() <= 86_400_000 * 3 / 2);
    assert_eq!(
        (&json["state"], &json["lifecycle"]),
        (&json!("armed"), &json!("active"))
    );
    assert_eq!(json["breaker"]["state"], "closed");

    define(json!({
        "id": "slow", "url": silent.url(), "interval": "1d", "timeout": "1h",
    }))
    .await;
    silent.until(|seen| seen.requests > 0).await;
    let (text, json) = explained(&served, "slow").await;
    assert!(text.contains("It is being checked now, for "), "{text}");
    assert_eq!(
        (&json["state"], &json["next_due_unix_ms"]),
        (&json!("running"), &Value::Null)
    );

    define(json!({
        "id": "down", "tcp": refusing.addr().to_string(), "interval": "1d",
        "circuit_breaker_failure_threshold": 1,
    }))
    .await;
    stream.result("down", "down").await;
    let (text, json) = explained_as(&served, "down", "after 1 failure in a row").await;
    assert!(text.contains("It waits longer than usual, "), "{text}");
    assert!(
        text.contains("Its circuit breaker is open after too many failures"),
        "{text}"
    );
    assert!(
        text.contains("Limit reached: held back for another "),
        "{text}"
    );
    assert_eq!(json["breaker"]["state"], "open");
    assert!(json["breaker"]["retry_after_ms"].as_u64().unwrap() > 0);
    assert_eq!(json["backoff"]["failures"], 1);

    served.act("down", "pause").await;
    let (text, json) = explained(&served, "down").await;
    assert!(
        text.contains("It is paused: until it is resumed it is checked by hand only."),
        "{text}"
    );
    assert_eq!(
        (&json["state"], &json["lifecycle"]),
        (&json!("paused"), &json!("paused"))
    );
}

/// One failure is not several in a row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_last_is_told_with_how_often() {
    let refusing = Refusing::new().unwrap();
    let healthy = Target::healthy().await.unwrap();
    let served = Served::start(&file_monitor("well", &healthy));
    let mut stream = served.stream().await;
    let define = async |spec: Value| served.define(spec).await;
    define(json!({
        "id": "lost", "tcp": refusing.addr().to_string(), "interval": "1d",
        "backoff_by_category": true, "backoff_base_interval": "1h", "backoff_max_interval": "1h",
    }))
    .await;
    stream.result("lost", "down").await;
    let once = "The last failure was of the kind network, which asks to wait at least ";
    explained_as(&served, "lost", once).await;
    served.act("lost", "trigger").await;
    stream.result("lost", "down").await;
    let twice = "The last 2 failures in a row were of the kind network";
    explained_as(&served, "lost", twice).await;
}

/// Who mistypes an id is told the one that there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_that_there_is_not_is_told_with_one_that_there_is() {
    let healthy = Target::healthy().await.unwrap();
    let served = Served::start(&file_monitor("checkout", &healthy));
    let output = explain(&served, &["chekout"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "monitord: there is no monitor \"chekout\", did you mean \"checkout\"?\n"
    );
    for id in ["nothing-like-it", "../../livez", "a b", "é"] {
        let output = explain(&served, &[id]).await;
        assert_eq!(output.status.code(), Some(1));
        let told = stderr(&output);
        assert!(told.contains("there is no monitor"), "{id}: {told}");
        assert!(
            told.contains("GET /api/v1/monitors lists them"),
            "{id}: {told}"
        );
    }
}

/// The route is the operator's: the rules of the API hold for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rules_of_the_api_hold() {
    let healthy = Target::healthy().await.unwrap();
    let monitors = file_monitor("well", &healthy);
    let served = Served::start(&monitors);
    let url = served.url("/api/admin/explain/well");
    let request = served.client.get(&url).header("host", "evil.example");
    let refused = problem(request.send().await.unwrap(), 403).await;
    assert!(refused["detail"].as_str().unwrap().contains("evil.example"));
    let post = served
        .client
        .post(&url)
        .header("content-type", "application/json");
    assert_eq!(
        post.body("{}").send().await.unwrap().status(),
        StatusCode::METHOD_NOT_ALLOWED
    );

    let open = Served::listening("0.0.0.0:0", &monitors);
    let output = explain(&open, &["well"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("open on a loopback address only"),
        "{output:?}"
    );
}

/// Nobody there, somebody else there, and a URL that is none: each is told as what it is.
#[test]
fn where_there_is_no_daemon_that_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("http://{address}");
    let other = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 1024];
        assert!(stream.read(&mut bytes).unwrap() > 0);
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let output = run(&["explain", "shop", "--url", &url]);
    other.join().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("is no daemon of ours"),
        "{output:?}"
    );

    // The listener is gone with its thread, so nobody listens there now.
    let output = run(&["explain", "shop", "--url", &url]);
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert!(
        told.contains(&format!("no daemon answers at {address}")),
        "{told}"
    );
    assert!(
        told.contains("monitord run") && told.contains("--url"),
        "{told}"
    );

    for url in [
        "https://127.0.0.1",
        "127.0.0.1:port",
        "http://127.0.0.1/path",
    ] {
        let output = run(&["explain", "shop", "--url", url]);
        assert_eq!(output.status.code(), Some(2), "{url}");
        assert!(
            stderr(&output).contains("http://127.0.0.1:8080"),
            "{output:?}"
        );
    }
}
