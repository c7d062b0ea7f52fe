//! To acquire: the future between a caller and its connection.

use std::{
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use crate::{
    AcquireError, ConnectionId, Event, Manager, Object,
    caller::Caller,
    driver,
    gate::Locked,
    kernel::{self, Acquired, Actions, Failure, Span, Tick, WaiterId},
    shared::{Carrier, Cause, Shared},
};

/// Waits for a connection. Made by [`Pool::acquire`](crate::Pool::acquire).
///
/// The time runs from the first poll on.
///
/// # Cancel safety
/// To drop it loses the place in the queue, and nothing else: a connection that was on its way to
/// it goes to who waits next, a check or an attempt to connect goes on for whoever needs it.
#[must_use = "a future does nothing unless it is polled"]
pub struct Acquire<'a, M: Manager> {
    shared: &'a Arc<Shared<M>>,
    site: &'static Location<'static>,
    timeout: Span,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    New,
    Waiting(WaiterId),
    Done,
}

impl<'a, M: Manager> Acquire<'a, M> {
    #[inline]
    pub(crate) fn new(
        shared: &'a Arc<Shared<M>>,
        site: &'static Location<'static>,
        timeout: Span,
    ) -> Self {
        Self {
            shared,
            site,
            timeout,
            state: State::New,
        }
    }

    /// The first poll where nothing is idle: takes a place in the queue, or gets to know why not.
    #[cold]
    #[inline(never)]
    fn begin(
        &mut self,
        caller: Caller,
        waker: Waker,
    ) -> Poll<Result<Object<M>, AcquireError<M::Error>>> {
        if !driver::ensure(self.shared) {
            drop(waker);
            let refusal = match self.shared.lock().kernel.phase() {
                crate::Phase::Open => AcquireError::NoRuntime,
                _ => AcquireError::Closed,
            };
            return Poll::Ready(self.refused(refusal, Span(0)));
        }
        // Read anew: to find a driver may have been to find that tokio's clock is paused, and a
        // deadline by the one clock would mean nothing to the other.
        let now = self.shared.clock.coarse();
        let deadline = self.deadline(now);
        let answer = self.shared.step_in_runtime(now, |core, actions| {
            core.kernel.acquire(now, deadline, caller, waker, actions)
        });
        self.answered(now, answer)
    }

    /// As [`begin`](Acquire::begin), but with the lock held already and a driver at home.
    fn begin_locked(
        &mut self,
        now: Tick,
        caller: Caller,
        waker: Waker,
        mut core: Locked<M>,
    ) -> Poll<Result<Object<M>, AcquireError<M::Error>>> {
        let deadline = self.deadline(now);
        let waker = match core.kernel.try_wait(now, deadline, caller, waker) {
            Ok(id) => {
                drop(core);
                return self.waits(id);
            }
            Err(waker) => waker,
        };
        let mut actions = Actions::default();
        let answer = core
            .kernel
            .acquire(now, deadline, caller, waker, &mut actions);
        let orders = core
            .kernel
            .has_orders(now)
            .then(|| core.kernel.take_orders(now));
        if actions.wake_driver {
            core.drivers.take_wakers(&mut actions.wakes);
        }
        drop(core);
        self.shared.act(actions, Vec::new());
        if let Some(orders) = orders {
            self.shared.start(orders);
        }
        self.answered(now, answer)
    }

    fn answered(
        &mut self,
        now: Tick,
        answer: Acquired<Box<Carrier<M>>, Cause<M>>,
    ) -> Poll<Result<Object<M>, AcquireError<M::Error>>> {
        match answer {
            Acquired::Hit(carrier) => Poll::Ready(Ok(self.acquired(carrier, Span(0)))),
            Acquired::Waits(id) => self.waits(id),
            Acquired::Failed(failure) => {
                let error = self.error(failure, now, now);
                Poll::Ready(self.refused(error, Span(0)))
            }
        }
    }

    #[inline]
    fn waits<T>(&mut self, id: WaiterId) -> Poll<T> {
        self.state = State::Waiting(id);
        // Not written where it is so already: all workers read it.
        if !self.shared.busy.load(Ordering::Relaxed) {
            self.shared.busy.store(true, Ordering::Relaxed);
        }
        Poll::Pending
    }

