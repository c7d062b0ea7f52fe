//! A server with a store on it, for tests of the parts of the store.

use std::time::Duration;

use monitor_model::Store;
use monitor_model::conformance::monitor;
use monitor_operation::Epoch;
use monitor_pool::managers::postgres::tokio_postgres::{Client, NoTls, connect};
use monitor_testkit::services::Postgres;
use tokio::sync::oneshot;

use super::session::Transaction;
use super::writer::Message;
use super::{PostgresOptions, PostgresStore};

pub(super) struct Place {
    server: Postgres,
    pub(super) store: PostgresStore,
}

impl Place {
    /// A store with these monitors in it, in epoch 1, which keeps all.
    pub(super) async fn with(monitors: &[&str]) -> Self {
        let server = Postgres::start().unwrap();
        let mut options = PostgresOptions::new(&server.url()).unwrap();
        options.retain_history = Duration::MAX;
        options.retain_minutes = Duration::MAX;
        options.retain_hours = Duration::MAX;
        options.retain_days = Duration::MAX;
        let store = PostgresStore::open(options).await.unwrap();
        for name in monitors {
            store.define(monitor(name), Epoch::new(1)).await.unwrap();
        }
        Self { server, store }
    }

    /// Ends the store's own upkeep: what follows is done by the test alone.
    pub(super) async fn without_upkeep(&self) {
        let (reply, closed) = oneshot::channel();
        let close = self.store.writer.send(Message::Close(reply)).await;
        close.unwrap();
        closed.await.unwrap();
    }

    pub(super) async fn sql(&self) -> Client {
        let (client, connection) = connect(&self.server.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    pub(super) async fn begin(&self) -> Transaction {
        self.store.database.begin().await.unwrap()
    }

    pub(super) async fn ask(&self, query: &str) -> i64 {
        self.sql().await.query_one(query, &[]).await.unwrap().get(0)
    }
}
