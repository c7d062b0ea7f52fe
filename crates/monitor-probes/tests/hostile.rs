//! The probes against targets that break every rule. Whatever they send, a check ends with its
//! reason or can be cut off, and nothing of it is left behind.

mod support;

use std::time::Duration;

use monitor_fault::{Category, Layer, Reason};
use monitor_model::{Finding, Phase, Probe};
use monitor_probes::{HttpProbe, TcpProbe};
use monitor_testkit::targets::{Refusing, Stuck, Target};
use proptest::prelude::*;
use support::{Check, build, down, http, place, run};
use tokio::runtime;

/// Runs `wanted` beside `check`, which must not end by itself, and then drops `check`.
async fn cut_off<T>(check: impl Future<Output = T>, wanted: impl Future) {
    tokio::select! {
        _ = check => panic!("the check ended by itself"),
        _ = wanted => {}
    }
}

/// ROB-55: nobody listens.
#[tokio::test]
async fn refused() {
    let target = Refusing::new().expect("a port");
    let probe = http(&target.url());
    let fault = down(&probe).await;
    assert_eq!(place(&fault), (Layer::Connect, Reason::Refused));
    assert_eq!(
        run(&probe).await.1,
        [Phase::Resolve],
        "the phase that failed did not end"
    );
    assert!(
        fault
            .detail()
            .is_some_and(|detail| detail.contains(&target.addr().to_string()))
    );
}

/// ROB-55: bytes that are not HTTP.
#[tokio::test]
async fn garbage() {
    let target = Target::garbage().await.expect("a target");
    let fault = down(&http(&target.url())).await;
    assert_eq!(place(&fault), (Layer::Protocol, Reason::Malformed));
    assert_eq!(fault.category(), Category::Protocol);
}

/// ROB-55: a head without end fails with its reason, in all three ways to make one.
#[tokio::test]
async fn endless_heads() {
    for target in [
        Target::endless_headers().await.expect("a target"),
        Target::endless_header_line().await.expect("a target"),
        Target::endless_interim().await.expect("a target"),
    ] {
        let probe = http(&target.url());
        let (observation, phases) = run(&probe).await;
        let fault = observation.finding.fault().expect("a fault");
        assert_eq!(place(fault), (Layer::Protocol, Reason::TooLarge), "{fault}");
        assert_eq!(phases, [Phase::Resolve, Phase::Connect, Phase::FirstByte]);
        target.until(|seen| seen.open == 0).await;
    }
}

/// ROB-55: a body over the limit fails with its reason and the connection is dropped, whether the
/// length is announced or not.
#[tokio::test]
async fn bodies_over_the_limit() {
    for target in [
        Target::endless_body().await.expect("a target"),
        Target::endless_chunks().await.expect("a target"),
        Target::body(vec![b'x'; 1_000_001]).await.expect("a target"),
    ] {
        let probe = build(HttpProbe::builder(&target.url()).body_limit(1_000_000));
        let fault = down(&probe).await;
        assert_eq!(place(&fault), (Layer::Response, Reason::TooLarge));
        assert_eq!(
            fault.detail(),
            Some("the body is larger than 1000000 bytes")
        );
        target.until(|seen| seen.open == 0).await;
    }
    let target = Target::body(vec![b'x'; 1_000_000]).await.expect("a target");
    let probe = build(HttpProbe::builder(&target.url()).body_limit(1_000_000));
    assert_eq!(
        run(&probe).await.0.note.as_deref(),
        Some("200 OK, 1.0 MB"),
        "the limit itself"
    );
}

/// Bytes that are not UTF-8 are no fault; those that are can still be searched for.
#[tokio::test]
async fn invalid_utf8() {
    let target = Target::invalid_utf8().await.expect("a target");
    let probe = build(HttpProbe::builder(&target.url()).expect_body("ok"));
    assert_eq!(run(&probe).await.0.finding, Finding::Up);
    let probe = build(HttpProbe::builder(&target.url()).expect_body("other"));
    assert_eq!(
        place(&down(&probe).await),
        (Layer::Assertion, Reason::Mismatch)
    );
}

