//! The embedded store: one SQLite file, one thread that writes, one that reads.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use monitor_model::{
    Bucket, Commit, Defect, Delivery, HistoryRow, Incident, Lifecycle, Loaded, Monitor, MonitorId,
    Outbox, Record, Resolution, Settlement, Status, Store, StoreError, Tally,
};
use monitor_operation::Epoch;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use command::{Change, Hint, command};
use failure::Failure;
use presence::Presence;
use retention::Retention;
use writer::{Counters, Writer};

mod backup;
mod backup_error;
mod change;
mod command;
mod commit;
mod doctor;
mod failure;
mod incident;
mod lock;
mod migrate;
mod open;
mod open_error;
mod options;
mod outbox;
mod page;
mod presence;
mod query;
mod reader;
mod retention;
mod roll;
mod row;
mod term;
mod writer;

pub use backup::{BackupProgress, backup};
pub use backup_error::BackupError;
pub use open_error::OpenError;
pub use options::Options;

/// A [`Store`] in one SQLite file.
///
/// Writes go through one thread in batches: whatever is queued becomes one transaction, and each
/// caller is answered only after that transaction is on disk. Reads go through a second thread with
/// a connection of its own, so that they wait neither for a batch nor on a thread of the runtime.
///
/// Of all stores, in this process or another, at most one has a file open.
///
/// # Cancel safety
///
/// Dropping a future of this store gives up waiting and nothing else: a change that was queued is
/// made, in whole. A future that was dropped before its command was queued has no effect.
///
/// Dropping the store closes it in the background, with all that was queued; use
/// [`close`](Store::close) to wait for the file to be free.
#[derive(Debug)]
pub struct SqliteStore {
    path: Arc<Path>,
    writer: mpsc::Sender<writer::Message>,
    reader: mpsc::Sender<reader::Message>,
    counters: Arc<Counters>,
}

/// What a [`SqliteStore`] has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Changes that were answered, whatever the answer.
    pub commands: u64,
    /// Transactions that were committed for them, each with one flush. Fewer than commands: that is
    /// group commit.
    pub transactions: u64,
    /// Transactions that failed as a whole.
    pub failed_transactions: u64,
    /// Batches that were run a second time, each command in a savepoint of its own, as one of them
    /// failed when it had written already.
    pub isolated_batches: u64,
    /// Slices of work on old history, each a transaction of its own with a flush.
    pub slices: u64,
    /// Lines of history that were added to the counts by minutes, hours and days.
    pub rolled_rows: u64,
    /// Lines of history that were removed by age or with their monitor.
    pub removed_rows: u64,
}

impl SqliteStore {
    /// Opens the database, creates or migrates it, and starts its two threads.
    ///
    /// Blocks for as long as the disk takes; meant for start-up. Needs no runtime.
    ///
    /// # Errors
    ///
    /// The source of the error is an [`OpenError`], whose message says what to do about it. A file
    /// that was refused is as it was.
    pub fn open(options: Options) -> Result<Self, StoreError> {
        let opened = open::open(&options)?;
        let (writer, commands) = mpsc::channel(options.queue.get());
        let (reader, queries) = mpsc::channel(options.queue.get());
        let counters = Arc::new(Counters::default());
        let lock = Arc::new(opened.lock);
        let work = Writer {
            connection: opened.writer,
            file: Presence::of(&opened.path),
            lock: Arc::clone(&lock),
            queue: commands,
            max_batch: options.max_batch.get(),
            retention: Retention::new(&options, opened.max_pages),
            counters: Arc::clone(&counters),
            owed_rows: 0,
        };
        let failed = |source| OpenError::Io {
            path: options.path.clone(),
            source,
        };
        let named = |name: &str| thread::Builder::new().name(name.into());
        named("store-writer").spawn(|| work.run()).map_err(failed)?;
        let connection = opened.reader;
        named("store-reader")
            .spawn(|| reader::run(connection, lock, queries))
            .map_err(failed)?;
        Ok(Self {
            path: opened.path.into(),
            writer,
            reader,
            counters,
        })
    }

    /// Looks for what is wrong with a file, as [`doctor`](Store::doctor) does, without opening it
    /// for writing: another process may have it open. Changes nothing, and blocks for as long as it
    /// takes to read all of it.
    ///
    /// # Errors
    ///
    /// When there is no such file, or it cannot be read at all. A schema that is not of this program
    /// is a defect; what belongs to one is not looked for then.
    pub fn examine(path: &Path) -> Result<Vec<Defect>, StoreError> {
        let defects = doctor::examine_file(path);
        defects.map_err(|failure| failure.into_error("examine the store", &path.into()))
    }

