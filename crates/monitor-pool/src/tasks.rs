//! The pool's own tasks: to connect, to check, to close.
//!
//! Each holds the right to its slot in a guard, made before the task is: whether the task ends,
//! panics, or is dropped with its runtime before it has begun, the slot is given back.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use tokio::time::timeout;

use crate::{
    CloseReason, ConnectError, ConnectionId, Event, Manager,
    kernel::{ConnectTicket, SlotId},
    shared::{Carrier, Shared, quietly},
};

/// Connects, for whoever has waited longest by the time it is done.
pub(crate) fn connect<M: Manager>(
    shared: Arc<Shared<M>>,
    ticket: ConnectTicket,
) -> impl Future<Output = ()> + Send {
    let guard = ConnectGuard {
        shared,
        ticket: Some(ticket),
    };
    async move {
        let shared = Arc::clone(&guard.shared);
        let started = shared.clock.exact();
        let limit = shared.settings.connect_timeout;
        let attempt = timeout(limit, async { shared.manager.connect().await });
        match until(attempt, shared.stopped()).await {
            // The pool is being closed: the guard gives the slot back.
            None => {}
            Some(Ok(Ok(connection))) => {
                let took = shared.clock.exact().since(started).duration();
                guard.succeed(connection, took);
            }
            Some(Ok(Err(error))) => {
                let mut permanent = false;
                quietly("is_permanent", || {
                    permanent = shared.manager.is_permanent(&error);
                });
                guard.fail(ConnectError::Manager(Arc::new(error)), permanent);
            }
            Some(Err(_)) => guard.fail(ConnectError::TimedOut(limit), false),
        }
    }
}

/// Checks an idle connection, and hands it to whoever has waited longest.
pub(crate) fn check<M: Manager>(carrier: Carrier<M>) -> impl Future<Output = ()> + Send {
    let mut guard = Guard::new(carrier, Purpose::Check);
    async move {
        let shared = Arc::clone(&guard.shared);
        let Some(connection) = guard.connection.take() else {
            return;
        };
        let limit = shared.settings.check_timeout;
        let check = timeout(limit, async { shared.manager.check(connection).await });
        match until(check, shared.stopped()).await {
            Some(Ok(Ok(connection))) => guard.pass(connection),
            Some(Ok(Err(error))) => guard.tell_failed(Some(&error)),
            Some(Err(_)) | None => guard.tell_failed(None),
        }
    }
}

/// Says goodbye to a connection; only then its slot is free.
pub(crate) fn close<M: Manager>(
    carrier: Carrier<M>,
    reason: CloseReason,
) -> impl Future<Output = ()> + Send {
    let mut guard = Guard::new(carrier, Purpose::Close);
    async move {
        let shared = Arc::clone(&guard.shared);
        let Some(connection) = guard.connection.take() else {
            return;
        };
        shared.tell_closing(guard.number, reason);
        let limit = shared.settings.close_timeout;
        let goodbye = async { shared.manager.close(connection).await };
        if timeout(limit, goodbye).await.is_err() {
            let connection = ConnectionId(guard.number);
            tracing::warn!(
                pool = %shared.settings.name, %connection, ?limit, "dropped at close_timeout"
            );
        }
    }
}

/// The right to fill a slot.
struct ConnectGuard<M: Manager> {
    shared: Arc<Shared<M>>,
    ticket: Option<ConnectTicket>,
}

impl<M: Manager> ConnectGuard<M> {
    fn succeed(mut self, connection: M::Connection, took: std::time::Duration) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let shared = &self.shared;
        let id = ConnectionId(ticket.number);
        tracing::debug!(pool = %shared.settings.name, connection = %id, ?took, "connected");
        shared.tell(&Event::Connected {
            connection: id,
            took,
        });
        let carrier = Box::new(Carrier {
            connection,
            shared: Arc::clone(shared),
            slot: ticket.slot,
            number: ticket.number,
        });
        let now = shared.clock.exact();
        shared.step_in_runtime(now, |core, actions| {
            let rng = &mut core.rng;
            core.kernel.connected(&ticket, carrier, now, rng, actions);
        });
    }

    fn fail(mut self, error: ConnectError<M::Error>, permanent: bool) {
        self.fail_now(error, permanent);
    }

    fn fail_now(&mut self, error: ConnectError<M::Error>, permanent: bool) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let shared = &self.shared;
        let connection = ConnectionId(ticket.number);
        tracing::warn!(
            pool = %shared.settings.name, %connection, %error, permanent, "cannot connect"
        );
        shared.tell(&Event::ConnectFailed {
            connection,
            error: &error,
        });
        let now = shared.clock.exact();
        shared.step(now, |core, actions| {
            let rng = &mut core.rng;
            core.kernel
                .connect_failed(&ticket, error, permanent, now, rng, actions);
        });
    }
}

impl<M: Manager> Drop for ConnectGuard<M> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.fail_now(ConnectError::Panicked, false);
        }
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let now = self.shared.clock.exact();
        self.shared.step(now, |core, actions| {
            core.kernel.connect_dropped(&ticket, now, actions);
        });
    }
}

/// What a guard's slot becomes when the connection is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Check,
    Close,
}

/// The right to a slot whose connection is out of the kernel.
struct Guard<M: Manager> {
    shared: Arc<Shared<M>>,
    /// There until the task begins.
    connection: Option<M::Connection>,
    slot: SlotId,
    number: u64,
    /// None once the slot is given back.
    purpose: Option<Purpose>,
}

impl<M: Manager> Guard<M> {
    fn new(carrier: Carrier<M>, purpose: Purpose) -> Self {
        let Carrier {
            connection,
            shared,
            slot,
            number,
        } = carrier;
        Self {
            shared,
            connection: Some(connection),
            slot,
            number,
            purpose: Some(purpose),
        }
    }

    fn pass(mut self, connection: M::Connection) {
        self.purpose = None;
        let carrier = Box::new(Carrier {
            connection,
            shared: Arc::clone(&self.shared),
            slot: self.slot,
            number: self.number,
        });
        let now = self.shared.clock.exact();
        self.shared.step_in_runtime(now, |core, actions| {
            core.kernel.checked(self.slot, carrier, now, actions);
        });
    }

    fn tell_failed(&self, error: Option<&M::Error>) {
        let connection = ConnectionId(self.number);
        tracing::info!(
            pool = %self.shared.settings.name,
            %connection,
            error = error.map(tracing::field::display),
            "connection failed its check"
        );
        self.shared.tell(&Event::CheckFailed {
            connection,
            error: error.map(|error| error as _),
        });
    }
}

impl<M: Manager> Drop for Guard<M> {
    fn drop(&mut self) {
        let Some(purpose) = self.purpose else { return };
        // First the connection, then its slot: never more than the maximum, also then.
        let connection = self.connection.take();
        quietly("dropping a connection", || drop(connection));
        let now = self.shared.clock.exact();
        self.shared.step(now, |core, actions| match purpose {
            Purpose::Check => core.kernel.check_failed(self.slot, now, actions),
            Purpose::Close => core.kernel.closed(self.slot, now, actions),
        });
    }
}

/// Waits for `work`, but only until `end`.
async fn until<T>(work: impl Future<Output = T>, end: impl Future<Output = ()>) -> Option<T> {
    let (mut work, mut end) = (pin!(work), pin!(end));
    poll_fn(|cx| {
        if let Poll::Ready(result) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(result));
        }
        end.as_mut().poll(cx).map(|()| None)
    })
    .await
}
