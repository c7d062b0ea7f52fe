//! SMTP exchanges with a real mail server that really failed, seen through lettre.

mod support;

use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate as Authority, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use monitor_fault::{Blame, Category, Fault, Layer, Reason};
use monitor_testkit::services::Mail;
use monitor_testkit::targets::{Certificate, Certificates, Refusing, Stuck, Target};
use support::{Row, row, row_of};
use tokio::net::ToSocketAddrs;

const PATIENCE: Duration = Duration::from_secs(20);

async fn connect(
    address: impl ToSocketAddrs,
    patience: Duration,
    tls: Option<TlsParameters>,
) -> Result<AsyncSmtpConnection, Error> {
    let hello = ClientId::default();
    AsyncSmtpConnection::connect_tokio1(address, Some(patience), &hello, tls, None).await
}

async fn log_in(mail: &Mail, password: &str) -> Result<AsyncSmtpConnection, Error> {
    let mut connection = connect(mail.smtp(), PATIENCE, None).await?;
    let credentials = Credentials::new(mail.user().into(), password.into());
    connection.auth(&[Mechanism::Plain], &credentials).await?;
    Ok(connection)
}

/// Trusts `authority` alone, and expects `localhost`.
fn trusting(authority_pem: &str) -> TlsParameters {
    let authority = Authority::from_pem(authority_pem.as_bytes()).expect("valid PEM");
    TlsParameters::builder("localhost".into())
        .certificate_store(CertificateStore::None)
        .add_root_certificate(authority)
        .build_rustls()
        .expect("valid parameters")
}

fn message_to(user: &str) -> Envelope {
    let address = |user: &str| Address::new(user, "localhost").expect("a valid address");
    Envelope::new(Some(address("sender")), vec![address(user)]).expect("a recipient")
}

/// ROB-54, ROB-59: 535 is a matter of credentials. It was once classified as network, since the
/// library's exception is an operating system error by inheritance.
#[tokio::test]
async fn a_wrong_password() {
    let mail = Mail::start().expect("a mail server");
    log_in(&mail, mail.password()).await.expect("the right one");
    let error = log_in(&mail, "wrong").await.map(drop).expect_err("not it");
    let fault = Fault::classify(&error, Layer::Protocol);
    let expected = (
        Layer::Response,
        Reason::Unauthorized,
        Category::Authentication,
        Blame::Target,
    );
    assert_eq!(row_of(&fault), expected);
    assert!(!fault.is_retryable());
    let detail = fault.detail().expect("what the server said");
    assert_eq!(detail, "SMTP reply 535: 5.7.8 Authentication failed.");
}

/// ROB-54: 550 will not go away by itself, 452 may.
#[tokio::test]
async fn recipients() {
    let mail = Mail::start().expect("a mail server");
    for (user, reason, is_retryable) in [
        ("nobody", Reason::Status, false),
        ("full", Reason::ServerError, true),
    ] {
        let mut connection = log_in(&mail, mail.password()).await.expect("logged in");
        let sent = connection.send(&message_to(user), b"Subject: x\r\n").await;
        let error = sent.map(drop).expect_err("it is not delivered");
        let fault = Fault::classify(&error, Layer::Protocol);
        let expected = (Layer::Response, reason, Category::Assertion, Blame::Target);
        assert_eq!(row_of(&fault), expected, "{fault}");
        assert_eq!(fault.is_retryable(), is_retryable, "{fault}");
    }
    let mut connection = log_in(&mail, mail.password()).await.expect("logged in");
    let sent = connection
        .send(&message_to(mail.user()), b"Subject: x\r\n")
        .await;
    sent.expect("it is delivered");
    assert_eq!(mail.inbox().expect("an inbox").len(), 1);
}

/// ROB-54: below lettre's error is the socket's.
#[tokio::test]
async fn connections() {
    let place = |reason, category, blame| (Layer::Connect, reason, category, blame);
    let refusing = Refusing::new().expect("a port");
    let error = connect(refusing.addr(), PATIENCE, None).await;
    assert_eq!(
        row(&error.map(drop).expect_err("refused"), Layer::Connect),
        place(Reason::Refused, Category::Network, Blame::Target)
    );
    let stuck = Stuck::new().expect("a full queue");
    let error = connect(stuck.addr(), Duration::from_millis(50), None).await;
    assert_eq!(
        row(&error.map(drop).expect_err("stuck"), Layer::Connect),
        place(Reason::Timeout, Category::Timeout, Blame::Path)
    );
}

