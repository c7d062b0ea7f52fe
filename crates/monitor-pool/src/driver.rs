//! The driver: the one task per runtime that does what is due when nobody else comes by.
//!
//! It owns the pool's only timer. A caller that starts to wait sees to it that its own runtime has
//! a driver: so a runtime that has ended, or that stands still, keeps nobody waiting who lives in
//! another one. A driver that is dropped with its runtime strikes itself off.

use std::{
    cell::Cell,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    runtime::{Handle, Id, RuntimeFlavor},
    time::{Instant, Sleep},
};

use crate::{
    Manager, Phase,
    kernel::{Few, Tick},
    shared::{Core, Shared},
};

/// The drivers of a pool, one for each runtime somebody has waited in.
#[derive(Debug, Default)]
pub(crate) struct Drivers(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    id: u64,
    runtime: Id,
    /// There while the driver sleeps.
    waker: Option<Waker>,
}

/// The longest sleep; tokio's timer goes further, but why should it.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

thread_local! {
    /// The driver that is known to run in this thread's runtime. Kept for workers of multi-thread
    /// runtimes only: other threads may enter one runtime after another.
    static AT_HOME: Cell<u64> = const { Cell::new(0) };
}

impl Drivers {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a driver is known to run in the runtime of this thread.
    #[inline]
    pub(crate) fn is_at_home(&self) -> bool {
        let home = AT_HOME.get();
        self.0.iter().any(|entry| entry.id == home)
    }

    /// Takes all wakers there are, to be woken after unlocking.
    pub(crate) fn take_wakers(&mut self, wakes: &mut Few<Waker>) {
        for entry in &mut self.0 {
            if let Some(waker) = entry.waker.take() {
                wakes.push(waker);
            }
        }
    }

    fn find(&self, runtime: Id) -> Option<u64> {
        let entry = self.0.iter().find(|entry| entry.runtime == runtime);
        entry.map(|entry| entry.id)
    }

    fn enter(&mut self, runtime: Id) -> u64 {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        self.0.push(Entry {
            id,
            runtime,
            waker: None,
        });
        id
    }

    fn leave(&mut self, id: u64) -> Option<Waker> {
        let position = self.0.iter().position(|entry| entry.id == id)?;
        self.0.swap_remove(position).waker
    }

    fn set_waker(&mut self, id: u64, waker: Waker) -> Option<Waker> {
        let entry = self.0.iter_mut().find(|entry| entry.id == id)?;
        entry.waker.replace(waker)
    }
}

/// Sees to it that this runtime has a driver of the pool. False if there is no runtime with a
/// timer here.
pub(crate) fn ensure<M: Manager>(shared: &Arc<Shared<M>>) -> bool {
    let Ok(handle) = Handle::try_current() else {
        return false;
    };
    let mut core = shared.lock();
    let id = if let Some(id) = core.drivers.find(handle.id()) {
        id
    } else {
        drop(core);
        // Without a timer tokio panics, and there is no other way to ask.
        let Ok(sleep) = catch_unwind(AssertUnwindSafe(|| tokio::time::sleep(LONGEST))) else {
            return false;
        };
        shared.clock.detect();
        core = shared.lock();
        if let Some(id) = core.drivers.find(handle.id()) {
            id
        } else {
            let id = core.drivers.enter(handle.id());
            drop(core);
            handle.spawn(Driver {
                shared: Arc::clone(shared),
                id,
                sleep: Box::pin(sleep),
            });
            id
        }
    };
    // In a task only: what calls `block_on` may enter another runtime next.
    if tokio::task::try_id().is_some() && handle.runtime_flavor() == RuntimeFlavor::MultiThread {
        AT_HOME.set(id);
    }
    true
}

struct Driver<M: Manager> {
    shared: Arc<Shared<M>>,
    id: u64,
    sleep: Pin<Box<Sleep>>,
}

impl<M: Manager> Future for Driver<M> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let shared = Arc::clone(&self.shared);
            shared.clock.detect();
            let now = shared.clock.exact();
            let (id, waker) = (self.id, cx.waker().clone());
            let (due, old) = shared.step_in_runtime(now, |core, actions| {
                core.kernel.tick(now, actions);
                let old = core.drivers.set_waker(id, waker);
                (due(core, now), old)
            });
            drop(old);
            let Some(due) = due else {
                return Poll::Ready(());
            };
            if due == Tick::NEVER {
                return Poll::Pending;
            }
            let wait = due
                .since(now)
                .duration()
                .clamp(Duration::from_millis(1), LONGEST);
            self.sleep.as_mut().reset(Instant::now() + wait);
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// When to look again; `None` if never.
fn due<M: Manager>(core: &mut Core<M>, now: Tick) -> Option<Tick> {
    let is_over = core.kernel.phase() == Phase::Closed;
    (!is_over).then(|| core.kernel.arm(now))
}

impl<M: Manager> Drop for Driver<M> {
    fn drop(&mut self) {
        let waker = self.shared.lock().drivers.leave(self.id);
        drop(waker);
        // What it would have done falls to the other drivers; without one, to this step.
        let now = self.shared.clock.exact();
        self.shared.step(now, |core, _| {
            core.kernel.arm(now);
        });
    }
}
