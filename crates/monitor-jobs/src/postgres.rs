//! Jobs in PostgreSQL: each function of the [`Backend`](crate::Backend) is one call of a function
//! that the migration put there, hence one transaction and one round trip.
//!
//! The statements with their locks are in `migrations/postgres/*.sql`; read those first. What is
//! here: connections, errors, rows, and the decisions about what is put in.

mod backend;
mod claim;
mod doctor;
mod enqueue;
mod failure;
mod floors;
mod migrate;
mod options;
mod plan;
mod reason;
mod rows;
mod schema;
mod session;
mod settle;
mod transaction;
mod view;
mod wake;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use monitor_pool::managers::postgres::tokio_postgres::types::ToSql;
use monitor_pool::managers::postgres::tokio_postgres::{Config, Row};
use monitor_pool::managers::postgres::{PostgresConnection, PostgresError, PostgresManager};
use monitor_pool::{Manager, Object, Pool};
use tokio::time::Instant;

use self::failure::Failure;
use self::floors::Floors;
use self::session::Sessions;
use self::wake::Wake;
use crate::kernel::limits::INLINE_EDGES;
use crate::{StoreError, StoreErrorKind};

pub use self::options::PgOptions;
pub use self::transaction::PgTransaction;

/// How often a transaction is made again that met another.
const TRIES: u32 = 4;
/// How many slices of a release follow a call at most; the rest is left to
/// [`release`](crate::Backend::release).
const SLICES: u32 = 64;
/// Edges of a slice: more than a caller would wait for, and nobody waits for a slice.
const SLICE: i32 = 5 * INLINE_EDGES.cast_signed();

/// Makes connections to PostgreSQL: any manager of monitor-pool that does, with TLS or without.
pub trait PgManager: Manager<Connection = PostgresConnection, Error = PostgresError> {}

impl<M: Manager<Connection = PostgresConnection, Error = PostgresError>> PgManager for M {}

/// Jobs in a PostgreSQL database, in the first schema of its `search_path`.
///
/// Cheap to clone. Statements are prepared once for each connection. Its transactions are read
/// committed, whatever the server's default is. Settings such as `synchronous_commit` and
/// `search_path` go into the `options` of the configuration. A [transaction](PgTransaction) in which
/// nothing is done for 60 s is ended by the server, unless `idle_in_transaction_session_timeout` is
/// set to another time there, for the role or for the database.
///
/// Where thousands of dead entries lie before what is ready, as happens beside an old snapshot, its
/// claims remember for a second at most where they end. Meanwhile a job that becomes ready before
/// all others may be passed over by a claim that finds others.
///
/// # Example
/// ```no_run
/// use monitor_jobs::{Backend, NewJob, Payload, PgJobs, PgOptions};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let config = "postgres://jobs:secret@127.0.0.1/jobs".parse()?;
/// let jobs = PgJobs::connect(config, PgOptions::default()).await?;
/// jobs.enqueue(&[NewJob::new("mail", Payload::parse("{}")?)]).await?;
/// # Ok(())
/// # }
/// ```
pub struct PgJobs<M: PgManager = PostgresManager> {
    shared: Arc<Shared<M>>,
}

struct Shared<M: PgManager> {
    pool: Pool<Sessions<M>>,
    wake: Arc<Wake>,
    forget_completed: bool,
    /// Round trips with the server, those that prepare statements apart.
    calls: AtomicU64,
    /// Queues that are known to have a number.
    named: Mutex<BTreeSet<String>>,
    /// Where claims begin to look.
    floors: Mutex<Floors>,
    /// Entries of the index of ready jobs that claims looked at.
    walked: AtomicU64,
    origin: Instant,
}

impl<M: PgManager> Drop for Shared<M> {
    fn drop(&mut self) {
        // Nobody is left to be woken: the connection that listens goes too.
        self.wake.close();
    }
}

impl<M: PgManager> Clone for PgJobs<M> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<M: PgManager> fmt::Debug for PgJobs<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgJobs")
            .field("pool", &self.shared.pool.status())
            .finish_non_exhaustive()
    }
}

impl PgJobs {
    /// Connects without TLS, and brings the schema up to date.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn connect(config: Config, options: PgOptions) -> Result<Self, StoreError> {
        let manager = PostgresManager::new(config).map_err(|error| StoreError {
            action: "open jobs",
            kind: StoreErrorKind::Denied,
            source: Box::new(error),
        })?;
        Self::open(manager, options).await
    }
}

