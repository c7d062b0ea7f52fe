//! The guard: a connection that is out, and comes back when the guard is dropped.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, atomic::Ordering},
    thread,
};

use crate::{
    CloseReason, ConnectionId, Event, Manager, OnPanic,
    gate::Locked,
    kernel::{Fitness, Tick},
    shared::{Carrier, Shared, quietly},
};

/// A connection in use. Dereferences to it; gives it back when dropped.
///
/// The connection is owned, not borrowed: while an `Object` is out, the pool has nothing to hand
/// to anybody else, and nothing can be given back twice.
///
/// ```compile_fail
/// # async fn twice<M: monitor_pool::Manager>(pool: monitor_pool::Pool<M>) {
/// let connection = pool.acquire().await.unwrap();
/// drop(connection);
/// drop(connection); // use of moved value
/// # }
/// ```
///
/// Dropping it needs no runtime, never blocks on I/O and never fails. The connection is closed
/// instead of coming back if it is in the middle of an operation ([`begin`](Object::begin),
/// [`run`](Object::run)), if [`is_quiescent`](Manager::is_quiescent) denies, if the thread is
/// panicking, or if the pool says so: closed, reset, shrunk, or the connection is too old or used
/// up.
pub struct Object<M: Manager> {
    /// There until the end of its life.
    carrier: Option<Box<Carrier<M>>>,
    is_busy: bool,
}

/// Nothing but `drop`, `detach` and `discard` takes the connection out, and they end the object.
const THERE: &str = "an object has its connection until it ends";

impl<M: Manager> Object<M> {
    #[inline]
    pub(crate) fn new(carrier: Box<Carrier<M>>) -> Self {
        Self {
            carrier: Some(carrier),
            is_busy: false,
        }
    }

    /// Returns the number of the connection.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        ConnectionId(self.carrier().number)
    }

    /// Marks the connection as in the middle of an operation: from now to
    /// [`finish`](Object::finish), dropping the object closes the connection.
    pub fn begin(&mut self) {
        self.is_busy = true;
    }

    /// Marks the operation as done, to the last byte of its reply.
    pub fn finish(&mut self) {
        self.is_busy = false;
    }

    /// Whether an operation is in progress.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Runs one operation, between [`begin`](Object::begin) and [`finish`](Object::finish).
    ///
    /// # Cancel safety
    /// If it is dropped, the connection will be closed: nobody will read what was not read. Also
    /// if the operation panics.
    pub async fn run<R>(&mut self, operation: impl AsyncFnOnce(&mut M::Connection) -> R) -> R {
        self.begin();
        let result = operation(self).await;
        self.finish();
        result
    }

    /// Takes the connection out of the pool, which may then make another one.
    ///
    /// # Panics
    /// Never: an object has its connection until it ends, and this ends it.
    #[must_use]
    pub fn detach(mut self) -> M::Connection {
        let Carrier {
            connection,
            shared,
            slot,
            number,
        } = *self.carrier.take().expect(THERE);
        let now = shared.clock.coarse();
        shared.step(now, |core, actions| {
            core.kernel.detach(slot, number, now, actions);
        });
        connection
    }

    /// Has the connection closed.
    pub fn discard(mut self) {
        if let Some(carrier) = self.carrier.take() {
            give_back(
                carrier.shared.gate.lock(),
                carrier,
                Err(CloseReason::Discarded),
                None,
            );
        }
    }

    fn carrier(&self) -> &Carrier<M> {
        self.carrier.as_deref().expect(THERE)
    }

    /// Whether the connection may be used again, as far as can be seen from here.
    #[inline]
    fn fitness(&self, carrier: &mut Carrier<M>) -> Fitness {
        if self.is_busy {
            return Err(CloseReason::Tainted);
        }
        let Carrier {
            connection, shared, ..
        } = carrier;
        if thread::panicking() && shared.settings.on_panic == OnPanic::Close {
            return Err(CloseReason::Panic);
        }
        let mut is_quiescent = false;
        quietly("is_quiescent", || {
            is_quiescent = shared.manager.is_quiescent(connection);
        });
        if is_quiescent {
            Ok(())
        } else {
            Err(CloseReason::Tainted)
        }
    }
}

