//! What the handles, guards and tasks of one pool share: the kernel behind its lock, and whatever
//! the kernel must not know.

use std::{
    hash::{BuildHasher, RandomState},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize},
    },
};

use rand::{SeedableRng, rngs::SmallRng};
use tokio::sync::{Notify, watch};

use crate::{
    CloseReason, ConnectError, ConnectionId, Event, Holder, Listener, Manager,
    clock::Clock,
    config::Settings,
    driver::Drivers,
    gate::{Gate, Locked},
    kernel::{Actions, Few, Fitness, Kernel, Orders, Rules, SlotId, Tick},
    tasks,
};

/// The error of an attempt to connect, as the kernel keeps it.
pub(crate) type Cause<M> = ConnectError<<M as Manager>::Error>;

/// What lies in a slot of the kernel. Boxed, so that it moves as one word; and with its reference
/// to the pool, so that to hand it out counts none up or down.
pub(crate) struct Carrier<M: Manager> {
    pub(crate) connection: M::Connection,
    pub(crate) shared: Arc<Shared<M>>,
    pub(crate) slot: SlotId,
    pub(crate) number: u64,
}

/// All that is behind the lock.
pub(crate) struct Core<M: Manager> {
    pub(crate) kernel: Kernel<Box<Carrier<M>>, Cause<M>>,
    pub(crate) rng: SmallRng,
    pub(crate) drivers: Drivers,
    /// For a step that began with nothing but the gate.
    shared: Weak<Shared<M>>,
}

pub(crate) struct Shared<M: Manager> {
    pub(crate) gate: &'static Gate<M>,
    /// Whether the last caller had to wait: a hint to have a waker ready before locking.
    pub(crate) busy: AtomicBool,
    pub(crate) clock: Clock,
    pub(crate) settings: Settings,
    pub(crate) manager: M,
    /// Handles of the pool; when the last one goes, the pool closes.
    pub(crate) handles: AtomicUsize,
    /// True from `close` on: attempts to connect and checks end.
    pub(crate) stop: watch::Sender<bool>,
    /// Told when the last connection of a closed pool is gone.
    pub(crate) drained: Notify,
}

impl<M: Manager> Shared<M> {
    pub(crate) fn new(manager: M, settings: &Settings) -> Arc<Self> {
        Arc::new_cyclic(|shared| Self::around(manager, settings, Weak::clone(shared)))
    }

