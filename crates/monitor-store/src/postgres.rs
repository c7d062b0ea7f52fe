//! The store on PostgreSQL: one task that commits records in batches, a pool for everything else.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use monitor_model::{
    Bucket, Commit, Defect, Delivery, HistoryRow, Incident, Lifecycle, Loaded, Monitor, MonitorId,
    Outbox, Record, Resolution, Settlement, Status, Store, StoreError, StoreErrorKind, Tally,
};
use monitor_operation::Epoch;
use monitor_pool::Pool;
use monitor_pool::managers::postgres::PostgresManager;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use failure::Failure;
use roll::Retention;
use session::{Database, End, Sessions};
use writer::{Asked, Counters, Message, Writer};

mod batch;
mod change;
mod columns;
mod doctor;
mod failure;
mod migrate;
mod open_error;
mod options;
mod outbox;
mod owner;
mod query;
mod roll;
mod row;
mod session;
#[cfg(test)]
mod testing;
mod text;
mod writer;

pub use open_error::PostgresOpenError;
pub use options::PostgresOptions;

/// Fewer connections than this could wait for each other: the owner's, the writer's, one to read.
const LEAST_CONNECTIONS: usize = 3;
/// Between two attempts that may come through.
const RETRY_EVERY: Duration = Duration::from_millis(50);
/// How long the sessions may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// A [`Store`] in a PostgreSQL database, with the behaviour of the embedded one.
///
/// Records are committed by one task in batches: whatever is queued becomes one transaction, and
/// each caller is answered only after the server has said that it is on disk. Everything else takes
/// a connection of the pool.
///
/// Of all stores, on this machine or another, at most one may write to a database: the last one that
/// was opened. By default opening is refused while another is there.
///
/// # Cancel safety
///
/// Dropping a future of this store gives up waiting: what was asked for is done in whole, or not at
/// all.
///
/// Dropping the store closes it in the background, with all that was queued; use
/// [`close`](Store::close) to wait for it.
#[derive(Debug)]
pub struct PostgresStore {
    database: Arc<Database>,
    writer: mpsc::Sender<Message>,
    counters: Arc<Counters>,
    presence: Presence,
}

