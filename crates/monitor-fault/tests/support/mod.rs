//! What the tests look at.

#![allow(dead_code, unreachable_pub, reason = "no test needs everything")]

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use monitor_fault::{Blame, Category, Fault, Layer, Reason};
use monitor_testkit::targets::{DnsReply, DnsServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Layer, reason, category, blame.
pub type Row = (Layer, Reason, Category, Blame);

/// What is derived from an error that came up at `stage`.
pub fn row(error: &(dyn Error + 'static), stage: Layer) -> Row {
    row_of(&Fault::classify(error, stage))
}

pub fn row_of(fault: &Fault) -> Row {
    (
        fault.layer(),
        fault.reason(),
        fault.category(),
        fault.blame(),
    )
}

/// A server that says `bytes` to everybody who connects, reads what has come and closes.
pub async fn says(bytes: &[u8]) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let bytes = bytes.to_owned();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Whoever is gone already need not hear it.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    address
}

/// Asks a name server that gives one answer to everything; how many addresses it has.
pub async fn lookup(reply: DnsReply) -> Result<usize, Fault> {
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
