//! One server for the tests that run at the same time, a schema for each database of theirs.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use monitor_jobs::conformance::{Base, Rig, START_MS};
use monitor_jobs::{Backend, Claimed, Jobs, NewJob, PgJobs, PgOptions, SettleError};
use monitor_pool::managers::postgres::tokio_postgres::{Client, Config, Error, NoTls};
use monitor_testkit::services::Postgres;
use tokio::task::JoinHandle;

use crate::call::Caller;

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
    caller: Caller,
    pub(crate) config: Config,
    /// A session beside the pool.
    pub(crate) sql: Client,
    _server: Arc<Postgres>,
}

/// Opens jobs whose clock goes by itself.
pub(crate) async fn open(options: PgOptions) -> Database {
    open_on(server(), options).await
}

/// The same, on that server.
pub(crate) async fn open_on(server: Arc<Postgres>, options: PgOptions) -> Database {
    let config = server.url().parse().unwrap();
    open_in(server, config, options).await
}

/// The same, in that database of the server.
pub(crate) async fn open_in(
    server: Arc<Postgres>,
    mut config: Config,
    options: PgOptions,
) -> Database {
    let schema = format!("s{}", SCHEMAS.fetch_add(1, Ordering::Relaxed));
    let sql = connect(&config).await;
    let create = format!("CREATE SCHEMA {schema}; SET search_path = {schema}");
    sql.batch_execute(&create).await.unwrap();
    config.application_name(&schema);
    // Whatever waits where it should not fails in the end.
    config.options(format!("-c search_path={schema} -c lock_timeout=20s"));
    Database {
        caller: Caller {
            jobs: PgJobs::connect(config.clone(), options).await.unwrap(),
        },
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

    async fn reopen(&self) -> Arc<dyn Base> {
        self.jobs.close().await.unwrap();
        Arc::new(Self {
            caller: Caller {
                jobs: PgJobs::connect(self.config.clone(), quiet()).await.unwrap(),
            },
            config: self.config.clone(),
            sql: self.session().await,
            _server: Arc::clone(&self._server),
        })
    }

    async fn trace(&self) {
        let notes = "CREATE TABLE test_note (change text);
            CREATE FUNCTION test_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                INSERT INTO test_note VALUES (TG_OP || ' ON ' || TG_TABLE_NAME);
                RETURN NULL;
            END $$;";
        let triggers = self.note_each_change().await;
        let batch = notes.to_owned() + &triggers;
        self.sql.batch_execute(&batch).await.unwrap();
    }

    async fn traced(&self) -> Vec<String> {
        let noted = "SELECT DISTINCT change FROM test_note ORDER BY change";
        let noted = self.sql.query(noted, &[]).await.unwrap();
        let end = "DROP FUNCTION test_note CASCADE; DROP TABLE test_note";
        self.sql.batch_execute(end).await.unwrap();
        noted.iter().map(|row| row.get(0)).collect()
    }

    async fn fail(&self, change: Option<&str>) {
        let trigger = match change {
            Some(change) => format!(
                "CREATE FUNCTION test_fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    RAISE EXCEPTION 'broken';
                END $$;
                CREATE TRIGGER test_fail BEFORE {change}
                    FOR EACH ROW EXECUTE FUNCTION test_fail()"
            ),
            None => "DROP FUNCTION test_fail CASCADE".to_owned(),
        };
        self.sql.batch_execute(&trigger).await.unwrap();
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

impl Database {
    /// A trigger for each table of the jobs and each change to it.
    async fn note_each_change(&self) -> String {
        let tables = "SELECT tablename FROM pg_tables
            WHERE schemaname = current_schema() AND tablename LIKE 'job%'";
        let tables = self.sql.query(tables, &[]).await.unwrap();
        let each = tables.iter().flat_map(|row| {
            let table: String = row.get(0);
            ["INSERT", "UPDATE", "DELETE"].map(|change| {
                format!(
                    "CREATE TRIGGER test_{change} AFTER {change} ON {table}
                        FOR EACH ROW EXECUTE FUNCTION test_note();"
                )
            })
        });
        each.collect()
    }

    pub(crate) async fn session(&self) -> Client {
        connect(&self.config).await
    }

    /// Begins a transaction in the session beside the pool and leaves it open.
    pub(crate) async fn hold(&self, sql: &str) {
        self.sql.batch_execute("BEGIN").await.unwrap();
        self.sql.batch_execute(sql).await.unwrap();
    }

    pub(crate) async fn commit(&self) {
        self.sql.batch_execute("COMMIT").await.unwrap();
    }

    /// What a new session says to that, which waits for no lock.
    pub(crate) async fn at_once(&self, sql: &str) -> Result<(), Error> {
        let impatient = format!("SET lock_timeout = '1ms'; {sql}");
        self.session().await.batch_execute(&impatient).await
    }

    /// Runs something beside the test, on the same pool.
    pub(crate) fn spawn<T, F>(&self, run: impl FnOnce(Caller) -> F) -> JoinHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        tokio::spawn(run(self.caller.clone()))
    }

    /// Waits until so many sessions wait for a lock.
    pub(crate) async fn until_blocked(&self, sessions: i64) {
        while self.blocked().await < sessions {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until it waits for a lock, or has gone wrong already.
    pub(crate) async fn until_blocked_or_over<T>(&self, task: &JoinHandle<T>) {
        while !task.is_finished() && self.blocked().await == 0 {
            tokio::task::yield_now().await;
        }
    }

    /// How many sessions of this database wait for a lock of another.
    pub(crate) async fn blocked(&self) -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity a
            WHERE a.application_name = current_schema() AND cardinality(pg_blocking_pids(a.pid)) > 0";
        self.number(sql).await
    }

    /// Puts a function back with one piece of its text changed, wherever that stands.
    pub(crate) async fn mutate(&self, function: &str, from: &str, to: &str) {
        let sql = "SELECT pg_get_functiondef(p.oid) FROM pg_proc p
            WHERE p.proname = $1 AND p.pronamespace = current_schema()::regnamespace";
        let row = self.sql.query_one(sql, &[&function]).await.unwrap();
        let text: String = row.get(0);
        let words = |text: &str| {
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("--"));
            let words: Vec<&str> = code.flat_map(str::split_whitespace).collect();
            words.join(" ")
        };
        let (text, from) = (words(&text), words(from));
        assert!(text.contains(&from), "{function} has no {from:?}");
        let changed = text.replace(&from, to);
        self.sql.batch_execute(&changed).await.unwrap();
    }
}

impl Deref for Database {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}
