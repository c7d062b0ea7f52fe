//! The writer: one thread, the only one that changes the file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use monitor_model::StoreErrorKind;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::command::{Command, Hint};
use super::failure::Failure;
use super::lock::Lock;
use super::presence::Presence;
use super::retention::{Retention, SLICE_ROWS};

/// Under load so many old rows may be worked on for each command, without load as many as there are. A
/// line is rolled up and removed once, so that work on old rows gains on whatever is written.
const OLD_ROWS_PER_COMMAND: usize = 4;

/// What the writer is sent.
pub(crate) enum Message {
    Command(Box<dyn Command>),
    /// Answered when the file is closed and free.
    Close(oneshot::Sender<()>),
}

/// What the writer has done since it was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commands: AtomicU64,
    pub(crate) transactions: AtomicU64,
    pub(crate) failed_transactions: AtomicU64,
    pub(crate) isolated_batches: AtomicU64,
    pub(crate) slices: AtomicU64,
    pub(crate) rolled_rows: AtomicU64,
    pub(crate) removed_rows: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
}

pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) file: Presence,
    pub(crate) lock: Arc<Lock>,
    pub(crate) queue: mpsc::Receiver<Message>,
    pub(crate) max_batch: usize,
    pub(crate) retention: Retention,
    pub(crate) counters: Arc<Counters>,
    /// Old rows that may be worked on before the next batch.
    pub(crate) owed_rows: usize,
}

impl Writer {
    /// Works until it is closed or every sender is gone.
    pub(crate) fn run(mut self) {
        let mut closing = Vec::new();
        while closing.is_empty()
            && let Some(message) = self.next()
        {
            let mut batch = Vec::new();
            self.collect(message, &mut batch, &mut closing);
            self.execute(batch);
        }
        self.close(closing);
    }

    /// The next message; while there is none, the removal of old rows.
    fn next(&mut self) -> Option<Message> {
        if !self.retention.is_pending() {
            self.owed_rows = 0;
        }
        while self.owed_rows >= SLICE_ROWS && self.retention.is_pending() {
            self.owed_rows -= SLICE_ROWS;
            self.slice();
        }
        loop {
            match self.queue.try_recv() {
                Ok(message) => return Some(message),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) if self.retention.is_pending() => self.slice(),
                Err(TryRecvError::Empty) => return self.queue.blocking_recv(),
            }
        }
    }

    /// Takes what else is queued, up to the size of a batch or a request to close.
    fn collect(
        &mut self,
        first: Message,
        batch: &mut Vec<Box<dyn Command>>,
        closing: &mut Vec<oneshot::Sender<()>>,
    ) {
        let mut next = Some(first);
        while let Some(message) = next.take() {
            match message {
                Message::Command(command) => batch.push(command),
                Message::Close(reply) => return closing.push(reply),
            }
            if batch.len() < self.max_batch {
                next = self.queue.try_recv().ok();
            }
        }
    }

    fn execute(&mut self, mut batch: Vec<Box<dyn Command>>) {
        if batch.is_empty() {
            return;
        }
        let end = self.transact(&mut batch);
        match &end {
            Ok(()) => Counters::add(&self.counters.transactions, 1),
            Err(failure) => {
                Counters::add(&self.counters.failed_transactions, 1);
                if failure.kind() == StoreErrorKind::Full {
                    self.retention.request();
                }
                tracing::debug!(%failure, commands = batch.len(), "nothing of a batch was written");
            }
        }
        Counters::add(&self.counters.commands, batch.len());
        self.owed_rows += batch.len() * OLD_ROWS_PER_COMMAND;
        for command in batch {
            match command.hint() {
                Hint::Record(due_unix_ms) => self.retention.record(due_unix_ms),
                Hint::Deletes => self.retention.request(),
                Hint::None => {}
            }
            command.answer(end.clone());
        }
    }

    /// One transaction for all that is kept. What one command wrote and may not stand is taken back
    /// without the others.
    fn transact(&mut self, batch: &mut [Box<dyn Command>]) -> Result<(), Failure> {
        self.file.check()?;
        if !self.connection.is_autocommit() {
            // A rollback failed before.
            self.connection.execute_batch("ROLLBACK")?;
        }
        if self.together(batch)? {
            return Ok(());
        }
        Counters::add(&self.counters.isolated_batches, 1);
        self.apart(batch)
    }

    /// Runs the commands one after the other. A command that is refused has written nothing, so
    /// there is nothing to take back; that is looked at, not trusted. False, and nothing is written,
    /// when one had.
    fn together(&mut self, batch: &mut [Box<dyn Command>]) -> Result<bool, Failure> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for command in batch {
            let before = transaction.total_changes();
            let is_kept = matches!(command.run(&transaction), Ok(true));
            let has_written = transaction.total_changes() != before;
            // Some failures end the whole transaction at once.
            if transaction.is_autocommit() || (!is_kept && has_written) {
                return Ok(false);
            }
        }
        transaction.commit()?;
        Ok(true)
    }

    /// As [`together`](Self::together), each command in a savepoint of its own.
    fn apart(&mut self, batch: &mut [Box<dyn Command>]) -> Result<(), Failure> {
        let mut transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for command in batch {
            let savepoint = transaction.savepoint()?;
            match command.run(&savepoint) {
                Ok(true) => savepoint.commit()?,
                Ok(false) => savepoint.finish()?,
                Err(failure) if savepoint.is_autocommit() => return Err(failure),
                Err(_) => savepoint.finish()?,
            }
        }
        Ok(transaction.commit()?)
    }

    fn slice(&mut self) {
        let is_there = self.file.check();
        match is_there.and_then(|()| self.retention.slice(&mut self.connection, now_unix_ms())) {
            Ok(done) => {
                Counters::add(&self.counters.slices, 1);
                Counters::add(&self.counters.rolled_rows, done.rolled);
                Counters::add(&self.counters.removed_rows, done.removed);
            }
            Err(failure) => {
                // A busy or full file is tried again with the next round.
                tracing::warn!(%failure, "cannot remove old history");
                self.retention.abandon();
            }
        }
    }

    /// Refuses what is still queued, closes the file, gives the right to it back, in this order.
    fn close(mut self, mut closing: Vec<oneshot::Sender<()>>) {
        self.queue.close();
        while let Some(message) = self.queue.blocking_recv() {
            match message {
                Message::Command(command) => command.answer(Err(Failure::Closed)),
                Message::Close(reply) => closing.push(reply),
            }
        }
        // The last connection to close writes the log back into the file. Should that fail, all
        // is still in the log and is found at the next opening.
        if let Err((_, error)) = self.connection.close() {
            let kind: StoreErrorKind = super::failure::kind(&error);
            tracing::warn!(%error, ?kind, "cannot close the database in order");
        }
        drop(self.lock);
        for reply in closing {
            // Whoever asked may have gone.
            let _ = reply.send(());
        }
    }
}

pub(crate) fn now_unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
