//! Every category, by a failure that really happened.

mod support;

use std::collections::HashSet;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use monitor_fault::{Blame, Category, CoarseCategory, Fault, Layer, Reason};
use monitor_testkit::services::Nginx;
use monitor_testkit::targets::{Certificate, DnsReply, Refusing, Target};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The status of one GET.
async fn status(nginx: &Nginx, path: &str) -> u16 {
    let stream = TcpStream::connect(nginx.address()).await.expect("nginx");
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.expect("a handshake without bytes");
    let request = Request::get(path)
        .header("Host", "localhost")
        .header("Connection", "close")
        .body(Empty::<Bytes>::new())
        .expect("a valid request");
    let (response, _) = tokio::join!(sender.send_request(request), connection);
    response.expect("an answer").status().as_u16()
}

async fn network() -> Fault {
    let target = Refusing::new().expect("a port");
    let error = TcpStream::connect(target.addr()).await;
    Fault::classify(&error.expect_err("nobody listens"), Layer::Connect)
}

async fn dns() -> Fault {
    let found = support::lookup(DnsReply::Nxdomain { ttl_seconds: 1 }).await;
    found.expect_err("no such name")
}

/// A handshake that trusts nobody.
async fn handshake(address: SocketAddr) -> Fault {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring's versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.expect("it accepts");
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = TlsConnector::from(Arc::new(config));
    let error = connector.connect(name, stream).await.map(drop);
    Fault::classify(&error.expect_err("nobody is trusted"), Layer::Tls)
}

async fn tls() -> Fault {
    handshake(support::says(b"220 this is not TLS\r\n").await).await
}

async fn certificate() -> Fault {
    let target = Target::https(Certificate::Good).await.expect("a target");
    handshake(target.addr()).await
}

fn configuration() -> Fault {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let error = socket.send_to(b"?", (Ipv4Addr::BROADCAST, 9));
    Fault::classify(&error.expect_err("forbidden here"), Layer::Connect)
}

async fn protocol() -> Fault {
    let address = support::says(b"\x00\x01 no HTTP\r\n\r\n").await;
    let stream = TcpStream::connect(address).await.expect("it accepts");
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.expect("a handshake without bytes");
    let request = Request::get("/").body(Empty::<Bytes>::new());
    let request = request.expect("a valid request");
    let (response, _) = tokio::join!(sender.send_request(request), connection);
    Fault::classify(&response.expect_err("no HTTP"), Layer::Response)
}

async fn silence() -> Fault {
    let target = Target::silent().await.expect("a target");
    let mut stream = TcpStream::connect(target.addr()).await.expect("it accepts");
    let read = tokio::io::AsyncReadExt::read_u8(&mut stream);
    let elapsed = timeout(Duration::from_millis(10), read).await;
    Fault::classify(&elapsed.expect_err("it says nothing"), Layer::Response)
}

fn resource() -> Fault {
    // RFC 5737: for documentation, never this machine's.
    let error = UdpSocket::bind((Ipv4Addr::new(192, 0, 2, 1), 0));
    Fault::classify(&error.expect_err("not ours"), Layer::Connect)
}

async fn cancelled() -> Fault {
    let task = tokio::spawn(pending::<()>());
    task.abort();
    Fault::classify(&task.await.expect_err("aborted"), Layer::Response)
}

async fn internal() -> Fault {
    let task = tokio::spawn(async { panic!("a slip in a check") });
    Fault::classify(&task.await.expect_err("it panics"), Layer::Response)
}

/// ROB-53, ROB-54, C23: each category, in the order of the list, by a real condition on this
/// machine, and with the blame that decides between *down* and *unknown*.
#[tokio::test]
async fn every_category_really_happens() {
    let nginx = Nginx::with_server(
        r#"
        location /private  { auth_basic "mail"; auth_basic_user_file /dev/null; }
        location = /busy   { return 429; }
        location = /broken { return 503; }"#,
    )
    .expect("nginx");
    let http = async |path| Fault::from_http_status(status(&nginx, path).await);
    let faults = [
        network().await,
        dns().await,
        tls().await,
        certificate().await,
        http("/private/").await,
        configuration(),
        protocol().await,
        http("/broken").await,
        silence().await,
        http("/busy").await,
        resource(),
        cancelled().await,
        internal().await,
    ];
    let categories: Vec<Category> = faults.iter().map(Fault::category).collect();
    assert_eq!(categories, Category::ALL, "{faults:#?}");

    let own = [
        Category::Configuration,
        Category::Resource,
        Category::Cancelled,
        Category::Internal,
    ];
    for fault in &faults {
        let is_own = fault.blame() == Blame::Prober;
        assert_eq!(is_own, own.contains(&fault.category()), "{fault}");
        assert_ne!(fault.reason(), Reason::Other, "{fault}");
    }
    let coarse: HashSet<CoarseCategory> = categories
        .iter()
        .filter_map(|category| category.coarse())
        .collect();
    assert_eq!(coarse.len(), CoarseCategory::ALL.len());
}