    /// The file, as an absolute path without links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            commands: self.counters.commands.load(Ordering::Relaxed),
            transactions: self.counters.transactions.load(Ordering::Relaxed),
            failed_transactions: self.counters.failed_transactions.load(Ordering::Relaxed),
            isolated_batches: self.counters.isolated_batches.load(Ordering::Relaxed),
            slices: self.counters.slices.load(Ordering::Relaxed),
            rolled_rows: self.counters.rolled_rows.load(Ordering::Relaxed),
            removed_rows: self.counters.removed_rows.load(Ordering::Relaxed),
        }
    }

    /// Copies the database to a new file `to` while commits go on; see [`backup`]. Returns its size
    /// in bytes.
    ///
    /// # Errors
    ///
    /// As [`backup`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future calls the copy off: it ends within a MiB and leaves nothing behind.
    pub async fn backup(
        &self,
        to: impl Into<PathBuf>,
        mut progress: impl FnMut(BackupProgress) + Send + 'static,
    ) -> Result<u64, BackupError> {
        let (from, to) = (Arc::clone(&self.path), to.into());
        let (reply, answer) = oneshot::channel();
        let named = to.clone();
        let work = move || {
            let copied = backup::copy(&from, &to, &mut |now| {
                progress(now);
                !reply.is_closed()
            });
            // Whoever asked may have gone with the last page.
            let _ = reply.send(copied);
        };
        let thread = thread::Builder::new().name("store-backup".into());
        if let Err(error) = thread.spawn(work) {
            return Err(BackupError::io(&named, error));
        }
        // A thread that ends without an answer has panicked in `progress`.
        let answer = answer.await;
        answer.unwrap_or(Err(BackupError::Cancelled { path: named }))
    }

    async fn write<T: Send + 'static>(
        &self,
        action: &'static str,
        hint: Hint,
        change: impl Fn(&Connection) -> Result<Change<T>, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (command, answer) = command(hint, change);
        let sent = self.writer.send(writer::Message::Command(command)).await;
        self.answer(action, sent.is_ok(), answer).await
    }

    async fn read<T: Send + 'static>(
        &self,
        action: &'static str,
        read: impl FnOnce(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (query, answer) = reader::query(read);
        let sent = self.reader.send(reader::Message::Query(query)).await;
        self.answer(action, sent.is_ok(), answer).await
    }

    async fn answer<T>(
        &self,
        action: &'static str,
        was_sent: bool,
        answer: oneshot::Receiver<Result<T, Failure>>,
    ) -> Result<T, StoreError> {
        let answer = match was_sent {
            true => answer.await.unwrap_or(Err(Failure::Closed)),
            false => Err(Failure::Closed),
        };
        answer.map_err(|failure| failure.into_error(action, &self.path))
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self) -> Result<Loaded, StoreError> {
        self.read("load the monitors", query::load).await
    }

    async fn define(&self, monitor: Monitor, epoch: Epoch) -> Result<Status, StoreError> {
        self.write("define a monitor", Hint::None, move |connection| {
            change::define(connection, &monitor, epoch)
        })
        .await
    }

    async fn set_lifecycle(
        &self,
        id: &MonitorId,
        lifecycle: Lifecycle,
        epoch: Epoch,
        due_from_unix_ms: Option<i64>,
    ) -> Result<Option<Status>, StoreError> {
        let id = id.clone();
        self.write("change a monitor", Hint::None, move |connection| {
            change::set_lifecycle(connection, &id, lifecycle, epoch, due_from_unix_ms)
        })
        .await
    }

    async fn delete(&self, id: &MonitorId, epoch: Epoch) -> Result<bool, StoreError> {
        let id = id.clone();
        self.write("delete a monitor", Hint::Deletes, move |connection| {
            change::delete(connection, &id, epoch)
        })
        .await
    }

    async fn commit(&self, record: Record) -> Result<Commit, StoreError> {
        let hint = Hint::Record(record.due_unix_ms);
        self.write("commit a record", hint, move |connection| {
            commit::commit(connection, &record)
        })
        .await
    }

    async fn history(&self, id: &MonitorId, limit: u32) -> Result<Vec<HistoryRow>, StoreError> {
        let id = id.clone();
        self.read("read the history", move |connection| {
            query::history(connection, &id, limit)
        })
        .await
    }

    async fn tally(&self, id: &MonitorId, since_unix_ms: i64) -> Result<Tally, StoreError> {
        let id = id.clone();
        self.read("count the history", move |connection| {
            query::tally(connection, &id, since_unix_ms)
        })
        .await
    }

    async fn incidents(&self, id: &MonitorId, limit: u32) -> Result<Vec<Incident>, StoreError> {
        let id = id.clone();
        self.read("read the incidents", move |connection| {
            query::incidents(connection, &id, limit)
        })
        .await
    }

    async fn buckets(
        &self,
        id: &MonitorId,
        resolution: Resolution,
        unix_ms: Range<i64>,
    ) -> Result<Vec<Bucket>, StoreError> {
        let id = id.clone();
        self.read("read the counts", move |connection| {
            query::buckets(connection, &id, resolution, unix_ms)
        })
        .await
    }

    async fn take_notices(&self, limit: u32, lease: Duration) -> Result<Vec<Delivery>, StoreError> {
        self.write("take notices", Hint::None, move |connection| {
            outbox::take(connection, limit, lease)
        })
        .await
    }

    async fn settle_notice(
        &self,
        delivery: &Delivery,
        settlement: Settlement,
    ) -> Result<bool, StoreError> {
        let delivery = delivery.clone();
        self.write("settle a notice", Hint::None, move |connection| {
            outbox::settle(connection, &delivery, settlement)
        })
        .await
    }

    async fn outbox(&self) -> Result<Outbox, StoreError> {
        self.read("count the notices", |connection| outbox::counts(connection))
            .await
    }

    async fn doctor(&self) -> Result<Vec<Defect>, StoreError> {
        self.read("examine the store", doctor::examine).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        // The reader first, so that the writer's is the last connection and tidies up the log. A
        // thread that has ended already answers by dropping the question.
        let (reply, closed) = oneshot::channel();
        if self
            .reader
            .send(reader::Message::Close(reply))
            .await
            .is_ok()
        {
            let _ = closed.await;
        }
        let (reply, closed) = oneshot::channel();
        if self
            .writer
            .send(writer::Message::Close(reply))
            .await
            .is_ok()
        {
            let _ = closed.await;
        }
        Ok(())
    }
}
