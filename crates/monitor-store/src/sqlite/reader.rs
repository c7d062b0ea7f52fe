//! The reader: a second thread with a read-only connection, so that no read waits for a batch and
//! none blocks the runtime.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::failure::Failure;
use super::lock::Lock;

/// What the reader is sent.
pub(crate) enum Message {
    Query(Query),
    /// Answered when the connection is closed.
    Close(oneshot::Sender<()>),
}

/// A read together with the answer to whoever waits for it. Dropped unrun, it answers "closed".
pub(crate) type Query = Box<dyn FnOnce(&mut Connection) + Send>;

/// A query of `read`, and where its answer will arrive.
pub(crate) fn query<T: Send + 'static>(
    read: impl FnOnce(&mut Connection) -> Result<T, Failure> + Send + 'static,
) -> (Query, oneshot::Receiver<Result<T, Failure>>) {
    let (reply, answer) = oneshot::channel();
    let query = move |connection: &mut Connection| {
        // Not worth the work when nobody waits any more.
        if !reply.is_closed() {
            let _ = reply.send(read(connection));
        }
    };
    (Box::new(query), answer)
}

/// Works until it is closed or every sender is gone.
pub(crate) fn run(mut connection: Connection, lock: Arc<Lock>, mut queue: mpsc::Receiver<Message>) {
    let mut closing = None;
    while let Some(message) = queue.blocking_recv() {
        match message {
            Message::Query(query) => query(&mut connection),
            Message::Close(reply) => {
                closing = Some(reply);
                break;
            }
        }
    }
    drop(connection);
    drop(lock);
    drop(queue);
    if let Some(reply) = closing {
        // Whoever asked may have gone.
        let _ = reply.send(());
    }
}