/// Shows that the owner lives.
#[derive(Debug)]
struct Presence(JoinHandle<()>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a [`PostgresStore`] has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PostgresStats {
    /// Records that were answered, whatever the answer.
    pub commands: u64,
    /// Transactions that were committed for them.
    pub transactions: u64,
    /// Transactions that failed as a whole.
    pub failed_transactions: u64,
    /// Lines of history that were removed by age or with their monitor.
    pub removed_rows: u64,
}

/// Attempts until it works, cannot work, or has taken too long. `$again` is true once an attempt
/// may have been committed all the same.
macro_rules! insist {
    ($store:expr, $action:literal, $again:ident => $attempt:expr) => {{
        let store: &PostgresStore = $store;
        let until = Instant::now() + store.database.patience;
        let mut $again = false;
        loop {
            let end: Result<_, End> = $attempt;
            match end {
                Ok(value) => break Ok(value),
                Err(end) => {
                    $again |= matches!(end, End::Unknown(_));
                    let failure = end.failure();
                    if !failure.may_pass() || Instant::now() >= until {
                        break Err(failure.into_error($action, &store.database.place));
                    }
                }
            }
            sleep(RETRY_EVERY).await;
        }
    }};
    // What only reads is never in doubt.
    ($store:expr, $action:literal, $session:ident, $read:expr) => {{
        insist!($store, $action, _again => async {
            let $session = $store.database.session().await?;
            $store.database.answer($read).await.map_err(End::Failed)
        }
        .await)
    }};
}

impl PostgresStore {
    /// Connects, creates or migrates the schema, takes the right to write, and starts the tasks.
    ///
    /// # Errors
    ///
    /// The source of the error is a [`PostgresOpenError`], whose message says what to do about it.
    /// A database that was refused is as it was.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its time and network enabled.
    pub async fn open(options: PostgresOptions) -> Result<Self, StoreError> {
        Ok(Self::start(options).await?)
    }

    /// Looks for what is wrong, as [`doctor`](Store::doctor) does, without taking the right to write:
    /// another store may be open. Changes nothing.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), but for [`Owned`](PostgresOpenError::Owned). A schema that is not of
    /// this program is a defect, and the only one that is looked for then.
    pub async fn examine(options: PostgresOptions) -> Result<Vec<Defect>, StoreError> {
        let place = options.shared_place();
        let at = |failure: Failure| PostgresOpenError::at(&place, &failure);
        let sessions = connect(&options)?;
        let session = sessions.acquire_timeout(options.patience).await;
        let session = session.map_err(|error| at(error.into()))?;
        let defects = doctor::examine(&session, options.silence())
            .await
            .map_err(at);
        drop(session);
        sessions.close(GOODBYE).await;
        Ok(defects?)
    }

    async fn start(options: PostgresOptions) -> Result<Self, PostgresOpenError> {
        let place = options.shared_place();
        let at = |failure: Failure| PostgresOpenError::at(&place, &failure);
        if options.connections < LEAST_CONNECTIONS {
            return Err(PostgresOpenError::Setting {
                field: "connections",
                value: options.connections,
                least: LEAST_CONNECTIONS,
            });
        }
        let sessions = connect(&options)?;
        let (owner, session) = owner::take(&sessions, &options).await?;
        let horizons = roll::horizons(&session).await.map_err(at)?;
        let retention = Retention::new(&options, horizons);
        let presence = owner::stay(sessions.clone(), Arc::clone(&place), session);
        let presence = Presence(tokio::spawn(presence));
        let database = Arc::new(Database {
            sessions,
            place: Arc::clone(&place),
            owner,
            patience: options.patience,
            successor: watch::Sender::new(None),
            silence: options.silence(),
        });
        tracing::info!(%place, epoch = owner, "owns the store");
        Ok(Self::over(database, retention, presence, &options))
    }

    fn over(
        database: Arc<Database>,
        retention: Retention,
        presence: Presence,
        options: &PostgresOptions,
    ) -> Self {
        let (writer, queue) = mpsc::channel(options.queue.get());
        let counters = Arc::new(Counters::default());
        let work = Writer {
            database: Arc::clone(&database),
            queue,
            max_batch: options.max_batch.get(),
            retention,
            counters: Arc::clone(&counters),
            waiting: VecDeque::new(),
            doubts: batch::Doubts::new(),
            closing: Vec::new(),
            batches_since_slice: 0,
        };
        tokio::spawn(work.run());
        Self {
            database,
            writer,
            counters,
            presence,
        }
    }

    /// Where the database is, without role and password.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.database.place
    }

    /// Waits until a change was refused because another store has taken over, and says which. Never
    /// ready otherwise. From then on nothing can be written; to write, open the store again.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub fn until_taken_over(&self) -> impl Future<Output = String> + Send + use<> {
        let mut successor = self.database.successor.subscribe();
        async move {
            loop {
                if let Some(by) = successor.borrow_and_update().clone() {
                    return by;
                }
                if successor.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        }
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> PostgresStats {
        PostgresStats {
            commands: self.counters.commands.load(Ordering::Relaxed),
            transactions: self.counters.transactions.load(Ordering::Relaxed),
            failed_transactions: self.counters.failed_transactions.load(Ordering::Relaxed),
            removed_rows: self.counters.removed_rows.load(Ordering::Relaxed),
        }
    }
}

/// The pool. Nothing is connected yet.
fn connect(options: &PostgresOptions) -> Result<Sessions, PostgresOpenError> {
    let other = |text: String| PostgresOpenError::Database {
        place: options.shared_place(),
        kind: StoreErrorKind::Other,
        text,
    };
    let manager = PostgresManager::new(options.session());
    Pool::builder(manager.map_err(|error| other(error.to_string()))?)
        .name("store")
        .max_size(options.connections)
        // The owner's session is out for good.
        .leak_after(None)
        .build()
        .map_err(|error| other(error.to_string()))
}

#[async_trait]
impl Store for PostgresStore {
    async fn load(&self) -> Result<Loaded, StoreError> {
        insist!(self, "load the monitors", session, query::load(&session))
    }

    async fn define(&self, monitor: Monitor, epoch: Epoch) -> Result<Status, StoreError> {
        insist!(self, "define a monitor", again =>
            change::define(&self.database, &monitor, epoch, again).await)
    }

    async fn set_lifecycle(
        &self,
        id: &MonitorId,
        lifecycle: Lifecycle,
        epoch: Epoch,
        due_from_unix_ms: Option<i64>,
    ) -> Result<Option<Status>, StoreError> {
        insist!(self, "change a monitor", again =>
            change::set_lifecycle(&self.database, id, (lifecycle, epoch, due_from_unix_ms), again)
                .await)
    }

    async fn delete(&self, id: &MonitorId, epoch: Epoch) -> Result<bool, StoreError> {
        let deleted = insist!(self, "delete a monitor", again =>
            change::delete(&self.database, id, epoch, again).await)?;
        // A store that is closed finds the lines to remove when it is opened again.
        let _ = self.writer.send(Message::Deleted(id.clone())).await;
        Ok(deleted)
    }

    async fn commit(&self, record: Record) -> Result<Commit, StoreError> {
        let (reply, answer) = oneshot::channel();
        let until = Instant::now() + self.database.patience;
        let asked = Asked {
            record,
            reply,
            until,
        };
        let answer = match self.writer.send(Message::Commit(Box::new(asked))).await {
            Ok(()) => answer.await.unwrap_or(Err(Failure::Closed)),
            Err(_) => Err(Failure::Closed),
        };
        answer.map_err(|failure| failure.into_error("commit a record", &self.database.place))
    }

    async fn history(&self, id: &MonitorId, limit: u32) -> Result<Vec<HistoryRow>, StoreError> {
        insist!(
            self,
            "read the history",
            session,
            query::history(&session, id, limit)
        )
    }

    async fn tally(&self, id: &MonitorId, since_unix_ms: i64) -> Result<Tally, StoreError> {
        insist!(
            self,
            "count the history",
            session,
            query::tally(&session, id, since_unix_ms)
        )
    }

    async fn incidents(&self, id: &MonitorId, limit: u32) -> Result<Vec<Incident>, StoreError> {
        insist!(
            self,
            "read the incidents",
            session,
            query::incidents(&session, id, limit)
        )
    }

    async fn buckets(
        &self,
        id: &MonitorId,
        resolution: Resolution,
        unix_ms: Range<i64>,
    ) -> Result<Vec<Bucket>, StoreError> {
        insist!(
            self,
            "read the counts",
            session,
            query::buckets(&session, id, resolution, unix_ms.clone())
        )
    }

    async fn take_notices(&self, limit: u32, lease: Duration) -> Result<Vec<Delivery>, StoreError> {
        insist!(self, "take notices", _again =>
            outbox::take(&self.database, limit, lease).await)
    }

    async fn settle_notice(
        &self,
        delivery: &Delivery,
        settlement: Settlement,
    ) -> Result<bool, StoreError> {
        insist!(self, "settle a notice", again =>
            outbox::settle(&self.database, delivery, settlement, again).await)
    }

    async fn outbox(&self) -> Result<Outbox, StoreError> {
        insist!(self, "count the notices", session, outbox::counts(&session))
    }

    async fn doctor(&self) -> Result<Vec<Defect>, StoreError> {
        insist!(self, "examine the store", _again => async {
            let session = self.database.session().await?;
            let examined = doctor::examine(&session, self.database.silence).await;
            examined.map_err(End::Failed)
        }
        .await)
    }

    async fn close(&self) -> Result<(), StoreError> {
        let (reply, closed) = oneshot::channel();
        // A task that has ended already answers by dropping the question.
        if self.writer.send(Message::Close(reply)).await.is_ok() {
            let _ = closed.await;
        }
        self.presence.0.abort();
        self.database.sessions.close(GOODBYE).await;
        Ok(())
    }
}
