//! A PostgreSQL server for all tests of a program, and a schema of its own for each.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use monitor_pool::managers::postgres::tokio_postgres::{Client, NoTls, connect};
use monitor_store::{PostgresOptions, PostgresStore};
use monitor_testkit::services::Postgres;

/// A schema of a server that all tests of this program share, while any of them runs.
pub(crate) struct Schema {
    server: Arc<Mutex<Postgres>>,
    name: String,
}

/// Does not keep the server alive: it ends with the last test.
static SERVER: Mutex<Weak<Mutex<Postgres>>> = Mutex::new(Weak::new());
static SCHEMAS: AtomicUsize = AtomicUsize::new(0);

impl Schema {
    pub(crate) async fn new() -> Self {
        let server = {
            let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
            let server = shared.upgrade();
            let start = || Arc::new(Mutex::new(Postgres::start().unwrap()));
            let server = server.unwrap_or_else(start);
            *shared = Arc::downgrade(&server);
            server
        };
        Self::on(server).await
    }

    /// On a server of its own, which it may restart.
    pub(crate) async fn alone(settings: &str) -> Self {
        let server = Postgres::with_settings(settings).unwrap();
        Self::on(Arc::new(Mutex::new(server))).await
    }

    async fn on(server: Arc<Mutex<Postgres>>) -> Self {
        let name = format!("case_{}", SCHEMAS.fetch_add(1, Ordering::Relaxed));
        let schema = Self { server, name };
        let create = format!("CREATE SCHEMA {}", schema.name);
        schema.sql().await.batch_execute(&create).await.unwrap();
        schema
    }

    pub(crate) fn server(&self) -> MutexGuard<'_, Postgres> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server().address()
    }

    pub(crate) fn url(&self) -> String {
        self.with_path(self.server().url())
    }

    pub(crate) fn url_at(&self, address: SocketAddr) -> String {
        self.with_path(self.server().url_at(address))
    }

    /// The same database as another role.
    pub(crate) fn url_as(&self, role: &str, password: &str) -> String {
        let address = self.address();
        self.with_path(format!("postgres://{role}:{password}@{address}/postgres"))
    }

    fn with_path(&self, url: String) -> String {
        format!("{url}?options=-csearch_path%3D{}", self.name)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn options(&self) -> PostgresOptions {
        PostgresOptions::new(&self.url()).unwrap()
    }

    /// Options with which nothing goes by age.
    pub(crate) fn keeping_all(&self) -> PostgresOptions {
        let mut options = self.options();
        options.retain_history = Duration::MAX;
        options.retain_minutes = Duration::MAX;
        options.retain_hours = Duration::MAX;
        options.retain_days = Duration::MAX;
        options
    }

    pub(crate) async fn open(&self) -> PostgresStore {
        PostgresStore::open(self.options()).await.unwrap()
    }

    /// A connection of the test's own, beside whatever store is open.
    pub(crate) async fn sql(&self) -> Client {
        let url = self.url();
        let (client, connection) = connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// The first column of the first row.
    pub(crate) async fn ask(&self, query: &str) -> i64 {
        let row = self.sql().await.query_one(query, &[]).await;
        row.unwrap().get(0)
    }
}
