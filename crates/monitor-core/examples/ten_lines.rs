//! From an async check to a monitor: whether anybody listens where a database should.
//!
//! `cargo run -p monitor-core --example ten_lines`

#![allow(clippy::print_stdout, reason = "an example")]

use std::{error::Error, sync::Arc, time::Duration};

use monitor_core::{Core, Definition, model::MemoryStore};
use tokio::net::TcpStream;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let core = Core::builder(Arc::new(MemoryStore::new())).start().await?;
    let mut events = core.subscribe();
    let look = || async { TcpStream::connect("127.0.0.1:5432").await.map(drop) };
    core.define(Definition::check("db", Duration::from_secs(10), look)?)
        .await?;
    println!("{:?}", events.recv().await?.kind); // that it is defined
    println!("{:?}", events.recv().await?.kind); // what it found first
    core.shutdown(Duration::from_secs(1)).await;
    Ok(())
}
