//! Who moves the bytes of a session.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::task::coop::unconstrained;
use tokio_postgres::{AsyncMessage, Connection, Notification};
use tracing::Span;

use super::observed::Account;

/// Who is told of notifications.
type Hears = Option<UnboundedSender<Notification>>;

/// A connection of any kind.
pub(super) trait Drive: Send {
    /// Moves bytes both ways as far as that goes without waiting. Ready when it has ended.
    fn drive(&mut self, cx: &mut Context<'_>, hears: &Hears) -> Poll<()>;
}

impl<S, T> Drive for Connection<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    fn drive(&mut self, cx: &mut Context<'_>, hears: &Hears) -> Poll<()> {
        loop {
            match self.poll_message(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(AsyncMessage::Notice(notice)))) => {
                    tracing::debug!(%notice, "the server has a notice");
                }
                Poll::Ready(Some(Ok(AsyncMessage::Notification(notification)))) => {
                    if let Some(hears) = hears {
                        // Nobody listens any more: nobody is told.
                        let _ = hears.send(notification);
                    }
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
    /// The lock is held while it is driven, which never waits.
    connection: Mutex<Driven>,
    /// The task's. Lies apart, so that a wake-up needs no lock of the connection.
    waker: Mutex<Option<Waker>>,
    account: Account,
}

struct Driven {
    /// None once it has ended.
    connection: Option<Box<dyn Drive>>,
    hears: Hears,
}

impl Driver {
    /// Drives `connection` on the current runtime.
    pub(super) fn spawn(connection: impl Drive + 'static, account: Account) -> Self {
        let shared = Arc::new(Shared {
            connection: Mutex::new(Driven {
                connection: Some(Box::new(connection)),
                hears: None,
            }),
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
        self.shared.connection().connection.is_none()
    }

    /// Who is told of notifications from now on.
    pub(super) fn notifications(&self) -> UnboundedReceiver<Notification> {
        let (hears, heard) = unbounded_channel();
        let mut driven = self.shared.connection();
        let before = if driven.connection.is_some() {
            driven.hears.replace(hears)
        } else {
            // It has ended: so has what is heard.
            None
        };
        drop(driven);
        drop(before);
        heard
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
        let mut driven = self.connection();
        let Driven { connection, hears } = &mut *driven;
        let driving = match connection.as_mut() {
            Some(connection) => connection.drive(cx, hears),
            None => return Poll::Ready(()),
        };
        let ended = driving
            .is_ready()
            .then(|| (connection.take(), hears.take()));
        drop(driven);
        // Its destructor runs outside the lock.
        drop(ended);
        driving
    }

    fn close(&self) {
        let mut driven = self.connection();
        let ended = (driven.connection.take(), driven.hears.take());
        drop(driven);
        drop(ended);
    }

    fn connection(&self) -> MutexGuard<'_, Driven> {
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
