//! Names, with a name server on loopback.

mod support;

use std::net::{Ipv4Addr, SocketAddr};

use monitor_fault::{Blame, Category, Layer, Reason};
use monitor_model::{Finding, Phase, Probe};
use monitor_probes::{HttpProbe, Resolver, TcpProbe};
use monitor_testkit::targets::{DnsReply, DnsServer, Target};
use support::{Check, build, down, place, run};

/// An HTTP probe of `target` under a name that only `server` knows.
fn named(target: &Target, server: &DnsServer) -> HttpProbe {
    let url = format!("http://name.test:{}/", target.addr().port());
    let resolver = Resolver::with_name_server(server.addr());
    build(HttpProbe::builder(&url).resolver(resolver))
}

/// A name is asked for at every check: an answer from before would hide that it is gone.
#[tokio::test]
async fn a_name_is_asked_for_every_time() {
    let target = Target::healthy().await.expect("a target");
    let reply = DnsReply::Address(Ipv4Addr::LOCALHOST);
    let server = DnsServer::start(reply).await.expect("a name server");
    let probe = named(&target, &server);
    let (observation, phases) = run(&probe).await;
    assert_eq!(observation.finding, Finding::Up);
    assert_eq!(phases[..2], [Phase::Resolve, Phase::Connect]);
    let first = server.questions();
    assert!(first > 0);
    run(&probe).await;
    assert!(server.questions() > first);
}

/// ROB-55: a name that cannot be resolved is down with its reason, before anything else happens.
#[tokio::test]
async fn names_that_fail() {
    let target = Target::healthy().await.expect("a target");
    for (reply, reason, blame) in [
        (
            DnsReply::Nxdomain { ttl_seconds: 60 },
            Reason::Nxdomain,
            Blame::Target,
        ),
        (DnsReply::NoRecords, Reason::NoRecords, Blame::Target),
        (DnsReply::Servfail, Reason::Servfail, Blame::Path),
        (DnsReply::Refused, Reason::LookupRefused, Blame::Path),
    ] {
        let server = DnsServer::start(reply).await.expect("a name server");
        let probe = named(&target, &server);
        let fault = down(&probe).await;
        assert_eq!(place(&fault), (Layer::Dns, reason), "{fault}");
        assert_eq!((fault.category(), fault.blame()), (Category::Dns, blame));
        assert_eq!(run(&probe).await.1, []);
    }
    assert_eq!(target.seen().connections, 0);
}

/// A name server that says nothing is cut off at its layer.
#[tokio::test]
async fn a_silent_name_server_is_cut_off() {
    let target = Target::healthy().await.expect("a target");
    let server = DnsServer::start(DnsReply::Silence)
        .await
        .expect("a name server");
    let probe = named(&target, &server);
    let check = Check::new();
    tokio::select! {
        _ = probe.check(&check.context) => panic!("the check ended by itself"),
        () = server.until(1) => {}
    }
    assert_eq!(check.context.progress.layer(), Some(Layer::Dns));
    assert_eq!(check.phases(), []);
}

/// Literal addresses and `localhost` need no name server: the one given here is not asked.
#[tokio::test]
async fn literal_addresses_are_not_asked_for() {
    let target = Target::healthy().await.expect("a target");
    let server = DnsServer::start(DnsReply::Servfail)
        .await
        .expect("a name server");
    let resolver = Resolver::with_name_server(server.addr());
    for host in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "name.localhost",
    ] {
        let probe = TcpProbe::new(host, target.addr().port()).expect(host);
        let (observation, phases) = run(&probe.resolver(resolver.clone())).await;
        assert_eq!(observation.finding, Finding::Up, "{host}");
        assert_eq!(phases, [Phase::Resolve, Phase::Connect]);
    }
    assert_eq!(server.questions(), 0);
}

/// `localhost` is both loopback addresses: who listens on one of them is found.
#[tokio::test]
async fn localhost_is_both_families() {
    let target = Target::healthy().await.expect("a target");
    let note = run(&TcpProbe::new("localhost", target.addr().port()).expect("a host"))
        .await
        .0
        .note;
    assert_eq!(note, Some(format!("connected to {}", target.addr())));
    let v6 = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0));
    // A machine without IPv6 has nothing to show here.
    let Ok(listener) = tokio::net::TcpListener::bind(v6).await else {
        return;
    };
    let addr = listener.local_addr().expect("bound");
    let note = run(&TcpProbe::new("localhost", addr.port()).expect("a host"))
        .await
        .0
        .note;
    assert_eq!(note, Some(format!("connected to {addr}")));
}
