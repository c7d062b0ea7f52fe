//! The reader: a second thread with a read-only connection, so that no view waits for a batch and
//! none blocks the runtime. While somebody waits for jobs, it also looks whether another process
//! has changed the file.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::command::Tx;
use super::failure::Failure;
use super::options::Clock;

/// What the reader is sent.
pub(crate) enum Message {
    Query(Query),
    /// Somebody waits: look at the file from now on.
    Watch,
    /// Answered when the connection is closed.
    Close(oneshot::Sender<()>),
}

/// A read together with the answer to whoever waits for it. Dropped unrun, it answers "closed".
pub(crate) type Query = Box<dyn FnOnce(Tx<'_>) + Send>;

/// A query of `read`, and where its answer will arrive.
pub(crate) fn query<T: Send + 'static>(
    read: impl FnOnce(Tx<'_>) -> Result<T, Failure> + Send + 'static,
) -> (Query, oneshot::Receiver<Result<T, Failure>>) {
    let (reply, answer) = oneshot::channel();
    let query = move |tx: Tx<'_>| {
        // Not worth the work when nobody waits any more.
        if !reply.is_closed() {
            let _ = reply.send(read(tx));
        }
    };
    (Box::new(query), answer)
}

pub(crate) struct Reader {
    pub(crate) connection: Connection,
    pub(crate) queue: Receiver<Message>,
    pub(crate) clock: Clock,
    pub(crate) poll: Duration,
    pub(crate) waiting: Arc<AtomicUsize>,
    pub(crate) wake: watch::Sender<()>,
    /// The version of the file before anybody could wait: what comes after it is news, however late
    /// the thread begins.
    pub(crate) seen: Option<i64>,
}

impl Reader {
    /// Works until it is closed or every sender is gone.
    pub(crate) fn run(mut self) {
        let closing = loop {
            match self.next() {
                Ok(Message::Query(query)) => self.answer(query),
                Ok(Message::Close(reply)) => break Some(reply),
                Err(RecvTimeoutError::Disconnected) => break None,
                Ok(Message::Watch) | Err(RecvTimeoutError::Timeout) => {}
            }
            // After queries too: they may come so thick that there is never a pause.
            let version = version(&self.connection);
            if version != self.seen {
                self.seen = version;
                self.wake.send_replace(());
            }
        };
        drop(self.connection);
        if let Some(reply) = closing {
            // Whoever asked may have gone.
            let _ = reply.send(());
        }
    }

    fn next(&self) -> Result<Message, RecvTimeoutError> {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            return self.queue.recv_timeout(self.poll);
        }
        self.queue
            .recv()
            .map_err(|_gone| RecvTimeoutError::Disconnected)
    }

    /// One snapshot for all statements of a query.
    fn answer(&self, query: Query) {
        let now = self.clock.now_unix_ms();
        let snapshot = self.connection.unchecked_transaction();
        // Without one, the statements fail in the same way, and say so to whoever asked.
        let sql = snapshot.as_deref().unwrap_or(&self.connection);
        query(Tx { sql, now });
    }
}

/// Changes whenever another connection has committed. A failure counts as a change: whoever waits
/// looks for itself.
pub(crate) fn version(connection: &Connection) -> Option<i64> {
    connection
        .pragma_query_value(None, "data_version", |row| row.get(0))
        .ok()
}
