//! HTTPS: whose certificates are accepted.

mod support;

use monitor_fault::{Category, Layer, Reason};
use monitor_model::{Finding, Phase, Probe};
use monitor_probes::{HttpProbe, Tls};
use monitor_testkit::targets::{Certificate, Target};
use support::{build, down, http, place, run};

fn trusting(target: &Target) -> HttpProbe {
    let authority = target.certificates().authority_pem();
    let tls = Tls::with_authorities(authority.as_bytes()).expect("a valid authority");
    build(HttpProbe::builder(&target.url()).tls(tls))
}

/// All five phases are timed.
#[tokio::test]
async fn a_good_certificate() {
    let target = Target::https(Certificate::Good).await.expect("a target");
    let (observation, phases) = run(&trusting(&target)).await;
    assert_eq!(observation.finding, Finding::Up);
    assert_eq!(phases, Phase::ALL);
}

/// A certificate may name an address.
#[tokio::test]
async fn a_literal_address() {
    let target = Target::https(Certificate::Good).await.expect("a target");
    let authority = target.certificates().authority_pem();
    let tls = Tls::with_authorities(authority.as_bytes()).expect("a valid authority");
    let url = target.url().replace("localhost", "127.0.0.1");
    let (observation, _) = run(&build(HttpProbe::builder(&url).tls(tls))).await;
    assert_eq!(observation.finding, Finding::Up);
}

/// ROB-55: each bad certificate is down with its reason.
#[tokio::test]
async fn bad_certificates() {
    for (certificate, reason) in [
        (Certificate::Expired, Reason::CertExpired),
        (Certificate::NotYetValid, Reason::CertNotYetValid),
        (Certificate::WrongHost, Reason::NameMismatch),
        (Certificate::Untrusted, Reason::CertUntrusted),
        (Certificate::Forged, Reason::CertUntrusted),
    ] {
        let target = Target::https(certificate).await.expect("a target");
        let probe = trusting(&target);
        let fault = down(&probe).await;
        assert_eq!(place(&fault), (Layer::Tls, reason), "{certificate:?}");
        assert_eq!(fault.category(), Category::Certificate);
        assert_eq!(run(&probe).await.1, [Phase::Resolve, Phase::Connect]);
    }
}

/// The system's authorities do not include one that was made a moment ago.
#[tokio::test]
async fn an_authority_must_be_trusted() {
    let target = Target::https(Certificate::Good).await.expect("a target");
    let fault = down(&http(&target.url())).await;
    assert_eq!(place(&fault), (Layer::Tls, Reason::CertUntrusted));
}

/// ROB-62: a certificate that expires between two checks is seen at the second. A resumed session
/// would not show it, and the target offers to resume.
#[tokio::test]
async fn sessions_are_not_resumed() {
    let target = Target::https(Certificate::Good).await.expect("a target");
    let probe = trusting(&target);
    assert_eq!(run(&probe).await.0.finding, Finding::Up);
    target
        .certificates()
        .show(Certificate::Expired)
        .expect("a certificate");
    assert_eq!(
        place(&down(&probe).await),
        (Layer::Tls, Reason::CertExpired)
    );
    target
        .certificates()
        .show(Certificate::Good)
        .expect("a certificate");
    assert_eq!(run(&probe).await.0.finding, Finding::Up);
}

/// ROB-55: a plain server at an https URL has no certificate that is to blame.
#[tokio::test]
async fn a_server_without_tls() {
    let target = Target::close_at_once().await.expect("a target");
    let probe = http(&target.url().replace("http:", "https:"));
    let fault = down(&probe).await;
    assert_eq!(
        (fault.layer(), fault.category()),
        (Layer::Tls, Category::Network),
        "{fault}"
    );
    assert_eq!(probe.kind(), "http");
}

#[test]
fn an_authority_that_is_none() {
    for (pem, named) in [
        ("", "holds no"),
        ("nonsense", "holds no"),
        (
            "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
            "not valid PEM",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "not usable",
        ),
    ] {
        let error = Tls::with_authorities(pem.as_bytes())
            .expect_err(pem)
            .to_string();
        assert!(error.contains(named), "{error}");
    }
}
