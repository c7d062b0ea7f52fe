//! Who moves the bytes of a session.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::task::coop::unconstrained;
use tokio_postgres::{AsyncMessage, Connection};
use tracing::Span;

use super::observed::Account;

/// A connection of any kind.
pub(super) trait Drive: Send {
    /// Moves bytes both ways as far as that goes without waiting. Ready when it has ended.
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

impl<S, T> Drive for Connection<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.poll_message(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(AsyncMessage::Notice(notice)))) => {
                    tracing::debug!(%notice, "the server has a notice");
                }
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "the connection has failed");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
            }
        }
    }
}

/// The task that drives a connection, and the means to look after it from outside. Dropping it
/// closes the connection there and then, wherever that happens.
#[derive(Debug)]
pub(super) struct Driver {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    /// None once it has ended. The lock is held while it is driven, which never waits.
    connection: Mutex<Option<Box<dyn Drive>>>,
    /// The task's. Lies apart, so that a wake-up needs no lock of the connection.
    waker: Mutex<Option<Waker>>,
    account: Account,
}

impl Driver {
    /// Drives `connection` on the current runtime.
    pub(super) fn spawn(connection: impl Drive + 'static, account: Account) -> Self {
        let shared = Arc::new(Shared {
            connection: Mutex::new(Some(Box::new(connection))),
            waker: Mutex::new(None),
            account,
        });
        // A runtime that is shut down drops its tasks: the client must learn that nobody drives
        // any more, or its requests would wait for ever.
        let closing = Closing(Arc::clone(&shared));
        // What it logs belongs to whatever the connection was made for.
        let span = Span::current();
        let task = tokio::spawn(poll_fn(move |cx| {
            let _entered = span.enter();
            closing.0.drive_as_the_task(cx)
        }));
        Self { shared, task }
    }

    /// Is the connection alive, idle, outside a transaction and with nothing owed?
    ///
    /// What the client has asked for lies in a queue until the task gets round to it. Therefore
    /// the connection is driven once here and now: what is in the queue is sent, and seen.
    pub(super) fn is_quiescent(&self) -> bool {
        let waker = self.shared.waker().clone();
        // Under the task's own waker, which stays the one to be woken.
        let mut cx = Context::from_waker(waker.as_ref().unwrap_or(Waker::noop()));
        let drive = pin!(unconstrained(poll_fn(|cx| self.shared.drive(cx))));
        if drive.poll(&mut cx).is_ready() {
            // For the task to see the end too.
            cx.waker().wake_by_ref();
            return false;
        }
        self.shared.account.is_quiescent()
    }

    /// Has the connection ended?
    pub(super) fn has_ended(&self) -> bool {
        self.shared.connection().is_none()
    }

    /// Waits until the connection has ended by itself.
    pub(super) async fn ended(&mut self) {
        // An error says that the task panicked or went with its runtime: that is an end too.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.close();
        self.task.abort();
    }
}

impl Shared {
    fn drive_as_the_task(&self, cx: &mut Context<'_>) -> Poll<()> {
        {
            let mut waker = self.waker();
            if !waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()))
            {
                *waker = Some(cx.waker().clone());
            }
        }
        self.drive(cx)
    }

    fn drive(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut connection = self.connection();
        let driven = match connection.as_mut() {
            Some(connection) => connection.drive(cx),
            None => return Poll::Ready(()),
        };
        let ended = driven.is_ready().then(|| connection.take());
        drop(connection);
        // Its destructor runs outside the lock.
        drop(ended);
        driven
    }

    fn close(&self) {
        let connection = self.connection().take();
        drop(connection);
    }

    fn connection(&self) -> MutexGuard<'_, Option<Box<dyn Drive>>> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Closes the connection when its task goes.
struct Closing(Arc<Shared>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}
