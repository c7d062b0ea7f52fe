//! The handle.

use std::{
    fmt,
    future::{Future, poll_fn},
    panic::Location,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use tokio::runtime::Handle;

use crate::{
    Acquire, AcquireError, Builder, CloseReport, ConfigError, ExecuteError, Holder, Manager,
    Object, Phase, Status, TryAcquireError, caller::Caller, config::Settings, kernel::Span,
    shared::Shared,
};

/// A pool of connections. A handle: clones are the same pool, which closes with the last one.
pub struct Pool<M: Manager> {
    pub(crate) shared: Arc<Shared<M>>,
}

impl<M: Manager> Pool<M> {
    /// Starts from the defaults.
    pub fn builder(manager: M) -> Builder<M> {
        Builder::new(manager)
    }

    pub(crate) fn new(manager: M, settings: &Settings) -> Self {
        Self {
            shared: Shared::new(manager, settings),
        }
    }

    /// Waits for a connection, no longer than `acquire_timeout`.
    ///
    /// Whoever asks first is served first. An idle connection is taken at once, without waiting
    /// and without a look at the clock's exact time; one unused for `check_if_idle_for` is checked
    /// first; where none is idle and there is room, one is made; and else one that comes back is
    /// handed over.
    ///
    /// # Errors
    /// Fails at the deadline, if too many wait already, if connecting fails for good, if the pool
    /// is closed, or if there is need to wait and no tokio runtime with a timer.
    ///
    /// # Cancel safety
    /// To drop it loses the place in the queue and nothing else.
    #[track_caller]
    #[inline]
    pub fn acquire(&self) -> Acquire<'_, M> {
        self.acquire_timeout(self.shared.settings.acquire_timeout)
    }

    /// As [`acquire`](Pool::acquire), with a limit of its own.
    #[track_caller]
    #[inline]
    pub fn acquire_timeout(&self, timeout: Duration) -> Acquire<'_, M> {
        Acquire::new(&self.shared, Location::caller(), Span::from(timeout))
    }

    /// Takes a connection that is idle and needs no check. Never waits, needs no runtime.
    ///
    /// # Errors
    /// Fails if there is none.
    #[track_caller]
    pub fn try_acquire(&self) -> Result<Object<M>, TryAcquireError> {
        let caller = Caller::here(Location::caller());
        let now = self.shared.clock.coarse();
        let mut core = self.shared.lock();
        if let Some(carrier) = core.kernel.try_hit(now, caller) {
            drop(core);
            return Ok(Object::new(carrier));
        }
        Err(match core.kernel.phase() {
            Phase::Open if core.kernel.has_idle() => TryAcquireError::Unchecked,
            Phase::Open => TryAcquireError::NoneIdle,
            Phase::Draining | Phase::Closed => TryAcquireError::Closed,
        })
    }

    /// Executes one request and its response on a connection of its own.
    ///
    /// # Errors
    /// Fails if there is no connection, or as the operation does: then the connection is closed,
    /// for nobody knows what it still owes.
    ///
    /// # Cancel safety
    /// If it is dropped in the middle of the operation the connection is closed: no reply can
    /// reach anybody else.
    #[track_caller]
    pub fn execute<R, E, F>(
        &self,
        operation: F,
    ) -> impl Future<Output = Result<R, ExecuteError<M::Error, E>>>
    where
        F: AsyncFnOnce(&mut M::Connection) -> Result<R, E>,
    {
        let acquire = self.acquire();
        async move {
            let mut object = acquire.await.map_err(ExecuteError::Acquire)?;
            object.begin();
            let result = operation(&mut object).await;
            if result.is_ok() {
                object.finish();
            }
            result.map_err(ExecuteError::Operation)
        }
    }

    /// Changes the maximum, at once. A smaller one closes idle connections now and others when
    /// they come back; `min_idle` and `connect_limit` give way to it, and hold again when it grows.
    ///
    /// # Errors
    /// Fails if it is zero or too large, as in [`Builder::build`]; nothing is changed then.
    pub fn resize(&self, max_size: usize) -> Result<(), ConfigError> {
        let mut settings = self.shared.settings.clone();
        settings.max_size = max_size;
        settings.min_idle = settings.min_idle.min(max_size);
        settings.connect_limit = settings.connect_limit.map(|limit| limit.min(max_size));
        settings.validate()?;
        let now = self.shared.clock.exact();
        self.shared.step(now, |core, actions| {
            core.kernel.resize(max_size, now, actions);
        });
        Ok(())
    }

    /// Replaces every connection: idle ones are closed now, the others when they come back. After
    /// a fail-over, say.
    pub fn reset(&self) {
        let now = self.shared.clock.exact();
        self.shared
            .step(now, |core, actions| core.kernel.reset(now, actions));
    }

    /// Closes the pool: who waits gets [`Closed`](AcquireError::Closed) at once, idle connections
    /// are closed, those in use when they come back. Waits for that, but no longer than `deadline`,
    /// and reports what is left.
    ///
    /// Outside of a tokio runtime it does not wait. To close twice does no harm.
    ///
    /// # Cancel safety
    /// The pool closes with the first poll; to drop it loses the report.
    pub async fn close(&self, deadline: Duration) -> CloseReport {
        let before = self.status().totals.closed;
        let drained = self.shared.drained.notified();
        let mut drained = pin!(drained);
        drained.as_mut().enable();
        self.shared.shut();
        if self.status().phase != Phase::Closed && Handle::try_current().is_ok() {
            let mut limit = pin!(tokio::time::sleep(deadline));
            poll_fn(|cx| {
                let is_over = drained.as_mut().poll(cx).is_ready();
                if is_over || limit.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                Poll::Pending
            })
            .await;
        }
        let now = self.shared.clock.exact();
        let core = self.shared.lock();
        let (status, held) = (core.kernel.status(now), core.kernel.holders(now));
        let report = CloseReport {
            turned_away: core.kernel.turned_away(),
            closed: usize::try_from(status.totals.closed - before).unwrap_or(usize::MAX),
            unfinished: status.size - held.len(),
            held,
        };
        drop(core);
        if !report.is_clean() {
            let pool = &self.shared.settings.name;
            let (held, unfinished) = (report.held.len(), report.unfinished);
            tracing::warn!(%pool, held, unfinished, "closed, but not everything has come back");
        }
        report
    }

    /// Whether it is closed, or being closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.lock().kernel.phase() != Phase::Open
    }

    /// Returns the pool's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.settings.name
    }

    /// Returns its numbers.
    #[must_use]
    pub fn status(&self) -> Status {
        let now = self.shared.clock.exact();
        self.shared.lock().kernel.status(now)
    }

    /// Returns who holds connections, longest first.
    #[must_use]
    pub fn holders(&self) -> Vec<Holder> {
        let now = self.shared.clock.exact();
        self.shared.lock().kernel.holders(now)
    }

    /// Returns the manager.
    #[must_use]
    pub fn manager(&self) -> &M {
        &self.shared.manager
    }
}

impl<E: std::error::Error + 'static> AcquireError<E> {
    /// Returns the label for metrics.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "timeout",
            Self::Connect(_) => "connect",
            Self::Overloaded { .. } => "overloaded",
            Self::Closed => "closed",
            Self::Deadlock { .. } => "deadlock",
            Self::NoRuntime => "no_runtime",
        }
    }
}

impl<M: Manager> Clone for Pool<M> {
    fn clone(&self) -> Self {
        self.shared.handles.fetch_add(1, Ordering::Relaxed);
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<M: Manager> Drop for Pool<M> {
    fn drop(&mut self) {
        // Release and acquire: what other handles did comes before the pool is closed.
        if self.shared.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.shut();
        }
    }
}

impl<M: Manager> fmt::Debug for Pool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.shared.settings.name)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
