//! A real PostgreSQL with the durability it comes with, and a fresh database for each measurement.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use monitor_pool::managers::postgres::tokio_postgres::{self, NoTls};
use monitor_testkit::services::Postgres;
use tokio::runtime::Runtime;

/// The test kit starts servers that may forget when the machine crashes; these lines, which come
/// last and therefore hold, take that back.
const SETTINGS: &str = "
fsync = on
full_page_writes = on
synchronous_commit = on
shared_buffers = 256MB
max_wal_size = 4GB
max_connections = 700
";

/// The server of all measurements.
pub(crate) struct Server {
    postgres: Postgres,
    databases: AtomicUsize,
}

impl Server {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self {
            postgres: Postgres::with_settings(SETTINGS)?,
            databases: AtomicUsize::new(0),
        })
    }

    /// Makes an empty database and returns how to connect to it.
    pub(crate) fn database(&self, runtime: &Runtime) -> Result<String> {
        runtime.block_on(self.make_database())
    }

    /// As [`database`](Self::database), inside a runtime.
    pub(crate) async fn make_database(&self) -> Result<String> {
        let url = self.postgres.url();
        let name = format!("bench_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let client = connect(&url).await?;
        client
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await?;
        // What the former measurement left unwritten shall not be paid for by this one.
        client.batch_execute("CHECKPOINT").await?;
        let (front, _) = url.rsplit_once('/').unwrap_or((&url, ""));
        Ok(format!("{front}/{name}"))
    }
}

/// A connection of one's own.
pub(crate) async fn connect(url: &str) -> Result<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