    /// A poll while waiting.
    fn go_on(
        &mut self,
        id: WaiterId,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Object<M>, AcquireError<M::Error>>> {
        let now = self.shared.clock.coarse();
        if let Some((carrier, since)) = self.shared.lock().kernel.try_accept(id, now) {
            return Poll::Ready(Ok(self.acquired(carrier, now.since(since))));
        }
        let waker = cx.waker().clone();
        let (since, answer) = self.shared.step_in_runtime(now, |core, actions| {
            let since = core.kernel.waiting_since(id);
            (since, core.kernel.poll(id, now, waker, actions))
        });
        match answer {
            kernel::Poll::Pending => Poll::Pending,
            kernel::Poll::Ready(carrier) => {
                Poll::Ready(Ok(self.acquired(carrier, now.since(since))))
            }
            kernel::Poll::Failed(failure) => {
                self.state = State::Done;
                let now = self.shared.clock.exact();
                let error = self.error(failure, since, now);
                Poll::Ready(self.refused(error, now.since(since)))
            }
        }
    }

    /// The deadline, never early: a coarse reading is behind.
    fn deadline(&self, now: Tick) -> Tick {
        now.after(self.shared.clock.slack()).after(self.timeout)
    }

    #[inline]
    fn acquired(&mut self, carrier: Box<Carrier<M>>, waited: Span) -> Object<M> {
        self.state = State::Done;
        if self.shared.settings.listener.is_some() {
            self.shared.tell(&Event::Acquired {
                connection: ConnectionId(carrier.number),
                waited: waited.duration(),
            });
        }
        Object::new(carrier)
    }

    #[cold]
    fn refused(
        &mut self,
        error: AcquireError<M::Error>,
        waited: Span,
    ) -> Result<Object<M>, AcquireError<M::Error>> {
        self.state = State::Done;
        self.shared.tell(&Event::NotAcquired {
            outcome: error.outcome(),
            waited: waited.duration(),
        });
        let pool = &self.shared.settings.name;
        tracing::debug!(%pool, site = %self.site, %error, "no connection");
        Err(error)
    }

    #[cold]
    fn error(&self, failure: Failure<Cause<M>>, since: Tick, now: Tick) -> AcquireError<M::Error> {
        let waited = now.since(since).duration();
        let core = self.shared.lock();
        match failure {
            Failure::Timeout(stage) => AcquireError::Timeout {
                stage,
                waited,
                status: Box::new(core.kernel.status(now)),
                last_connect_error: core.kernel.last_connect_error(),
                holders: core.kernel.holders(now),
            },
            Failure::Deadlock => AcquireError::Deadlock {
                waited,
                holders: core.kernel.holders(now),
            },
            Failure::Connect(error) => AcquireError::Connect(error),
            Failure::Overloaded => AcquireError::Overloaded {
                waiting: core.kernel.waiting(),
                max_waiters: self.shared.settings.max_waiters,
            },
            Failure::Closed => AcquireError::Closed,
        }
    }
}

impl<M: Manager> Future for Acquire<'_, M> {
    type Output = Result<Object<M>, AcquireError<M::Error>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.state {
            State::New => {}
            State::Waiting(id) => return self.go_on(id, cx),
            // Nothing is left to be told; a future that is over may do anything but lie.
            State::Done => return Poll::Pending,
        }
        let shared = self.shared;
        let (now, caller) = (shared.clock.coarse(), Caller::here(self.site));
        let is_busy = shared.busy.load(Ordering::Relaxed);
        let waker = is_busy.then(|| cx.waker().clone());
        let mut core = shared.lock();
        if let Some(carrier) = core.kernel.try_hit(now, caller) {
            let is_tended = !core.drivers.is_empty() && !core.kernel.wants_refill(now);
            drop(core);
            if is_busy {
                shared.busy.store(false, Ordering::Relaxed);
            }
            if !is_tended {
                tend(shared, now);
            }
            return Poll::Ready(Ok(self.acquired(carrier, Span(0))));
        }
        match waker {
            Some(waker) if core.drivers.is_at_home() => self.begin_locked(now, caller, waker, core),
            waker => {
                drop(core);
                let waker = waker.unwrap_or_else(|| cx.waker().clone());
                self.begin(caller, waker)
            }
        }
    }
}

/// Sees to it that there is a driver, and that it refills the pool.
#[cold]
fn tend<M: Manager>(shared: &Arc<Shared<M>>, now: Tick) {
    driver::ensure(shared);
    shared.step(now, |_, _| ());
}

impl<M: Manager> Drop for Acquire<'_, M> {
    #[inline]
    fn drop(&mut self) {
        if let State::Waiting(id) = self.state {
            let now = self.shared.clock.coarse();
            self.shared
                .step(now, |core, actions| core.kernel.cancel(id, now, actions));
        }
    }
}

impl<M: Manager> fmt::Debug for Acquire<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("pool", &self.shared.settings.name)
            .field("site", &self.site)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
