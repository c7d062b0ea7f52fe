//! The writer: one thread, the only one of this process that changes the file.
//!
//! Other processes may have writers of their own. They take turns: each transaction takes the
//! file's one right to write at its beginning and waits for it no longer than the busy timeout.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

use super::command::{Command, Kind, Tx};
use super::failure::Failure;
use super::options::Clock;
use super::presence::Presence;
use super::session::Session;

/// What the writer is sent.
pub(crate) enum Message {
    Command(Box<dyn Command>),
    /// A transaction whose steps its owner sends one by one.
    Session(Session),
    /// Answered when the file is closed.
    Close(oneshot::Sender<()>),
}

/// What the writer has done since it was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commands: AtomicU64,
    pub(crate) transactions: AtomicU64,
    pub(crate) failed_transactions: AtomicU64,
}

pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) file: Presence,
    pub(crate) queue: mpsc::Receiver<Message>,
    /// Taken from the queue, and not to be mixed with what came before it.
    pub(crate) next: VecDeque<Message>,
    pub(crate) max_batch: usize,
    pub(crate) patience: Duration,
    pub(crate) clock: Clock,
    pub(crate) counters: Arc<Counters>,
    pub(crate) wake: watch::Sender<()>,
}

impl Writer {
    /// Works until it is closed or every sender is gone.
    pub(crate) fn run(mut self) {
        let mut closing = Vec::new();
        while closing.is_empty()
            && let Some(message) = self.take()
        {
            match message {
                Message::Command(command) => {
                    let batch = self.collect(command);
                    self.execute(batch);
                }
                Message::Session(session) => self.serve(session),
                Message::Close(reply) => closing.push(reply),
            }
        }
        self.close(closing);
    }

    fn take(&mut self) -> Option<Message> {
        self.next.pop_front().or_else(|| self.queue.blocking_recv())
    }

    /// Adds what else is queued, up to the size of a batch or to what must be alone.
    fn collect(&mut self, first: Box<dyn Command>) -> Vec<Box<dyn Command>> {
        let mut room = match first.kind() {
            Kind::Alone => 0,
            Kind::Quiet | Kind::Wakes => self.max_batch - 1,
        };
        let mut batch = vec![first];
        while room > 0
            && let Ok(message) = self.queue.try_recv()
        {
            match message {
                Message::Command(command) if command.kind() != Kind::Alone => batch.push(command),
                other => {
                    self.next.push_back(other);
                    break;
                }
            }
            room -= 1;
        }
        batch
    }

    fn execute(&mut self, mut batch: Vec<Box<dyn Command>>) {
        let end = self.transact(&mut batch);
        self.count(batch.len(), &end);
        let wakes = batch.iter().any(|command| command.kind() != Kind::Quiet);
        for command in batch {
            command.answer(end.clone());
        }
        if wakes && end.is_ok() {
            self.wake.send_replace(());
        }
    }

    fn count(&self, commands: usize, end: &Result<(), Failure>) {
        let Counters {
            commands: answered,
            transactions,
            failed_transactions,
        } = &*self.counters;
        answered.fetch_add(commands as u64, Ordering::Relaxed);
        match end {
            Ok(()) => transactions.fetch_add(1, Ordering::Relaxed),
            Err(failure) => {
                tracing::debug!(%failure, commands, "nothing of a batch was written");
                failed_transactions.fetch_add(1, Ordering::Relaxed)
            }
        };
    }

    /// One transaction, with a savepoint for each command: what one command wrote can be taken
    /// back alone, and all that is kept becomes durable together.
    fn transact(&mut self, batch: &mut [Box<dyn Command>]) -> Result<(), Failure> {
        self.file.check()?;
        let mut transaction = begin(&mut self.connection)?;
        // Not before: transactions of other processes may have come between, and no job may begin
        // before the parent ended that it waited for.
        let now = self.clock.now_unix_ms();
        for command in batch {
            step(&mut transaction, command.as_mut(), now)?;
        }
        commit(transaction)
    }

    /// Lets the owner of a session make its steps. Nothing else is written meanwhile, so a session
    /// that falls silent is rolled back.
    fn serve(&mut self, session: Session) {
        let begun = self.file.check();
        let end = match begun.and_then(|()| begin(&mut self.connection)) {
            Ok(transaction) => session.serve(transaction, self.clock.now_unix_ms(), self.patience),
            Err(failure) => session.refuse(failure),
        };
        self.count(1, &end);
        if end.is_ok() {
            self.wake.send_replace(());
        }
    }

    /// Refuses what is still queued and closes the file.
    fn close(mut self, mut closing: Vec<oneshot::Sender<()>>) {
        self.queue.close();
        while let Some(message) = self.take() {
            match message {
                Message::Command(command) => command.answer(Err(Failure::Closed)),
                Message::Session(session) => {
                    // Its owner was told; there is nobody else to tell.
                    let _ = session.refuse(Failure::Closed);
                }
                Message::Close(reply) => closing.push(reply),
            }
        }
        // The last connection to close writes the log back into the file. Should that fail, all
        // is still in the log and is found at the next opening.
        if let Err((_, error)) = self.connection.close() {
            tracing::warn!(%error, "cannot close the jobs in order");
        }
        for reply in closing {
            // Whoever asked may have gone.
            let _ = reply.send(());
        }
    }
}

fn begin(connection: &mut Connection) -> Result<Transaction<'_>, Failure> {
    if !connection.is_autocommit() {
        // A rollback failed before.
        connection.execute_batch("ROLLBACK")?;
    }
    Ok(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

/// Runs one command within a transaction. An error is one of the transaction as a whole.
pub(crate) fn step(
    transaction: &mut Transaction<'_>,
    command: &mut dyn Command,
    now: i64,
) -> Result<(), Failure> {
    let savepoint = transaction.savepoint()?;
    let sql = &*savepoint;
    let end = command.run(Tx { sql, now });
    if savepoint.is_autocommit() {
        // Some failures end the whole transaction at once; so may the SQL of a caller.
        return Err(end.err().unwrap_or(Failure::EndedByCaller));
    }
    match end {
        Ok(true) => savepoint.commit()?,
        Ok(false) | Err(_) => savepoint.finish()?,
    }
    Ok(())
}

pub(crate) fn commit(transaction: Transaction<'_>) -> Result<(), Failure> {
    transaction
        .commit()
        .map_err(|error| Failure::of_commit(&error))
}
