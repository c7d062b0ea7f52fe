//! The writer: one task, the only one that commits records. Whatever is queued becomes one
//! transaction.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use monitor_model::{Commit, MonitorId, Record};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::batch::{self, Doubts};
use super::failure::Failure;
use super::roll::{self, Retention};
use super::session::Database;

/// Under load a slice of removal comes after this many batches; without load, at once.
const BATCHES_PER_SLICE: u32 = 16;
/// Between two attempts at a batch that may come through.
const RETRY_EVERY: Duration = Duration::from_millis(50);

/// What the writer is sent.
pub(super) enum Message {
    Commit(Box<Asked>),
    /// This monitor was deleted: there is something to remove, and nothing to remember.
    Deleted(MonitorId),
    /// Answered when nothing more will be written.
    Close(oneshot::Sender<()>),
}

/// A record together with whoever waits for it.
pub(super) struct Asked {
    pub(super) record: Record,
    pub(super) reply: oneshot::Sender<Result<Commit, Failure>>,
    /// Until then it is tried.
    pub(super) until: Instant,
}

/// What the writer has done since the store was opened.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) commands: AtomicU64,
    pub(super) transactions: AtomicU64,
    pub(super) failed_transactions: AtomicU64,
    pub(super) removed_rows: AtomicU64,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

pub(super) struct Writer {
    pub(super) database: Arc<Database>,
    pub(super) queue: mpsc::Receiver<Message>,
    pub(super) max_batch: usize,
    pub(super) retention: Retention,
    pub(super) counters: Arc<Counters>,
    pub(super) waiting: VecDeque<Asked>,
    pub(super) doubts: Doubts,
    pub(super) closing: Vec<oneshot::Sender<()>>,
    pub(super) batches_since_slice: u32,
}

impl Writer {
    /// Works until it is closed or every sender is gone.
    pub(super) async fn run(mut self) {
        while self.receive().await {
            while !self.waiting.is_empty() {
                self.fill();
                self.write().await;
                if self.batches_since_slice >= BATCHES_PER_SLICE {
                    self.slice().await;
                }
            }
            if !self.closing.is_empty() {
                break;
            }
        }
        self.queue.close();
        while let Some(message) = self.queue.recv().await {
            match message {
                Message::Commit(asked) => drop(asked.reply.send(Err(Failure::Closed))),
                Message::Close(reply) => self.closing.push(reply),
                Message::Deleted(_) => {}
            }
        }
        for reply in self.closing {
            // Whoever asked may have gone.
            let _ = reply.send(());
        }
    }

    /// Waits for something to do; while there is nothing, removes old rows. False at the end.
    async fn receive(&mut self) -> bool {
        loop {
            match self.queue.try_recv() {
                Ok(message) => {
                    self.accept(message);
                    return true;
                }
                Err(mpsc::error::TryRecvError::Disconnected) => return false,
                Err(mpsc::error::TryRecvError::Empty) if self.retention.is_pending() => {
                    self.slice().await;
                }
                Err(mpsc::error::TryRecvError::Empty) => {
                    let message = self.queue.recv().await;
                    return message.map(|message| self.accept(message)).is_some();
                }
            }
        }
    }

    fn accept(&mut self, message: Message) {
        match message {
            Message::Commit(asked) => {
                self.retention.record(asked.record.due_unix_ms);
                self.waiting.push_back(*asked);
            }
            Message::Deleted(monitor) => {
                self.doubts.remove(&monitor);
                self.retention.request();
            }
            Message::Close(reply) => self.closing.push(reply),
        }
    }

    /// Takes what else is queued, up to a request to close.
    fn fill(&mut self) {
        while self.waiting.len() < self.max_batch && self.closing.is_empty() {
            match self.queue.try_recv() {
                Ok(message) => self.accept(message),
                Err(_) => return,
            }
        }
    }

    /// The next batch: the oldest record of each monitor.
    fn batch(&mut self) -> Vec<Asked> {
        let mut monitors: HashSet<MonitorId> = HashSet::new();
        let (mut batch, mut later) = (Vec::new(), VecDeque::new());
        for asked in self.waiting.drain(..) {
            if batch.len() < self.max_batch && monitors.insert(asked.record.monitor.clone()) {
                batch.push(asked);
            } else {
                later.push_back(asked);
            }
        }
        self.waiting = later;
        batch
    }

    async fn write(&mut self) {
        let batch = self.batch();
        self.batches_since_slice += 1;
        let failure = match self.attempt(&batch).await {
            Ok(answers) => return self.answer(batch, answers.into_iter().map(Ok)),
            Err(failure) => failure,
        };
        add(&self.counters.failed_transactions, 1);
        let records = batch.len();
        tracing::debug!(%failure, records, "nothing of a batch was written");
        if failure.may_pass() {
            return self.put_off(batch, &failure).await;
        }
        if records == 1 || matches!(failure, Failure::TakenOver { .. } | Failure::Closed) {
            return self.answer(batch, std::iter::repeat(Err(failure)));
        }
        self.write_apart(batch).await;
    }

    /// One of them is to blame: the others shall not suffer for it. A failure that may pass is none
    /// of theirs, and would be that of all that follow: those that are left are put off together.
    async fn write_apart(&mut self, batch: Vec<Asked>) {
        let mut left = batch.into_iter();
        while let Some(asked) = left.next() {
            let answer = match self.attempt(std::slice::from_ref(&asked)).await {
                Ok(mut answers) => answers.pop().ok_or(Failure::Closed),
                Err(failure) if failure.may_pass() => {
                    let again = std::iter::once(asked).chain(left).collect();
                    return self.put_off(again, &failure).await;
                }
                Err(failure) => Err(failure),
            };
            self.answer(vec![asked], std::iter::once(answer));
        }
    }

    async fn attempt(&mut self, batch: &[Asked]) -> Result<Vec<Commit>, Failure> {
        let records: Vec<_> = batch.iter().map(|asked| &asked.record).collect();
        let horizons = self.retention.horizons;
        let answers = batch::commit(&self.database, &horizons, &mut self.doubts, &records).await?;
        add(&self.counters.transactions, 1);
        Ok(answers)
    }

    fn answer(&self, batch: Vec<Asked>, answers: impl Iterator<Item = Result<Commit, Failure>>) {
        add(&self.counters.commands, batch.len() as u64);
        for (asked, answer) in batch.into_iter().zip(answers) {
            // Whoever asked may have gone: what was written stands all the same.
            let _ = asked.reply.send(answer);
        }
    }

    /// Keeps what has time left for another attempt, in its place before all others.
    async fn put_off(&mut self, batch: Vec<Asked>, failure: &Failure) {
        let now = Instant::now();
        let is_in_time = |asked: &Asked| asked.until > now && !asked.reply.is_closed();
        let (again, late): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_in_time);
        self.answer(late, std::iter::repeat(Err(failure.clone())));
        if !again.is_empty() {
            for asked in again.into_iter().rev() {
                self.waiting.push_front(asked);
            }
            sleep(RETRY_EVERY).await;
        }
    }

    async fn slice(&mut self) {
        self.batches_since_slice = 0;
        let now = roll::now_unix_ms();
        match self.retention.slice(&self.database, now).await {
            Ok(removed) => add(&self.counters.removed_rows, removed),
            Err(failure) => {
                // Tried again with the next round.
                tracing::warn!(%failure, "cannot remove old history");
                self.retention.abandon();
            }
        }
    }
}

#[cfg(test)]
mod tests;
