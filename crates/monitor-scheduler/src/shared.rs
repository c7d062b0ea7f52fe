//! What the handle, the driver and the runs share: the kernel, and how to wake those who wait.

use std::{
    hash::Hash,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use monitor_operation::{Operation, Operations};
use tokio::{sync::Notify, time::Instant};

use crate::{
    Completion, Observer, Run,
    begin::begin,
    kernel::{Confirmed, Core, RunId, Tick},
    sync::{Mutex, lock},
};

/// A handler of whatever type.
pub(crate) type Handler<K> =
    Arc<dyn Fn(Run<K>) -> Pin<Box<dyn Future<Output = Completion> + Send>> + Send + Sync>;

/// The kernel and what is around it.
pub(crate) struct Shared<K> {
    /// Held for moments only: never across an await, an effect or a waker.
    core: Mutex<Core<K, Handler<K>>>,
    pub(crate) operations: Operations<K>,
    pub(crate) observer: Arc<dyn Observer<K>>,
    origin: Instant,
    /// Wakes the driver: the kernel has changed.
    pub(crate) wake: Notify,
    /// Wakes those who wait for runs or for the driver to end.
    pub(crate) ended: Notify,
    /// The last handle is gone.
    pub(crate) orphaned: AtomicBool,
    /// A shutdown is over: the driver carries out what is left to do, and ends.
    pub(crate) stopping: AtomicBool,
    /// The driver has ended.
    pub(crate) stopped: AtomicBool,
}

impl<K: Clone + Eq + Hash> Shared<K> {
    pub(crate) fn new(
        core: Core<K, Handler<K>>,
        operations: Operations<K>,
        observer: Arc<dyn Observer<K>>,
    ) -> Self {
        Self {
            core: Mutex::new(core),
            operations,
            observer,
            origin: Instant::now(),
            wake: Notify::new(),
            ended: Notify::new(),
            orphaned: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        }
    }

    /// Asks or changes the kernel at the present time.
    pub(crate) fn core<R>(&self, step: impl FnOnce(&mut Core<K, Handler<K>>, Tick) -> R) -> R {
        let now = Tick::floor(self.now());
        step(&mut lock(&self.core), now)
    }

    /// Changes the kernel, and has the driver carry out what follows.
    pub(crate) fn change<R>(&self, step: impl FnOnce(&mut Core<K, Handler<K>>, Tick) -> R) -> R {
        let result = self.core(step);
        self.wake.notify_one();
        result
    }

    /// Like [`change`](Shared::change), for the end of something that may be waited for.
    pub(crate) fn end(&self, step: impl FnOnce(&mut Core<K, Handler<K>>, Tick)) {
        self.change(step);
        self.ended.notify_waiters();
    }

    /// Begins a run. None if it is not wanted any more, or if no operation could be begun.
    pub(crate) fn begin(&self, run: RunId, key: &K) -> Option<(Operation<K>, Confirmed)> {
        let now = || Tick::floor(self.now());
        begin(&self.core, &self.operations, run, key, now).unwrap_or_else(|error| {
            tracing::warn!(%error, "no operation could be begun for a run");
            None
        })
    }

    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The instant of a tick, or of what is as good as never.
    pub(crate) fn instant(&self, tick: Tick) -> Instant {
        const NEVER: Duration = Duration::from_secs(30 * 365 * 86_400);
        self.origin
            .checked_add(tick.duration())
            .unwrap_or_else(|| self.origin + NEVER)
    }

    /// Waits until `done`, looking again each time that something has ended.
    pub(crate) async fn until(&self, done: impl Fn() -> bool) {
        loop {
            let ended = self.ended.notified();
            let mut ended = std::pin::pin!(ended);
            ended.as_mut().enable();
            if done() {
                return;
            }
            ended.await;
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}