/// ROB-55: a connection that ends too early, in the three ways.
#[tokio::test]
async fn connections_that_end_too_early() {
    let target = Target::half_answer().await.expect("a target");
    let fault = down(&http(&target.url())).await;
    assert_eq!(
        place(&fault),
        (Layer::Response, Reason::Incomplete),
        "{fault}"
    );
    let target = Target::close_at_once().await.expect("a target");
    let fault = down(&http(&target.url())).await;
    assert!(
        matches!(fault.reason(), Reason::Closed | Reason::Reset),
        "{fault}"
    );
    assert_eq!(fault.category(), Category::Network);
    let target = Target::reset().await.expect("a target");
    let fault = down(&http(&target.url())).await;
    assert_eq!(place(&fault), (Layer::Response, Reason::Reset), "{fault}");
    let target = Target::raw("HTTP/1.1 200 OK\r\nContent-")
        .await
        .expect("a target");
    let fault = down(&http(&target.url())).await;
    assert_eq!(
        place(&fault),
        (Layer::Response, Reason::Incomplete),
        "{fault}"
    );
}

/// A target that never answers: dropping the check closes its connection, and the layer says how
/// far it came.
#[tokio::test]
async fn silence_is_cut_off() {
    let target = Target::silent().await.expect("a target");
    let probe = http(&target.url());
    let check = Check::new();
    cut_off(
        probe.check(&check.context),
        target.until(|seen| seen.requests == 1),
    )
    .await;
    let seen = target.until(|seen| seen.open == 0).await;
    assert_eq!(seen.connections, 1);
    assert_eq!(check.context.progress.layer(), Some(Layer::Response));
    assert_eq!(check.phases(), [Phase::Resolve, Phase::Connect]);
}

/// A target that sends a byte now and then: the first byte is timed when it comes, not when the
/// head is complete.
#[tokio::test]
async fn a_slow_drip_is_cut_off() {
    let target = Target::slow_drip(Duration::from_secs(3600))
        .await
        .expect("a target");
    let probe = http(&target.url());
    let check = Check::new();
    let progress = check.context.progress.clone();
    let first_byte = async {
        while progress.phases().get(Phase::FirstByte).is_none() {
            tokio::task::yield_now().await;
        }
    };
    cut_off(probe.check(&check.context), first_byte).await;
    target.until(|seen| seen.open == 0).await;
    assert_eq!(
        check.phases(),
        [Phase::Resolve, Phase::Connect, Phase::FirstByte]
    );
}

/// A slow drip that does end is an answer like any other.
#[tokio::test]
async fn a_drip_that_ends_is_up() {
    let target = Target::slow_drip(Duration::from_micros(10))
        .await
        .expect("a target");
    assert_eq!(run(&http(&target.url())).await.0.finding, Finding::Up);
}

/// A handshake that is never answered is cut off at its layer.
#[tokio::test]
async fn a_stuck_connect_is_cut_off() {
    let target = Stuck::new().expect("a full queue");
    let probe = TcpProbe::new("127.0.0.1", target.addr().port()).expect("a target");
    let check = Check::new();
    let progress = check.context.progress.clone();
    let connecting = async {
        while progress.layer() != Some(Layer::Connect) {
            tokio::task::yield_now().await;
        }
    };
    cut_off(probe.check(&check.context), connecting).await;
    assert_eq!(check.phases(), [Phase::Resolve]);
}

/// A TLS handshake with a server that says nothing is cut off at its layer.
#[tokio::test]
async fn a_silent_handshake_is_cut_off() {
    let target = Target::silent().await.expect("a target");
    let probe = http(&target.url().replace("http:", "https:"));
    let check = Check::new();
    let progress = check.context.progress.clone();
    let shaking_hands = async {
        while progress.layer() != Some(Layer::Tls) {
            tokio::task::yield_now().await;
        }
    };
    cut_off(probe.check(&check.context), shaking_hands).await;
    target
        .until(|seen| seen.connections == 1 && seen.open == 0)
        .await;
    assert_eq!(check.phases(), [Phase::Resolve, Phase::Connect]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// INV-FAULT-1: any bytes at all, also behind the beginning of an answer: the check ends, and
    /// never with the prober to blame.
    #[test]
    fn inv_fault_1_any_bytes(
        beginning in prop::sample::select(vec![
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
        ]),
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let target = Target::raw([beginning.as_bytes(), &bytes].concat()).await;
            let target = target.expect("a target");
            let probe = build(HttpProbe::builder(&target.url()).expect_body("x"));
            let (observation, _) = run(&probe).await;
            assert!(!matches!(observation.finding, Finding::Unknown(_)), "{observation:?}");
            target.until(|seen| seen.open == 0).await;
        });
    }
}
