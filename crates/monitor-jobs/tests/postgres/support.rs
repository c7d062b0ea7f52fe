//! One server for the tests that run at the same time, a schema for each database of theirs.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use monitor_jobs::conformance::{Base, Rig, START_MS};
use monitor_jobs::{Backend, Claimed, Jobs, NewJob, PgJobs, PgOptions, SettleError};
use monitor_pool::managers::postgres::tokio_postgres::{Client, Config, NoTls};
use monitor_testkit::services::Postgres;

/// Ends with the last test that uses it.
static SERVER: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
static SCHEMAS: AtomicU32 = AtomicU32::new(0);

pub(crate) fn server() -> Arc<Postgres> {
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = server.upgrade() {
        return running;
    }
    let started = Arc::new(Postgres::start().unwrap());
    *server = Arc::downgrade(&started);
    started
}

/// An empty schema on the server, and whatever is opened in it.
pub(crate) struct Database {
    pub(crate) jobs: PgJobs,
    pub(crate) config: Config,
    /// A session beside the pool.
    pub(crate) sql: Client,
    _server: Arc<Postgres>,
}

/// Opens jobs whose clock goes by itself.
pub(crate) async fn open(options: PgOptions) -> Database {
    let server = server();
    let schema = format!("s{}", SCHEMAS.fetch_add(1, Ordering::Relaxed));
    let sql = connect(&server.url().parse().unwrap()).await;
    let create = format!("CREATE SCHEMA {schema}; SET search_path = {schema}");
    sql.batch_execute(&create).await.unwrap();
    let mut config: Config = server.url().parse().unwrap();
    config.options(format!("-c search_path={schema}"));
    Database {
        jobs: PgJobs::connect(config.clone(), options).await.unwrap(),
        config,
        sql,
        _server: server,
    }
}

pub(crate) fn quiet() -> PgOptions {
    let mut options = PgOptions::default();
    options.listen = false;
    options
}

pub(crate) async fn connect(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

impl Database {
    /// From now on its clock stands still, at `unix_ms` or where it is set to.
    pub(crate) async fn stop_clock(&self, unix_ms: i64) {
        let clock = format!(
            "CREATE TABLE test_clock (ms bigint); INSERT INTO test_clock VALUES ({unix_ms});
             CREATE OR REPLACE FUNCTION jobs_now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS
                 'SELECT ms FROM test_clock'"
        );
        self.sql.batch_execute(&clock).await.unwrap();
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.sql.query_one(sql, &[]).await.unwrap().get(0)
    }
}

pub(crate) struct Server;

#[async_trait]
impl Rig for Server {
    async fn fresh(&self) -> Arc<dyn Base> {
        let database = open(quiet()).await;
        database.stop_clock(START_MS).await;
        Arc::new(database)
    }
}

#[async_trait]
impl Base for Database {
    fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(self.jobs.clone())
    }

    async fn set_clock(&self, unix_ms: i64) {
        let set = format!("UPDATE test_clock SET ms = {unix_ms}");
        self.sql.batch_execute(&set).await.unwrap();
    }

    async fn in_transaction(
        &self,
        claimed: Claimed,
        jobs: Vec<NewJob>,
        commit: bool,
    ) -> Result<(), SettleError> {
        let mut transaction = self.jobs.begin().await?;
        let permit = claimed.complete_in(&mut transaction, None).await?;
        let put_in = Jobs::new(self.jobs.clone())
            .enqueue_in(&mut transaction, &jobs)
            .await;
        put_in.unwrap();
        if commit {
            transaction.commit(permit).await?;
        }
        Ok(())
    }
}
