//! Two monitors that share a pool of connections: at most one connection to a small server between
//! them, found by name, closed with the core.
//!
//! `cargo run -p monitor-core --features pool --example named_pool`

#![allow(clippy::print_stdout, reason = "an example")]

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use monitor_core::fault::{Fault, Layer};
use monitor_core::model::{
    EventKind, MemoryStore, Monitor, Observation, Probe, ProbeContext, Source,
};
use monitor_core::pool::{ExecuteError, Manager, Pool};
use monitor_core::{Core, Definition, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How to connect to the server.
struct Server(SocketAddr);

impl Manager for Server {
    type Connection = TcpStream;
    type Error = io::Error;

    async fn connect(&self) -> io::Result<TcpStream> {
        TcpStream::connect(self.0).await
    }
}

/// Says a letter and expects it back.
struct Letter(u8);

#[async_trait]
impl Probe for Letter {
    fn kind(&self) -> &'static str {
        "letter"
    }

    fn target(&self) -> String {
        format!("letter {}", char::from(self.0))
    }

    async fn check(&self, context: &ProbeContext) -> Observation {
        let pool = match context.resources.get::<Pool<Server>>("server") {
            Ok(pool) => pool,
            Err(error) => return Observation::fault(error.into()),
        };
        let answer = pool.execute(async |stream: &mut TcpStream| {
            stream.write_u8(self.0).await?;
            stream.read_u8().await
        });
        match answer.await {
            Ok(letter) if letter == self.0 => Observation::up(),
            Ok(other) => Observation::up().with_note(format!("said {other}")),
            Err(ExecuteError::Operation(error)) => {
                Observation::fault(Fault::classify(&error, Layer::Response))
            }
            Err(error) => Observation::fault(Fault::classify(&error, Layer::Connect)),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The server: says back what it hears.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });

    let core = Core::builder(Arc::new(MemoryStore::new())).start().await?;
    let builder = Pool::builder(Server(address)).max_size(1);
    let pool = core.pools().open("server", builder)?;
    let mut events = core.subscribe();
    for letter in [b'a', b'b'] {
        core.define(Definition {
            monitor: Monitor {
                id: char::from(letter).to_string().parse()?,
                name: "A letter".into(),
                source: Source::Api,
                spec: String::new(),
            },
            probe: Arc::new(Letter(letter)),
            pool: None,
            settings: Settings {
                interval: Duration::from_millis(100),
                ..Settings::default()
            },
        })
        .await?;
    }
    let mut seen = 0;
    while seen < 6 {
        if let EventKind::Committed { record, .. } = &events.recv().await?.kind {
            println!("{} is {}", record.monitor, record.outcome());
            seen += 1;
        }
    }
    let totals = pool.status().totals;
    println!("{} connection for all of it", totals.connected);
    let report = core.shutdown(Duration::from_secs(1)).await;
    for (name, report) in &report.pools {
        println!("pool {name}: clean {}", report.is_clean());
    }
    Ok(())
}
