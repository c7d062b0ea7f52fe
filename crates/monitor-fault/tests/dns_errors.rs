//! Lookups that really failed, at a name server on loopback.

use std::net::Ipv4Addr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use monitor_fault::{Blame, Category, Fault, Layer, Reason};
use monitor_testkit::targets::{DnsReply, DnsServer};

async fn lookup(reply: DnsReply) -> Result<usize, Fault> {
    let server = DnsServer::start(reply).await.expect("a name server");
    let mut config = NameServerConfig::udp(server.addr().ip());
    for connection in &mut config.connections {
        connection.port = server.addr().port();
    }
    let mut options = ResolverOpts::default();
    options.timeout = Duration::from_millis(200);
    options.attempts = 1;
    let resolver = TokioResolver::builder_with_config(
        ResolverConfig::from_name_servers(vec![config]),
        TokioRuntimeProvider::default(),
    )
    .with_options(options)
    .build()
    .expect("a resolver");
    match resolver.lookup_ip("name.test.").await {
        Ok(found) => Ok(found.iter().count()),
        Err(error) => Err(Fault::classify(&error, Layer::Dns)),
    }
}

/// ROB-54: the DNS rows of the table.
#[tokio::test]
async fn answers() {
    let address = DnsReply::Address(Ipv4Addr::LOCALHOST);
    assert_eq!(lookup(address).await, Ok(1), "the name server works");

    for (reply, reason, blame) in [
        (
            DnsReply::Nxdomain { ttl_seconds: 77 },
            Reason::Nxdomain,
            Blame::Target,
        ),
        (DnsReply::NoRecords, Reason::NoRecords, Blame::Target),
        (DnsReply::Servfail, Reason::Servfail, Blame::Path),
        (DnsReply::Refused, Reason::LookupRefused, Blame::Path),
        (DnsReply::Silence, Reason::Timeout, Blame::Path),
    ] {
        let fault = lookup(reply).await.expect_err("no address");
        assert_eq!(
            (fault.layer(), fault.reason()),
            (Layer::Dns, reason),
            "{reply:?}: {fault}"
        );
        assert_eq!(
            (fault.category(), fault.blame()),
            (Category::Dns, blame),
            "{reply:?}"
        );
    }
}

/// ROB-61: the negative TTL comes along, for the policy to honour.
#[tokio::test]
async fn negative_ttl() {
    let fault = lookup(DnsReply::Nxdomain { ttl_seconds: 77 })
        .await
        .expect_err("no address");
    assert_eq!(fault.retry_after(), Some(Duration::from_secs(77)));
}

/// ROB-54: a name server that talks nonsense is a DNS fault, whatever the resolver makes of it.
#[tokio::test]
async fn nonsense() {
    let fault = lookup(DnsReply::Garbage).await.expect_err("no address");
    assert_eq!(
        (fault.layer(), fault.category()),
        (Layer::Dns, Category::Dns),
        "{fault}"
    );
}
