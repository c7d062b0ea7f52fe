//! Lookups that really failed, at a name server on loopback.

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use monitor_fault::{Blame, Category, Layer, Reason};
use monitor_testkit::targets::DnsReply;
use support::lookup;

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
