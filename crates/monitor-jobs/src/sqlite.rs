//! Jobs in one SQLite file: one thread that writes, one that reads, any number of processes.
//!
//! Every change is a [command](command) to the writer. Whatever is queued there becomes one
//! transaction, which takes the right to write at its beginning (`BEGIN IMMEDIATE`), so that all
//! transactions of all processes come one after the other. Guards stand in the `WHERE` of the
//! changed row all the same: they say who is entitled, not who comes first.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread;

use tokio::sync::{mpsc, oneshot, watch};

use self::command::{Change, Kind, Tx, command};
use self::failure::Failure;
use self::presence::Presence;
use self::reader::Reader;
use self::writer::{Counters, Writer};
use crate::StoreError;

mod backend;
mod claim;
mod command;
mod doctor;
mod edges;
mod enqueue;
mod failure;
#[cfg(test)]
mod guards;
mod migrate;
mod open;
mod open_error;
mod operate;
mod options;
mod presence;
mod reader;
mod row;
mod schema;
mod session;
mod settle;
mod transaction;
mod urgency;
mod view;
mod worker;
mod writer;

pub use open_error::SqliteOpenError;
pub use options::{Clock, Durability, SqliteOptions};
pub use transaction::{SqliteTransaction, SqliteWrite};

/// Jobs in one SQLite file, which several processes may have open at the same time.
///
/// # Cancel safety
///
/// Dropping a future gives up waiting and nothing else: a change that was queued is made, in whole.
/// A future that was dropped before its command was queued has no effect.
///
/// Dropping the last clone closes the file in the background, with all that was queued; use
/// [`close`](crate::Backend::close) to wait for that.
#[derive(Debug, Clone)]
pub struct SqliteJobs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: Arc<Path>,
    writer: mpsc::Sender<writer::Message>,
    reader: std_mpsc::Sender<reader::Message>,
    counters: Arc<Counters>,
    /// How many wait for something to be ready.
    waiting: Arc<AtomicUsize>,
    wake: watch::Sender<()>,
}

/// What [`SqliteJobs`] have done since they were opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SqliteStats {
    /// Commands that were answered, whatever the answer: one for each call of a function.
    pub commands: u64,
    /// Transactions that were committed for them. Fewer than commands: that is group commit.
    pub transactions: u64,
    /// Transactions that failed as a whole.
    pub failed_transactions: u64,
}

impl SqliteJobs {
    /// Opens the file, creates or migrates it, and starts its two threads.
    ///
    /// Blocks for as long as the disk takes; meant for start-up. Needs no runtime.
    ///
    /// # Errors
    ///
    /// The source of the error is a [`SqliteOpenError`], whose message says what to do about it. A
    /// file that was refused is as it was.
    pub fn open(options: &SqliteOptions) -> Result<Self, StoreError> {
        let opened = open::open(options)?;
        let (writer, commands) = mpsc::channel(options.queue.get());
        let (reader, queries) = std_mpsc::channel();
        let (wake, _) = watch::channel(());
        let shared = Shared {
            path: opened.path.clone().into(),
            writer,
            reader,
            counters: Arc::default(),
            waiting: Arc::default(),
            wake,
        };
        let writer = Writer {
            connection: opened.writer,
            file: Presence::of(&opened.path),
            queue: commands,
            next: std::collections::VecDeque::new(),
            max_batch: options.max_batch.get(),
            patience: options.busy_timeout,
            clock: options.clock.clone(),
            counters: Arc::clone(&shared.counters),
            wake: shared.wake.clone(),
        };
        let reader = Reader {
            seen: reader::version(&opened.reader),
            connection: opened.reader,
            queue: queries,
            clock: options.clock.clone(),
            poll: options.poll,
            waiting: Arc::clone(&shared.waiting),
            wake: shared.wake.clone(),
        };
        let failed = |error| SqliteOpenError::io(&opened.path, &error);
        let named = |name: &str| thread::Builder::new().name(name.into());
        named("jobs-writer")
            .spawn(|| writer.run())
            .map_err(failed)?;
        named("jobs-reader")
            .spawn(|| reader.run())
            .map_err(failed)?;
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The file, as an absolute path without links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> SqliteStats {
        let counters = &self.shared.counters;
        SqliteStats {
            commands: counters.commands.load(Ordering::Relaxed),
            transactions: counters.transactions.load(Ordering::Relaxed),
            failed_transactions: counters.failed_transactions.load(Ordering::Relaxed),
        }
    }

    /// Runs `write` in a transaction of its own, on the thread that writes: statements of the
    /// caller's in the same file, and jobs put in, all or none. To *complete* a job together with
    /// its effects, [`begin`](Self::begin) a transaction.
    ///
    /// An error of `write` is passed on, and everything it did is rolled back; so it is when it
    /// panics. It must not block: nothing else is written meanwhile.
    ///
    /// # Errors
    /// When the database failed: nothing was changed, or everything if the failure is
    /// [ambiguous](crate::StoreErrorKind::Ambiguous).
    pub async fn transact<T, E>(
        &self,
        write: impl FnOnce(&SqliteWrite<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<Result<T, E>, StoreError>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let path = Arc::clone(&self.shared.path);
        self.write("run a transaction", Kind::Alone, move |tx| {
            Ok(match write(&SqliteWrite::new(tx, path)) {
                Ok(value) => Change::Keep(Ok(value)),
                Err(error) => Change::Undo(Err(error)),
            })
        })
        .await
    }

    /// Begins a transaction for [`Claimed::complete_in`](crate::Claimed::complete_in).
    ///
    /// # Errors
    /// When the database failed.
    pub async fn begin(&self) -> Result<SqliteTransaction, StoreError> {
        let (session, steps, begun) = session::session();
        let sent = self.shared.writer.send(writer::Message::Session(session));
        let sent = sent.await.is_ok();
        self.answer("begin a transaction", sent, begun).await?;
        Ok(SqliteTransaction::new(Arc::clone(&self.shared.path), steps))
    }

    async fn write<T: Send + 'static>(
        &self,
        action: &'static str,
        kind: Kind,
        change: impl FnOnce(Tx<'_>) -> Result<Change<T>, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (command, answer) = command(kind, change);
        let sent = self.shared.writer.send(writer::Message::Command(command));
        let sent = sent.await.is_ok();
        self.answer(action, sent, answer).await
    }

    /// A change that is kept whatever it came to.
    async fn change<T: Send + 'static>(
        &self,
        action: &'static str,
        kind: Kind,
        change: impl FnOnce(Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write(action, kind, |tx| change(tx).map(Change::Keep))
            .await
    }

    async fn read<T: Send + 'static>(
        &self,
        action: &'static str,
        read: impl FnOnce(Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (query, answer) = reader::query(read);
        let sent = self.shared.reader.send(reader::Message::Query(query));
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
        answer.map_err(|failure| failure.into_error(action, &self.shared.path))
    }
}
