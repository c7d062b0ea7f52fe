//! Encrypted sessions: what they owe is followed inside the encryption.

#![cfg(feature = "postgres")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use monitor_pool::Pool;
use monitor_pool::managers::postgres::PostgresManager;
use monitor_pool::managers::postgres::tokio_postgres::Config;
use monitor_pool::managers::postgres::tokio_postgres::config::SslMode;
use monitor_pool::managers::postgres::tokio_postgres::tls::{
    ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream,
};
use monitor_testkit::services::Postgres;
use monitor_testkit::targets::{Certificate, Certificates};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as Encrypted;

use support::{Observer, poll_once, server_process, soon};

mod support;

/// STB-49: over TLS too, a session comes back if it owes nothing, and not if it does.
#[tokio::test]
async fn an_encrypted_session_is_followed_inside() {
    let certificates = Certificates::new(Certificate::Good).unwrap();
    let (certificate, key) = certificates.issue(Certificate::Good).unwrap();
    let server = Postgres::with_certificate(&certificate, &key).unwrap();
    let manager = manager(&server, &certificates, SslMode::Require);
    let pool = Pool::builder(manager).max_size(1).build().unwrap();
    let observer = Observer::start(&server).await;

    let session = soon(pool.acquire()).await.unwrap();
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let row = session.query_one(encrypted, &[]).await.unwrap();
    assert!(row.get::<_, bool>(0));
    let first = server_process(&session).await;
    drop(session);

    let session = soon(pool.acquire()).await.unwrap();
    assert_eq!(server_process(&session).await, first);
    {
        let mut query = pin!(session.query("SELECT pg_sleep(600)", &[]));
        assert!(poll_once(&mut query).await);
        tokio::select! {
            _ = &mut query => panic!("ten minutes cannot be over"),
            () = observer.until_active(first) => {}
        }
    }
    drop(session);
    // Cancelled over a connection that is encrypted too.
    let session = soon(pool.acquire()).await.unwrap();
    let second = server_process(&session).await;
    assert_ne!(second, first);
    assert_eq!(observer.processes().await, [second]);
}

/// The server may say no to encryption; then the session goes on without, and is followed as well.
#[tokio::test]
async fn a_session_that_would_prefer_encryption_does_without() {
    let certificates = Certificates::new(Certificate::Good).unwrap();
    let server = Postgres::start().unwrap();
    let preferred = manager(&server, &certificates, SslMode::Prefer);
    let pool = Pool::builder(preferred).max_size(1).build().unwrap();
    let first = server_process(&soon(pool.acquire()).await.unwrap()).await;
    let session = soon(pool.acquire()).await.unwrap();
    assert_eq!(server_process(&session).await, first);
    session.batch_execute("BEGIN").await.unwrap();
    drop(session);
    let session = soon(pool.acquire()).await.unwrap();
    assert_ne!(server_process(&session).await, first);
}

fn manager(
    server: &Postgres,
    certificates: &Certificates,
    mode: SslMode,
) -> PostgresManager<Rustls> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(certificates.authority_pem().as_bytes());
    roots.add(authority.unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let mut config: Config = server.url().parse().unwrap();
    config.ssl_mode(mode);
    PostgresManager::with_tls(config, Rustls(connector)).unwrap()
}

#[derive(Clone)]
struct Rustls(TlsConnector);

impl<S> MakeTlsConnect<S> for Rustls
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Inside<S>;
    type TlsConnect = Handshake;
    type Error = InvalidDnsNameError;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Handshake, InvalidDnsNameError> {
        let name = ServerName::try_from(domain.to_owned())?;
        Ok(Handshake(self.0.clone(), name))
    }
}

struct Handshake(TlsConnector, ServerName<'static>);

impl<S> TlsConnect<S> for Handshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Inside<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Inside<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move { Ok(Inside(self.0.connect(self.1, stream).await?)) })
    }
}

struct Inside<S>(Encrypted<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Inside<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Inside<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Inside<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
