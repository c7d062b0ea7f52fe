//! What the tests look at.

#![allow(dead_code, unreachable_pub, reason = "no test needs everything")]

use std::error::Error;

use monitor_fault::{Blame, Category, Fault, Layer, Reason};

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
pub async fn says(bytes: &[u8]) -> std::net::SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a port");
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
