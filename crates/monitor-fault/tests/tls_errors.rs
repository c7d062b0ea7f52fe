//! Handshakes that really failed.

use std::error::Error;
use std::io;
use std::sync::Arc;

use monitor_fault::{Blame, Category, Fault, Layer, Reason};
use monitor_testkit::targets::{Certificate, Target};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, ClientConfig, Error as TlsError, RootCertStore,
};

fn connector(authority_pem: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(authority_pem.as_bytes()).expect("valid PEM");
    roots.add(authority).expect("a valid authority");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring's versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn handshake(target: &Target, authority_pem: &str) -> io::Result<()> {
    let stream = TcpStream::connect(target.addr()).await.expect("it accepts");
    let name = ServerName::try_from("localhost").expect("a name");
    connector(authority_pem)
        .connect(name, stream)
        .await
        .map(drop)
}

/// ROB-54: the certificate rows of the table, each by a server that shows such a certificate.
#[tokio::test]
async fn certificates() {
    let target = Target::https(Certificate::Good).await.expect("a target");
    let authority = target.certificates().authority_pem().to_owned();
    handshake(&target, &authority)
        .await
        .expect("a good certificate");

    for (certificate, reason) in [
        (Certificate::Expired, Reason::CertExpired),
        (Certificate::NotYetValid, Reason::CertNotYetValid),
        (Certificate::WrongHost, Reason::NameMismatch),
        (Certificate::Untrusted, Reason::CertUntrusted),
        (Certificate::Forged, Reason::CertUntrusted),
        (Certificate::SelfSigned, Reason::CertUntrusted),
        (Certificate::OwnAuthority, Reason::CertInvalid),
    ] {
        target
            .certificates()
            .show(certificate)
            .expect("a certificate");
        let error = handshake(&target, &authority)
            .await
            .expect_err("a bad certificate");
        let fault = Fault::classify(&error, Layer::Tls);
        assert_eq!(
            (fault.layer(), fault.reason()),
            (Layer::Tls, reason),
            "{certificate:?}"
        );
        assert_eq!(fault.category(), Category::Certificate, "{certificate:?}");
        assert_eq!(fault.blame(), Blame::Target);
        assert!(!fault.is_retryable());
    }
}

/// What is wrong with a certificate is said in plain words, with its names and days.
#[tokio::test]
async fn plain_words() {
    let target = Target::https(Certificate::Good).await.expect("a target");
    let authority = target.certificates().authority_pem().to_owned();
    for (certificate, words) in [
        (
            Certificate::Expired,
            "the certificate expired on 2001-01-01, ",
        ),
        (
            Certificate::NotYetValid,
            "the certificate is valid from 2999-01-01 on, in ",
        ),
        (
            Certificate::WrongHost,
            "the certificate is for other.example, not for localhost",
        ),
        (
            Certificate::Untrusted,
            "no authority that is trusted here issued the certificate: it is self-signed, ",
        ),
        (
            Certificate::Forged,
            "the certificate claims an authority that is trusted here, but was signed with",
        ),
        (
            Certificate::OwnAuthority,
            "the certificate is an authority's own and not one for a server, as self-signed ",
        ),
    ] {
        let shown = target.certificates().show(certificate);
        shown.expect("a certificate");
        let error = handshake(&target, &authority).await;
        let fault = Fault::classify(&error.expect_err("a bad certificate"), Layer::Tls);
        let detail = fault.detail().expect("words");
        assert!(detail.starts_with(words), "{certificate:?}: {detail}");
        assert!(!detail.contains("UnknownIssuer"), "{detail}");
    }
}

/// ROB-54, ROB-62: a server that does not speak TLS has no certificate that is to blame.
#[tokio::test]
async fn no_tls_at_all() {
    let target = Target::garbage().await.expect("a target");
    let other = Target::https(Certificate::Good).await.expect("a target");
    let authority = other.certificates().authority_pem();
    let closing = Target::close_at_once().await.expect("a target");
    let error = handshake(&closing, authority).await.expect_err("it closes");
    let fault = Fault::classify(&error, Layer::Tls);
    assert!(
        matches!(fault.reason(), Reason::Closed | Reason::Reset),
        "{fault}"
    );
    assert_eq!(fault.category(), Category::Network);
    // The client speaks first, and the target waits for an empty line that never comes: it must
    // be sent something that contains one.
    let mut stream = TcpStream::connect(target.addr()).await.expect("it accepts");
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"\r\n\r\n")
        .await
        .expect("it reads");
    let name = ServerName::try_from("localhost").expect("a name");
    let error = connector(authority)
        .connect(name, stream)
        .await
        .expect_err("no TLS");
    let fault = Fault::classify(&error, Layer::Tls);
    assert_eq!(
        (fault.layer(), fault.reason()),
        (Layer::Tls, Reason::Malformed)
    );
    assert_eq!(fault.category(), Category::Tls);
}

fn reason_of(error: TlsError) -> (Reason, Category) {
    let fault = Fault::classify(
        &io::Error::new(io::ErrorKind::InvalidData, error),
        Layer::Tls,
    );
    (fault.reason(), fault.category())
}

/// ROB-54: what no server here can show, by rustls's own values, inside the I/O error in which
/// tokio-rustls hands them over.
#[test]
fn by_value() {
    let revoked = TlsError::InvalidCertificate(CertificateError::Revoked);
    assert_eq!(
        reason_of(revoked),
        (Reason::CertRevoked, Category::Certificate)
    );
    let broken = TlsError::InvalidCertificate(CertificateError::BadEncoding);
    assert_eq!(
        reason_of(broken),
        (Reason::CertInvalid, Category::Certificate)
    );
    let alert = TlsError::AlertReceived(AlertDescription::HandshakeFailure);
    assert_eq!(reason_of(alert), (Reason::Handshake, Category::Tls));
    let alert = TlsError::AlertReceived(AlertDescription::CertificateRequired);
    assert_eq!(
        reason_of(alert),
        (Reason::Unauthorized, Category::Authentication)
    );
    let plain: &(dyn Error + 'static) = &TlsError::DecryptError;
    assert_eq!(Fault::classify(plain, Layer::Response).layer(), Layer::Tls);
}