impl<M: PgManager> PgJobs<M> {
    /// Connects by `manager`, and brings the schema up to date: all of it or nothing, once for all
    /// who start at the same moment.
    ///
    /// # Errors
    /// When there is no connection, when the options cannot work, when a migration fails, and, with
    /// the kind [`Schema`](StoreErrorKind::Schema), when the schema is newer than this version of
    /// the crate, or was made by an unreleased one; nothing is changed then.
    ///
    /// # Cancel safety
    /// Dropped, it has migrated or not, never half.
    pub async fn open(manager: M, options: PgOptions) -> Result<Self, StoreError> {
        let action = "open jobs";
        let pool = Pool::builder(Sessions(manager))
            .name("jobs")
            .max_size(options.connections()?)
            .acquire_timeout(options.acquire_timeout)
            .build()
            .map_err(|error| StoreError {
                action,
                kind: StoreErrorKind::Denied,
                source: Box::new(error),
            })?;
        let jobs = Self {
            shared: Arc::new(Shared {
                pool,
                wake: Arc::default(),
                forget_completed: options.forget_completed,
                calls: AtomicU64::new(0),
                named: Mutex::default(),
                floors: Mutex::default(),
                walked: AtomicU64::new(0),
                origin: Instant::now(),
            }),
        };
        let session = jobs
            .session()
            .await
            .map_err(|failure| failure.doing(action))?;
        let refusal = migrate::run(&session.connection).await;
        if let Some(refusal) = refusal.map_err(|failure| failure.doing(action))? {
            return Err(StoreError {
                action,
                kind: StoreErrorKind::Schema,
                source: refusal.into(),
            });
        }
        drop(session);
        if options.listen {
            let pool = jobs.shared.pool.clone();
            tokio::spawn(wake::listen(pool, Arc::downgrade(&jobs.shared.wake)));
        }
        Ok(jobs)
    }

    /// How many round trips it has made so far: what tests of the number of calls count.
    #[doc(hidden)]
    #[must_use]
    pub fn round_trips(&self) -> u64 {
        self.shared.calls.load(Ordering::Relaxed)
    }

    /// How many entries of the index of ready jobs its claims have looked at so far, dead or
    /// alive: what tests of the work of a claim count.
    #[doc(hidden)]
    #[must_use]
    pub fn entries_walked(&self) -> u64 {
        self.shared.walked.load(Ordering::Relaxed)
    }

    /// A connection that was alive a moment ago.
    async fn session(&self) -> Result<Object<Sessions<M>>, Failure> {
        loop {
            let session = self.shared.pool.acquire().await?;
            if !session.connection.is_closed() {
                return Ok(session);
            }
            session.discard();
        }
    }

    fn count(&self, round_trips: u64) {
        self.shared.calls.fetch_add(round_trips, Ordering::Relaxed);
    }

    /// Looks. What was cut off may be asked again.
    async fn read(
        &self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Failure> {
        let mut session = self.session().await?;
        self.count(1);
        session.query(sql, parameters).await.map_err(Failure::read)
    }

    /// One transaction of one statement, made again when it met another.
    async fn write(
        &self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Failure> {
        let mut tries = 0;
        loop {
            let mut session = self.session().await?;
            self.count(1);
            tries += 1;
            match session.query(sql, parameters).await.map_err(Failure::write) {
                Err(failure) if tries < TRIES && failure.kind() == StoreErrorKind::Conflict => {
                    tracing::debug!(%failure, tries, "two transactions met; once more");
                }
                end => return end,
            }
        }
    }

    /// The one row that a function returns.
    async fn write_one(
        &self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, Failure> {
        let rows = self.write(sql, parameters).await?;
        rows.into_iter().next().ok_or(Failure::Unreadable {
            column: "any",
            value: "no row".to_owned(),
        })
    }

    /// Goes on with what a transaction has left, slice by slice. That it is left is committed, so
    /// what fails here is only late: [`release`](crate::Backend::release) takes it up.
    async fn finish(&self) {
        for _ in 0..SLICES {
            match self.release_slice(SLICE).await {
                Ok(0) => return,
                Ok(_) => {}
                Err(failure) => {
                    tracing::warn!(%failure, "a release is left to the next one");
                    return;
                }
            }
        }
    }

    async fn release_slice(&self, limit: i32) -> Result<u32, Failure> {
        let row = self.write_one("SELECT jobs_release($1)", &[&limit]).await?;
        let released = rows::number(rows::get::<i32>(&row, "jobs_release")?);
        if released > 0 {
            self.shared.wake.all();
        }
        Ok(released)
    }
}