    fn around(manager: M, settings: &Settings, shared: Weak<Self>) -> Self {
        // The standard library's hash keys are random: that is enough to spread waits.
        let seed = || RandomState::new().hash_one(0);
        let rng = SmallRng::seed_from_u64(settings.seed.unwrap_or_else(seed));
        Self {
            gate: Gate::new(Core {
                kernel: Kernel::new(
                    Rules::new(settings),
                    settings.max_size,
                    settings.connect_limit(),
                    settings.connect_backoff,
                ),
                rng,
                drivers: Drivers::default(),
                shared,
            }),
            busy: AtomicBool::new(false),
            clock: Clock::new(),
            settings: settings.clone(),
            manager,
            handles: AtomicUsize::new(1),
            stop: watch::Sender::new(false),
            drained: Notify::new(),
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> Locked<M> {
        self.gate.lock()
    }

    /// One step from anywhere, within a runtime or not: lock, decide, unlock, act.
    ///
    /// What takes a runtime is left to the driver. Without one, connections are dropped in place.
    pub(crate) fn step<R>(
        &self,
        now: Tick,
        decide: impl FnOnce(&mut Core<M>, &mut Actions<Cause<M>>) -> R,
    ) -> R {
        let mut actions = Actions::default();
        let mut core = self.lock();
        let result = decide(&mut core, &mut actions);
        let dropped = core.leave_to_driver(now, &mut actions);
        let leaks = core.leaks(now, &mut actions);
        drop(core);
        self.act(actions, leaks);
        self.drop_in_place(dropped, now);
        result
    }

    /// Takes a connection back. Begins with the lock alone: the connection, and with it the only
    /// reference to the pool that is at hand, goes behind it.
    ///
    /// # Errors
    /// Gives it back if it was not out.
    pub(crate) fn take_back(
        mut core: Locked<M>,
        mut carrier: Box<Carrier<M>>,
        fitness: Fitness,
        now: Tick,
    ) -> Result<(), Box<Carrier<M>>> {
        let (slot, number) = (carrier.slot, carrier.number);
        if fitness.is_ok() {
            match core.kernel.try_pass(slot, number, carrier, now) {
                Ok(waker) => {
                    drop(core);
                    if let Some(waker) = waker {
                        quietly("a waker", || waker.wake());
                    }
                    return Ok(());
                }
                Err(back) => carrier = back,
            }
        }
        let mut actions = Actions::default();
        let result = core
            .kernel
            .release(slot, number, carrier, fitness, now, &mut actions);
        let dropped = core.leave_to_driver(now, &mut actions);
        let is_plain = dropped.is_empty() && actions.is_plain();
        let shared = if is_plain {
            None
        } else {
            core.shared.upgrade()
        };
        drop(core);
        if let Some(shared) = shared {
            shared.act(actions, Vec::new());
            shared.drop_in_place(dropped, now);
        } else {
            for waker in actions.wakes {
                quietly("a waker", || waker.wake());
            }
        }
        result
    }

    /// Closes connections where no runtime is there to say goodbye.
    fn drop_in_place(&self, dropped: Few<(SlotId, Box<Carrier<M>>, CloseReason)>, now: Tick) {
        for (slot, carrier, reason) in dropped {
            self.tell_closing(carrier.number, reason);
            quietly("dropping a connection", || drop(carrier));
            self.step(now, |core, actions| core.kernel.closed(slot, now, actions));
        }
    }

    /// One step from within a runtime: also starts what there is to start.
    pub(crate) fn step_in_runtime<R>(
        self: &Arc<Self>,
        now: Tick,
        decide: impl FnOnce(&mut Core<M>, &mut Actions<Cause<M>>) -> R,
    ) -> R {
        let mut actions = Actions::default();
        let mut core = self.lock();
        let result = decide(&mut core, &mut actions);
        let orders = core.kernel.take_orders(now);
        if actions.wake_driver {
            core.drivers.take_wakers(&mut actions.wakes);
        }
        let leaks = core.leaks(now, &mut actions);
        drop(core);
        self.act(actions, leaks);
        self.start(orders);
        result
    }

    /// Starts what only a runtime can do.
    pub(crate) fn start(self: &Arc<Self>, orders: Orders<Box<Carrier<M>>>) {
        if orders.is_empty() {
            return;
        }
        for ticket in orders.connects {
            tokio::spawn(tasks::connect(Arc::clone(self), ticket));
        }
        for (_, carrier) in orders.checks {
            tokio::spawn(tasks::check(*carrier));
        }
        for (_, carrier, reason) in orders.closes {
            tokio::spawn(tasks::close(*carrier, reason));
        }
    }

    /// Does what a step left to be done, now that the lock is free.
    pub(crate) fn act(&self, actions: Actions<Cause<M>>, leaks: Vec<Holder>) {
        for waker in actions.wakes {
            quietly("a waker", || waker.wake());
        }
        for spent in actions.spent {
            quietly("dropping a waker or an error", || drop(spent));
        }
        if actions.drained {
            self.drained.notify_waiters();
        }
        for holder in leaks {
            tracing::warn!(
                pool = %self.settings.name,
                connection = %holder.connection,
                %holder,
                "connection is out for longer than leak_after"
            );
            self.tell(&Event::Leaked { holder: &holder });
        }
    }

    /// Tells the listener, if there is one.
    #[inline]
    pub(crate) fn tell(&self, event: &Event<'_>) {
        if let Some(listener) = &self.settings.listener {
            tell(&**listener, event);
        }
    }

    /// Says that a connection leaves the pool.
    pub(crate) fn tell_closing(&self, number: u64, reason: CloseReason) {
        let connection = ConnectionId(number);
        tracing::debug!(
            pool = %self.settings.name, %connection, reason = reason.as_str(), "closing"
        );
        self.tell(&Event::Closing { connection, reason });
    }

    /// Closes the pool to new callers; what is out is closed when it comes back.
    pub(crate) fn shut(&self) {
        let now = self.clock.exact();
        self.step(now, |core, actions| core.kernel.close(now, actions));
        self.stop.send_replace(true);
    }

    /// Ends when the pool closes.
    pub(crate) async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // An error says that the sender is gone, and `self` keeps it.
        let _ = stop.wait_for(|stop| *stop).await;
    }
}

impl<M: Manager> Drop for Shared<M> {
    fn drop(&mut self) {
        let core = self.gate.clear();
        drop(core);
    }
}

impl<M: Manager> Core<M> {
    /// Has the driver woken if there is anything for it; takes the closes out if there is none.
    fn leave_to_driver(
        &mut self,
        now: Tick,
        actions: &mut Actions<Cause<M>>,
    ) -> Few<(SlotId, Box<Carrier<M>>, CloseReason)> {
        if self.drivers.is_empty() {
            return self.kernel.take_closes();
        }
        if actions.wake_driver || self.kernel.has_orders(now) {
            self.drivers.take_wakers(&mut actions.wakes);
        }
        Few::default()
    }

    fn leaks(&self, now: Tick, actions: &mut Actions<Cause<M>>) -> Vec<Holder> {
        let leaks = actions.leaks.take().into_iter();
        leaks
            .filter_map(|leak| self.kernel.leak(leak, now))
            .collect()
    }
}

#[cold]
fn tell(listener: &dyn Listener, event: &Event<'_>) {
    quietly("a listener", || listener.event(event));
}

/// Runs code of the users', of which a panic must not keep us from what else there is to do.
pub(crate) fn quietly(what: &str, run: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(run)).is_err() {
        tracing::error!(what, "panicked; the pool goes on");
    }
}