/// Gives a connection back where there is more to it than to be idle again.
#[inline(never)]
fn give_back<M: Manager>(
    core: Locked<M>,
    carrier: Box<Carrier<M>>,
    fitness: Fitness,
    now: Option<Tick>,
) {
    let now = now.unwrap_or_else(|| carrier.shared.clock.coarse());
    if let Err(carrier) = Shared::take_back(core, carrier, fitness, now) {
        tell_race(carrier);
    }
}

#[cold]
fn tell_race<M: Manager>(carrier: Box<Carrier<M>>) {
    let shared = Arc::clone(&carrier.shared);
    let connection = ConnectionId(carrier.number);
    let pool = &shared.settings.name;
    tracing::error!(%pool, %connection, "a connection came back that was not out");
    shared.tell(&Event::Race { connection });
    quietly("dropping a connection", || drop(carrier));
}

impl<M: Manager> Drop for Object<M> {
    #[inline]
    fn drop(&mut self) {
        let Some(mut carrier) = self.carrier.take() else {
            return;
        };
        let fitness = self.fitness(&mut carrier);
        // Before locking, where it is likely to be needed.
        let is_busy = carrier.shared.busy.load(Ordering::Relaxed);
        let now = is_busy.then(|| carrier.shared.clock.coarse());
        // The gate is copied out: the carrier goes behind the lock that it is the way to.
        let (gate, slot, number) = (carrier.shared.gate, carrier.slot, carrier.number);
        let mut core = gate.lock();
        if fitness.is_ok() {
            match core.kernel.try_park(slot, number, carrier) {
                Ok(()) => return,
                Err(back) => carrier = back,
            }
        }
        give_back(core, carrier, fitness, now);
    }
}

impl<M: Manager> Deref for Object<M> {
    type Target = M::Connection;

    #[inline]
    fn deref(&self) -> &M::Connection {
        &self.carrier().connection
    }
}

impl<M: Manager> DerefMut for Object<M> {
    #[inline]
    fn deref_mut(&mut self) -> &mut M::Connection {
        &mut self.carrier.as_deref_mut().expect(THERE).connection
    }
}

impl<M: Manager> fmt::Debug for Object<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let carrier = self.carrier();
        f.debug_struct("Object")
            .field("pool", &carrier.shared.settings.name)
            .field("connection", &carrier.number)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(monitor_loom)))]
mod tests {
    use std::convert::Infallible;

    use crate::{Manager, Pool, sync::LOCKS};

    struct Units;

    impl Manager for Units {
        type Connection = ();
        type Error = Infallible;

        async fn connect(&self) -> Result<(), Infallible> {
            Ok(())
        }
    }

    /// STB-33, STB-36: an idle hit and its return lock once each, whatever the machine.
    #[tokio::test]
    async fn a_round_takes_two_locks() {
        let pool = Pool::builder(Units).build().unwrap();
        drop(pool.acquire().await.unwrap());
        let before = LOCKS.get();
        for _ in 0..100 {
            drop(pool.acquire().await.unwrap());
        }
        assert_eq!(LOCKS.get() - before, 200);
    }

    /// INV-POOL-8: what is behind the lock goes with the pool; the manager, too.
    #[tokio::test]
    async fn inv_pool_8_nothing_but_the_lock_outlives_the_pool() {
        let pool = Pool::builder(Units).build().unwrap();
        let object = pool.acquire().await.unwrap();
        drop(pool.acquire().await.unwrap());
        let shared = std::sync::Arc::downgrade(&pool.shared);
        let gate = pool.shared.gate;
        drop(pool);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(shared.upgrade().is_some(), "the object is still out");
        drop(object);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(shared.upgrade().is_none(), "somebody still holds the pool");
        assert!(gate.clear().is_none(), "the core is still there");
    }
}
