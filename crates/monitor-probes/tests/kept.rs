//! The HTTP probe that keeps its connections, against a real server and hostile ones.

mod support;

use std::future::Future;
use std::time::Duration;

use monitor_fault::{Layer, Reason};
use monitor_model::{Finding, Phase, Probe};
use monitor_pool::Pool;
use monitor_probes::{HttpConnections, HttpProbe};
use monitor_testkit::services::Nginx;
use monitor_testkit::targets::{Refusing, Target};
use support::{Check, build, down, place, run};

fn keeping(url: &str, most: usize) -> HttpProbe {
    build(HttpProbe::builder(url).keep_connections(most, None))
}

fn pool(probe: &HttpProbe) -> &Pool<HttpConnections> {
    probe.pool().expect("it keeps connections")
}

/// Runs other tasks until `done`. Each test ends it by what it does, not by waiting.
async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::task::yield_now().await;
    }
}

/// ROB-70: ten checks connect once; the server counts them as ten requests of one connection, and
/// only the first check has the phases of connecting.
#[tokio::test]
async fn ten_checks_use_one_connection() {
    let locations = "location / { return 200 \"request $connection_requests\\n\"; }";
    let nginx = Nginx::with_server(locations).expect("nginx");
    let probe = keeping(&nginx.url("/"), 5);
    for request in 1..=10 {
        let (observation, phases) = run(&probe).await;
        assert_eq!(observation.finding, Finding::Up);
        let note = observation.note.expect("a note");
        let own = format!(", request {request} of its connection");
        assert_eq!(note.ends_with(&own), request > 1, "{note}");
        assert_eq!(phases.contains(&Phase::Connect), request == 1);
        assert!(phases.contains(&Phase::FirstByte) && phases.contains(&Phase::Transfer));
    }
    let totals = pool(&probe).status().totals;
    assert_eq!((totals.connected, totals.acquired), (1, 10));
    // The server's own count, from a body that is checked.
    let eleventh = HttpProbe::builder(&nginx.url("/")).expect_body("request 1\n");
    assert_eq!(run(&build(eleventh)).await.0.finding, Finding::Up);
}

/// ROB-70: a target that closes a connection without saying so, as it may at any time, is not down
/// for it: the check asks over a new one.
#[tokio::test]
async fn a_connection_closed_meanwhile_is_no_fault() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
    let target = Target::raw(answer).await.expect("a target");
    let probe = keeping(&target.url(), 5);
    for checks in 1..=20 {
        assert_eq!(run(&probe).await.0.finding, Finding::Up, "check {checks}");
        assert_eq!(target.seen().connections, checks);
    }
}

/// A target that fails to answer on a new connection is down as ever.
#[tokio::test]
async fn a_new_connection_without_an_answer_is_a_fault() {
    let target = Target::close_at_once().await.expect("a target");
    let fault = down(&keeping(&target.url(), 5)).await;
    assert_eq!(fault.layer(), Layer::Response);
}

/// STB-32, STB-58: a refused connection is the result of the check that met it, at once; the next
/// check tries anew.
#[tokio::test]
async fn a_failure_to_connect_is_told_at_once() {
    let refusing = Refusing::new().expect("a port");
    let probe = keeping(&format!("http://{}/", refusing.addr()), 5);
    for failures in 1..=3 {
        let fault = down(&probe).await;
        assert_eq!(place(&fault), (Layer::Connect, Reason::Refused));
        assert_eq!(pool(&probe).status().totals.connect_failures, failures);
    }
}

/// ROB-72: five connections for one probe, and a sixth check waits for one of them.
#[tokio::test]
async fn a_sixth_connection_is_not_made() {
    let target = Target::silent().await.expect("a target");
    let probe = keeping(&target.url(), 5);
    let checks: Vec<_> = (0..6)
        .map(|_| {
            let probe = probe.clone();
            tokio::spawn(async move { run(&probe).await })
        })
        .collect();
    target.until(|seen| seen.requests == 5).await;
    until(|| pool(&probe).status().waiting == 1).await;
    assert_eq!(target.seen().connections, 5);
    for check in checks {
        check.abort();
    }
    // What was asked over them was not answered: none is used again.
    target.until(|seen| seen.open == 0).await;
}

/// STB-49: a check that is cut off while it waits for its answer takes its connection along: the
/// next check can not be given that answer.
#[tokio::test]
async fn a_check_that_is_cut_off_leaves_no_answer_behind() {
    let target = Target::silent().await.expect("a target");
    let probe = keeping(&target.url(), 1);
    for checks in 1..=3 {
        let check = Check::new();
        let looking: std::pin::Pin<Box<dyn Future<Output = _>>> = probe.check(&check.context);
        tokio::select! {
            seen = looking => panic!("a silent target was seen as {seen:?}"),
            _ = target.until(|seen| seen.requests == checks) => {}
        }
        target.until(|seen| seen.open == 0).await;
        assert_eq!(target.seen().connections, checks);
    }
}

/// The first connection hangs in its TLS handshake, until the check is cut off at its deadline.
/// The next check connects by itself: the target may long be well again.
#[tokio::test]
async fn a_handshake_that_hangs_is_not_waited_for_by_the_next_check() {
    let target = Target::silent().await.expect("a target");
    let url = target.url().replace("http://", "https://");
    let probe = build(HttpProbe::builder(&url).keep_connections(5, None));
    for connections in 1..=3 {
        let check = tokio::spawn({
            let probe = probe.clone();
            async move { run(&probe).await }
        });
        let arrives = target.until(|seen| seen.connections == connections);
        let arrived = tokio::time::timeout(Duration::from_secs(10), arrives).await;
        check.abort();
        assert!(
            arrived.is_ok(),
            "check {connections} waits for the attempt of another"
        );
    }
}

/// The pool is checked when the probe is built.
#[test]
fn no_connection_to_keep_is_refused() {
    let refused = HttpProbe::builder("http://example.com/").keep_connections(0, None);
    let error = refused.build().expect_err("no connection").to_string();
    assert!(error.contains("max_size is 0"), "{error}");
}
