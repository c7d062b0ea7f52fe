//! The HTTP probe against targets that keep to the rules.

mod support;

use std::time::Duration;

use monitor_fault::{Category, Layer, Reason};
use monitor_model::{Finding, Observation, Phase, Probe};
use monitor_probes::{HttpProbe, Method, StatusSet};
use monitor_testkit::targets::Target;
use support::{build, down, http, place, run};

const PLAIN: [Phase; 4] = [
    Phase::Resolve,
    Phase::Connect,
    Phase::FirstByte,
    Phase::Transfer,
];

/// An answer as expected is up, with every phase timed and a line for people.
#[tokio::test]
async fn up_with_its_phases() {
    let target = Target::healthy().await.expect("a target");
    let (observation, phases) = run(&http(&target.url())).await;
    assert_eq!(observation, Observation::up().with_note("200 OK, 3 B"));
    assert_eq!(phases, PLAIN);
    assert_eq!(target.seen().requests, 1);
}

/// ROB-55: a status that is not expected is a fault of its own category, and the phases until then
/// are kept.
#[tokio::test]
async fn unexpected_statuses() {
    for (status, reason, category) in [
        (404, Reason::Status, Category::Assertion),
        (401, Reason::Unauthorized, Category::Authentication),
        (403, Reason::Forbidden, Category::Authentication),
        (429, Reason::RateLimited, Category::RateLimit),
        (500, Reason::ServerError, Category::Assertion),
        (503, Reason::ServerError, Category::Assertion),
    ] {
        let target = Target::status(status).await.expect("a target");
        let probe = http(&target.url());
        let fault = down(&probe).await;
        assert_eq!(place(&fault), (Layer::Response, reason), "{status}");
        assert_eq!(fault.category(), category, "{status}");
        let detail = fault.detail().expect("a detail");
        assert!(
            detail.contains(&status.to_string()) && detail.contains("200-399"),
            "{detail}"
        );
        assert_eq!(run(&probe).await.1, PLAIN[..3], "{status}");
    }
}

#[tokio::test]
async fn the_expected_statuses_decide() {
    let target = Target::status(404).await.expect("a target");
    let probe = build(HttpProbe::builder(&target.url()).expect_status(StatusSet::from(404)));
    assert_eq!(run(&probe).await.0.finding, Finding::Up);
    let target = Target::healthy().await.expect("a target");
    let probe = build(HttpProbe::builder(&target.url()).expect_status(StatusSet::from(404)));
    assert_eq!(
        place(&down(&probe).await),
        (Layer::Response, Reason::Status)
    );
}

/// A redirect is an answer like any other: it is not followed.
#[tokio::test]
async fn redirects_are_not_followed() {
    let target = Target::status(301).await.expect("a target");
    assert_eq!(run(&http(&target.url())).await.0.finding, Finding::Up);
    assert_eq!(target.seen().requests, 1);
}

#[tokio::test]
async fn the_body_must_contain_the_text() {
    let target = Target::body("status: all systems go\n")
        .await
        .expect("a target");
    let probe = build(HttpProbe::builder(&target.url()).expect_body("systems go"));
    assert_eq!(run(&probe).await.0.finding, Finding::Up);
    let probe = build(HttpProbe::builder(&target.url()).expect_body("Systems Go"));
    let (observation, phases) = run(&probe).await;
    let fault = observation.finding.fault().expect("a fault");
    assert_eq!(place(fault), (Layer::Assertion, Reason::Mismatch));
    assert_eq!(phases, PLAIN);
}

/// Slower than allowed is degraded, not down.
#[tokio::test]
async fn slow_is_degraded() {
    let target = Target::slow(Duration::from_millis(30))
        .await
        .expect("a target");
    let builder = HttpProbe::builder(&target.url());
    let probe = build(builder.clone().degraded_over(Duration::from_millis(10)));
    let (observation, phases) = run(&probe).await;
    let Finding::Degraded(fault) = observation.finding else {
        panic!("expected degraded, found {observation:?}");
    };
    assert_eq!(place(&fault), (Layer::Assertion, Reason::Slow));
    assert_eq!(
        (observation.note.as_deref(), phases),
        (Some("200 OK, 5 B"), PLAIN.to_vec())
    );
    let probe = build(builder.degraded_over(Duration::from_secs(3600)));
    assert_eq!(run(&probe).await.0.finding, Finding::Up);
}

/// Every check opens a connection of its own, so that it sees what a new visitor sees.
#[tokio::test]
async fn a_fresh_connection_for_every_check() {
    let target = Target::flaky(&[200, 503, 200]).await.expect("a target");
    let probe = http(&target.url());
    let mut findings = Vec::new();
    for _ in 0..3 {
        findings.push(matches!(run(&probe).await.0.finding, Finding::Up));
    }
    assert_eq!(findings, [true, false, true]);
    let seen = target.until(|seen| seen.open == 0).await;
    assert_eq!((seen.connections, seen.requests), (3, 3));
}

