//! What the handle, the driver and the runs share: the kernel, and how to wake those who wait.

use std::{
    hash::Hash,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use monitor_operation::Operations;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::{
    Observer,
    begin::{Begun, begin},
    kernel::{Core, Start, Tick},
    sync::{Condvar, Mutex, lock, wait, wait_for},
    task::Launch,
};

/// A handler of whatever type, with the key at hand for which it runs.
pub(crate) type Handler<K> = Arc<dyn Launch<K>>;

/// The key of a handler. Whoever looks may have its last copy, for it can be taken out meanwhile.
pub(crate) fn key_of<K: Clone + Eq + Hash>(handler: Handler<K>) -> K {
    let key = handler.at_hand().get().clone();
    guarded(|| drop(handler));
    key
}

/// Observers, destructors of handlers and clones of keys are somebody else's code: a panic in it
/// takes neither the driver down nor who merely looks.
pub(crate) fn guarded(step: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(step)).is_err() {
        tracing::error!("an observer, a key or the end of a handler panicked");
    }
}

/// The kernel and what is around it.
pub(crate) struct Shared<K> {
    /// Held for moments only: never across an await, an effect or a waker.
    core: Mutex<Core<Handler<K>>>,
    /// The driver waits for that lock.
    driver_waits: AtomicBool,
    pub(crate) operations: Operations<K>,
    pub(crate) observer: Arc<dyn Observer<K>>,
    origin: Instant,
    pub(crate) bell: Bell,
    /// Wakes those who wait for runs or for the driver to end.
    end: Notify,
    /// How many do.
    waiting: AtomicUsize,
    /// The last handle is gone.
    pub(crate) orphaned: AtomicBool,
    /// A shutdown is over: the driver carries out what is left to do, and ends.
    pub(crate) stopping: AtomicBool,
    stopped: AtomicBool,
}

/// Calls the driver: there may be something to do. A call while it is awake is not lost.
pub(crate) enum Bell {
    /// For a driver on a thread, whichever that is at the time.
    Thread { rung: Mutex<bool>, called: Condvar },
    /// For a driver that is a task.
    Task(Notify),
}

impl Bell {
    pub(crate) fn of_thread() -> Self {
        Self::Thread {
            rung: Mutex::new(false),
            called: Condvar::new(),
        }
    }

    pub(crate) fn of_task() -> Self {
        Self::Task(Notify::new())
    }

    pub(crate) fn ring(&self) {
        match self {
            Self::Thread { rung, called } => {
                *lock(rung) = true;
                called.notify_one();
            }
            Self::Task(called) => called.notify_one(),
        }
    }

    /// Blocks a thread until it is called, or the time has come, or for no reason. A task's bell
    /// blocks nobody.
    pub(crate) fn wait(&self, until: Option<Instant>) {
        let Self::Thread { rung, called } = self else {
            return;
        };
        let mut rung = lock(rung);
        if !*rung {
            rung = match until {
                None => wait(called, rung),
                Some(until) => {
                    let long = until.saturating_duration_since(Instant::now());
                    wait_for(called, rung, long)
                }
            };
        }
        *rung = false;
    }

    /// The same for a task, without blocking.
    pub(crate) async fn called(&self, until: Option<Instant>) {
        let Self::Task(called) = self else { return };
        match until {
            // Called or not, there may be something to do.
            Some(until) => drop(timeout_at(until, called.notified()).await),
            None => called.notified().await,
        }
    }
}

impl<K: Clone + Eq + Hash> Shared<K> {
    pub(crate) fn new(
        core: Core<Handler<K>>,
        operations: Operations<K>,
        observer: Arc<dyn Observer<K>>,
        bell: Bell,
    ) -> Self {
        Self {
            core: Mutex::new(core),
            driver_waits: AtomicBool::new(false),
            operations,
            observer,
            origin: Instant::now(),
            bell,
            end: Notify::new(),
            waiting: AtomicUsize::new(0),
            orphaned: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        }
    }

    /// Asks the kernel at the present time, or changes it where the driver looks anyway.
    pub(crate) fn core<R>(&self, step: impl FnOnce(&mut Core<Handler<K>>, Tick) -> R) -> R {
        let now = self.tick();
        step(&mut lock(&self.core), now)
    }

    /// The same for the driver, to whom those who only look give way.
    pub(crate) fn drive<R>(&self, step: impl FnOnce(&mut Core<Handler<K>>, Tick) -> R) -> R {
        self.driver_waits.store(true, Ordering::Relaxed);
        self.core(|core, now| {
            self.driver_waits.store(false, Ordering::Relaxed);
            step(core, now)
        })
    }

    /// The same for those who look again and again. Who is woken to take a lock finds it taken as
    /// long as somebody else, who is awake, takes it at once when he has let it go.
    pub(crate) fn look<R>(&self, step: impl FnOnce(&mut Core<Handler<K>>, Tick) -> R) -> R {
        /// Long enough for a thread to be woken. Then it is busy elsewhere.
        const YIELDS: usize = 256;
        let yields = || self.driver_waits.load(Ordering::Relaxed);
        (0..YIELDS)
            .take_while(|_| yields())
            .for_each(|_| thread::yield_now());
        self.core(step)
    }

    /// Changes the kernel, and has the driver carry out what follows.
    pub(crate) fn change<R>(&self, step: impl FnOnce(&mut Core<Handler<K>>, Tick) -> R) -> R {
        let (result, calls) = self.core(|core, now| {
            let result = step(core, now);
            (result, core.calls_driver())
        });
        if calls {
            self.bell.ring();
        }
        result
    }

    /// Like [`change`](Shared::change), for the end of something that may be waited for.
    pub(crate) fn end(&self, step: impl FnOnce(&mut Core<Handler<K>>, Tick)) {
        self.change(step);
        self.ended();
    }

    /// Lets those look who wait for something to end.
    pub(crate) fn ended(&self) {
        // Whoever waits counted himself before he looked at the kernel.
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.end.notify_waiters();
        }
    }

    /// Begins runs. Those that are not wanted any more do not come back.
    pub(crate) fn begin(
        &self,
        starts: Vec<Start<Handler<K>>>,
    ) -> impl Iterator<Item = Begun<K, Handler<K>>> {
        let now = || self.tick();
        begin(
            &self.core,
            starts,
            |start| start.handler.at_hand().begin(),
            now,
        )
    }

    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    pub(crate) fn tick(&self) -> Tick {
        Tick::floor(self.now())
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
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waits = Waits(&self.waiting);
        loop {
            let ended = self.end.notified();
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

impl<K> Shared<K> {
    /// The driver has ended.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.end.notify_waiters();
    }
}

/// Somebody waits; until dropped.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
