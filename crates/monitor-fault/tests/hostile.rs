//! INV-FAULT-1: whatever bytes a target sends, no client library's error about them is blamed on
//! the prober, at whatever stage the caller thinks it is.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::extension::ClientId;
use monitor_fault::{Blame, Fault, Layer};
use proptest::prelude::*;
use tokio::net::TcpStream;
use tokio_postgres::{Config, NoTls};

const PATIENCE: Duration = Duration::from_secs(20);

/// Stages at which a target may have been heard.
const STAGES: [Layer; 5] = [
    Layer::Connect,
    Layer::Tls,
    Layer::Protocol,
    Layer::Response,
    Layer::Assertion,
];

async fn over_http(server: SocketAddr) -> Vec<Fault> {
    let stream = TcpStream::connect(server).await.expect("it accepts");
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.expect("a handshake without bytes");
    let request = Request::get("/").body(Empty::<Bytes>::new());
    let exchange = async {
        let request = request.expect("a valid request");
        sender
            .send_request(request)
            .await?
            .into_body()
            .collect()
            .await
    };
    match tokio::join!(exchange, connection).0 {
        Ok(_) => Vec::new(),
        Err(error) => STAGES.map(|stage| Fault::classify(&error, stage)).into(),
    }
}

async fn over_smtp(server: SocketAddr) -> Vec<Fault> {
    let hello = ClientId::default();
    let patience = Some(PATIENCE);
    let connected = AsyncSmtpConnection::connect_tokio1(server, patience, &hello, None, None);
    match connected.await {
        Ok(_) => Vec::new(),
        Err(error) => STAGES.map(|stage| Fault::classify(&error, stage)).into(),
    }
}

async fn over_postgres(server: SocketAddr) -> Vec<Fault> {
    let mut config = Config::new();
    config
        .host(server.ip().to_string())
        .port(server.port())
        .user("monitor")
        .password("secret");
    match config.connect(NoTls).await {
        Ok(_) => Vec::new(),
        Err(error) => STAGES.map(|stage| Fault::classify(&error, stage)).into(),
    }
}

/// Bytes that get past the first look of one of the parsers, and others that do not.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let any = || proptest::collection::vec(any::<u8>(), 0..200);
    let after = move |start: &'static [u8]| any().prop_map(move |rest| [start, &rest].concat());
    let message = |kind: u8| {
        any().prop_map(move |body| {
            let length = u32::try_from(body.len() + 4).expect("a short body");
            [&[kind][..], &length.to_be_bytes(), &body].concat()
        })
    };
    prop_oneof![
        any(),
        after(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        after(b"HTTP/1.1 "),
        after(b"220 hello\r\n250-"),
        after(b"220-"),
        message(b'R'),
        message(b'E'),
        message(b'S'),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// INV-FAULT-1, ROB-54: any bytes, over real sockets, through hyper, lettre and
    /// tokio-postgres.
    #[test]
    fn inv_fault_1_any_bytes_through_any_library(bytes in bytes()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let faults = runtime.block_on(async {
            let server = support::says(&bytes).await;
            let (http, smtp, sql) =
                tokio::join!(over_http(server), over_smtp(server), over_postgres(server));
            [http, smtp, sql].concat()
        });
        for fault in faults {
            prop_assert_ne!(fault.blame(), Blame::Prober, "{}", fault);
        }
    }
}