#[tokio::test]
async fn a_flapping_target_is_seen_to_flap() {
    let target = Target::flapping().await.expect("a target");
    let probe = http(&target.url());
    assert_eq!(run(&probe).await.0.finding, Finding::Up);
    target.set_up(false);
    assert_eq!(
        place(&down(&probe).await),
        (Layer::Response, Reason::ServerError)
    );
    target.set_up(true);
    assert_eq!(run(&probe).await.0.finding, Finding::Up);
}

/// What is sent: origin form, host with port, the version as user agent, own headers.
#[tokio::test]
async fn the_request() {
    let target = Target::healthy().await.expect("a target");
    let url = format!("{}health%20check?full=1#part", target.url());
    let probe = build(HttpProbe::builder(&url).header("X-Token", "s3cret"));
    assert_eq!(run(&probe).await.0.finding, Finding::Up);
    let head = target.last_head();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("GET /health%20check?full=1 HTTP/1.1"));
    let lines: Vec<_> = lines.map(str::to_ascii_lowercase).collect();
    let agent = concat!("user-agent: monitord/", env!("CARGO_PKG_VERSION"));
    let host = format!("host: {}", target.addr());
    for expected in [agent, host.as_str(), "x-token: s3cret", "connection: close"] {
        assert!(
            lines.iter().any(|line| line == expected),
            "{expected} is missing: {head}"
        );
    }
    let shown = format!("{probe:?} {}", probe.target());
    assert!(
        !shown.contains("s3cret") && !shown.contains("full=1"),
        "{shown}"
    );
    assert_eq!(
        (probe.kind(), probe.target()),
        ("http", format!("{}health%20check?...", target.url()))
    );
}

#[tokio::test]
async fn own_headers_replace_the_defaults() {
    let target = Target::healthy().await.expect("a target");
    let builder = HttpProbe::builder(&target.url());
    let probe = build(
        builder
            .header("host", "other.example")
            .header("User-Agent", "me"),
    );
    assert_eq!(run(&probe).await.0.finding, Finding::Up);
    let head = target.last_head().to_ascii_lowercase();
    assert!(
        head.contains("host: other.example\r\n") && head.contains("user-agent: me\r\n"),
        "{head}"
    );
    assert_eq!(
        (
            head.matches("host:").count(),
            head.matches("user-agent:").count()
        ),
        (1, 1)
    );
}

/// HEAD: the announced length is of a body that does not come, so no limit applies to it.
#[tokio::test]
async fn head_has_no_body() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n";
    let target = Target::raw(head).await.expect("a target");
    let probe = build(
        HttpProbe::builder(&target.url())
            .method(Method::Head)
            .body_limit(10),
    );
    let (observation, phases) = run(&probe).await;
    assert_eq!(observation, Observation::up().with_note("200 OK, 0 B"));
    assert_eq!(phases, PLAIN);
    assert!(target.last_head().starts_with("HEAD / HTTP/1.1\r\n"));
}

/// The target's wish to be left alone comes along for the policy.
#[tokio::test]
async fn retry_after() {
    let answer = "HTTP/1.1 429 Slow Down\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n";
    let target = Target::raw(answer).await.expect("a target");
    let fault = down(&http(&target.url())).await;
    assert_eq!(fault.retry_after(), Some(Duration::from_secs(120)));
    let answer = "HTTP/1.1 503 No\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n";
    let target = Target::raw(answer).await.expect("a target");
    assert_eq!(down(&http(&target.url())).await.retry_after(), None);
}

/// A body may also end with its connection.
#[tokio::test]
async fn a_body_until_close() {
    let target = Target::raw("HTTP/1.0 200 OK\r\n\r\nhello")
        .await
        .expect("a target");
    let probe = build(HttpProbe::builder(&target.url()).expect_body("hello"));
    assert_eq!(
        run(&probe).await.0,
        Observation::up().with_note("200 OK, 5 B")
    );
}

/// A probe with a mistake is not built, and the mistake is named.
#[test]
fn mistakes_are_named() {
    let message = |builder: monitor_probes::HttpProbeBuilder| match builder.build() {
        Ok(probe) => panic!("built {probe:?}"),
        Err(error) => error.to_string(),
    };
    let good = || HttpProbe::builder("http://localhost/");
    for (builder, named) in [
        (
            HttpProbe::builder("ftp://localhost/"),
            "supported are http, https and tcp",
        ),
        (
            HttpProbe::builder("http://u:p@localhost/"),
            "authorization header",
        ),
        (
            HttpProbe::builder("http://localhost:70000/"),
            "\"70000\" is not a number from 1 to 65535",
        ),
        (
            good().header("bad name", "x"),
            "\"bad name\" is no valid header name",
        ),
        (good().header("x-token", "s3cret\n"), "header \"x-token\""),
        (
            good().header_limit(100),
            "header_limit 100 is too small; at least 8192",
        ),
        (
            good().method(Method::Head).expect_body("x"),
            "needs method GET",
        ),
    ] {
        let message = message(builder);
        assert!(message.contains(named), "{message}");
        assert!(!message.contains("s3cret"), "{message}");
    }
}