/// ROB-54: a server that greets with something else speaks another protocol.
#[tokio::test]
async fn not_smtp() {
    let server = support::says(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let error = connect(server, PATIENCE, None).await.map(drop);
    let expected = (
        Layer::Protocol,
        Reason::Malformed,
        Category::Protocol,
        Blame::Target,
    );
    let error = error.expect_err("no SMTP");
    assert_eq!(row(&error, Layer::Response), expected);
}

/// ROB-54: no way in common is the target's doing: it cannot make itself unknown by offering
/// nothing (INV-FAULT-1).
#[tokio::test]
async fn nothing_in_common() {
    let mail = Mail::start().expect("a mail server without TLS");
    let mut connection = connect(mail.smtp(), PATIENCE, None).await.expect("greeted");
    let certificates = Certificates::new(Certificate::Good).expect("an authority");
    let tls = trusting(certificates.authority_pem());
    let error = connection.starttls(tls, &ClientId::default()).await;
    let error = error.expect_err("no STARTTLS");
    let expected = (
        Layer::Protocol,
        Reason::Other,
        Category::Protocol,
        Blame::Target,
    );
    assert_eq!(row(&error, Layer::Config), expected);
}

fn certificate_row(reason: Reason) -> Row {
    (Layer::Tls, reason, Category::Certificate, Blame::Target)
}

/// ROB-54, ROB-62: certificates of a real mail server, over TLS at once and after STARTTLS.
#[tokio::test]
async fn certificates_of_a_mail_server() {
    let certificates = Certificates::new(Certificate::Good).expect("an authority");
    let authority = certificates.authority_pem();
    for (certificate, reason) in [
        (Certificate::Good, None),
        (Certificate::Expired, Some(Reason::CertExpired)),
        (Certificate::WrongHost, Some(Reason::NameMismatch)),
        (Certificate::Untrusted, Some(Reason::CertUntrusted)),
        (Certificate::SelfSigned, Some(Reason::CertUntrusted)),
    ] {
        let (chain, key) = certificates.issue(certificate).expect("a certificate");
        let mail = Mail::with_tls(&chain, &key).expect("a mail server");
        let smtps = mail.smtps().expect("it has a certificate");
        let at_once = connect(smtps, PATIENCE, Some(trusting(authority))).await;
        let mut plain = connect(mail.smtp(), PATIENCE, None).await.expect("greeted");
        let upgraded = plain
            .starttls(trusting(authority), &ClientId::default())
            .await;
        for done in [at_once.map(drop), upgraded] {
            let found = done.err().map(|error| row(&error, Layer::Connect));
            assert_eq!(found, reason.map(certificate_row), "{certificate:?}");
        }
    }
}

/// ROB-54: a target without TLS on a TLS port has no certificate that is to blame.
#[tokio::test]
async fn no_tls_on_a_tls_port() {
    let mail = Mail::start().expect("a mail server without TLS");
    let other = Target::https(Certificate::Good).await.expect("a target");
    let tls = trusting(other.certificates().authority_pem());
    let error = connect(mail.smtp(), PATIENCE, Some(tls)).await.map(drop);
    let expected = (Layer::Tls, Reason::Malformed, Category::Tls, Blame::Target);
    let error = error.expect_err("a greeting is no handshake");
    assert_eq!(row(&error, Layer::Connect), expected);
}

/// ROB-54: a server that takes no more connections closes the channel: it is asked again later.
#[tokio::test]
async fn too_many_connections() {
    let mail = Mail::with_settings("mail_max_userip_connections = 1").expect("a mail server");
    let first = log_in(&mail, mail.password())
        .await
        .expect("one is allowed");
    let error = log_in(&mail, mail.password()).await.map(drop);
    let fault = Fault::classify(&error.expect_err("one too many"), Layer::Protocol);
    let expected = (
        Layer::Response,
        Reason::RateLimited,
        Category::RateLimit,
        Blame::Target,
    );
    assert_eq!(row_of(&fault), expected, "{fault}");
    assert!(fault.is_retryable());
    drop(first);
}

/// ROB-54: a transport that was shut down on this side says nothing about the server.
#[tokio::test]
async fn shut_down_on_this_side() {
    let mail = Mail::start().expect("a mail server");
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
        .port(mail.smtp().port())
        .build();
    transport.shutdown().await;
    let sent = transport.send_raw(&message_to(mail.user()), b"x").await;
    let expected = (
        Layer::Local,
        Reason::Cancelled,
        Category::Cancelled,
        Blame::Prober,
    );
    let error = sent.map(drop).expect_err("it is shut down");
    assert_eq!(row(&error, Layer::Connect), expected);
}
