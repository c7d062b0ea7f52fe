//! The TCP probe.

mod support;

use monitor_fault::{Layer, Reason};
use monitor_model::{Finding, Phase, Probe};
use monitor_probes::TcpProbe;
use monitor_testkit::targets::{Refusing, Target};
use support::{down, place, run};

fn probe(port: u16) -> TcpProbe {
    TcpProbe::new("127.0.0.1", port).expect("a target")
}

/// A port that accepts is up, and nothing is sent to it.
#[tokio::test]
async fn up() {
    let target = Target::silent().await.expect("a target");
    let (observation, phases) = run(&probe(target.addr().port())).await;
    assert_eq!(observation.finding, Finding::Up);
    assert_eq!(phases, [Phase::Resolve, Phase::Connect]);
    let seen = target
        .until(|seen| seen.connections == 1 && seen.open == 0)
        .await;
    assert_eq!(seen.requests, 0);
}

/// ROB-55: a port that refuses is down with its reason.
#[tokio::test]
async fn refused() {
    let target = Refusing::new().expect("a port");
    let fault = down(&probe(target.addr().port())).await;
    assert_eq!(place(&fault), (Layer::Connect, Reason::Refused));
}

#[test]
fn hosts_as_people_write_them() {
    for (host, shown) in [
        ("127.0.0.1", "127.0.0.1:80"),
        ("::1", "[::1]:80"),
        ("[::1]", "[::1]:80"),
        ("Example.COM", "example.com:80"),
        ("b\u{fc}cher.example", "xn--bcher-kva.example:80"),
    ] {
        let probe = TcpProbe::new(host, 80).expect(host);
        assert_eq!((probe.kind(), probe.target().as_str()), ("tcp", shown));
    }
    for (host, port, named) in [
        ("", 80, "no host"),
        ("a b", 80, "no valid host"),
        ("localhost", 0, "from 1 to 65535"),
    ] {
        let error = TcpProbe::new(host, port).expect_err(host).to_string();
        assert!(error.contains(named), "{error}");
    }
}
