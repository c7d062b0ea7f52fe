//! The driver: sleeps until something is due and carries out what the kernel decides.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    thread,
};

use monitor_operation::{Canceller, Cause, Epoch, OperationId};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::AbortHandle,
    time::{Instant, timeout_at},
};

use crate::{
    Finished, Missed, Run,
    begin::Begun,
    kernel::{Effect, Ending, Start},
    shared::{Handler, Shared},
    task,
};

/// Starts the driver of a scheduler.
///
/// On a multi-threaded runtime it gets a thread of its own. As a task it could be left behind in
/// the queue of a worker that a handler blocks, from where no other worker takes it; and the tasks
/// it spawns from outside wake a worker each, so that timers and sockets of the other handlers are
/// looked after while one is blocked. A thread also sleeps to a fraction of a millisecond.
///
/// # Panics
///
/// Outside of a runtime, and when there is no thread to be had.
pub(crate) fn start<K: Clone + Eq + Hash + Send + Sync + 'static>(shared: Arc<Shared<K>>) {
    let runtime = Handle::current();
    let driver = Driver {
        shared: Arc::clone(&shared),
        runtime: runtime.clone(),
        live: HashMap::default(),
    };
    if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread {
        runtime.spawn(driver.drive());
        return;
    }
    let thread = thread::Builder::new().name("monitor-scheduler".to_owned());
    match thread.spawn(move || driver.drive_on_thread()) {
        // Before anybody else has the scheduler, and could call.
        Ok(handle) => drop(shared.bell.thread.set(handle.thread().clone())),
        Err(error) => panic!("the scheduler got no thread for its driver: {error}"),
    }
}

struct Driver<K> {
    shared: Arc<Shared<K>>,
    /// Where handlers run.
    runtime: Handle,
    /// What it takes to cancel and to abort the runs that are going on, by their serial.
    live: HashMap<u64, Live, BuildHasherDefault<SerialHasher>>,
}

struct Live {
    operation: OperationId,
    epoch: Epoch,
    canceller: Canceller,
    task: AbortHandle,
}

/// What is left to the driver when all is done that there is to do.
enum Rest {
    Sleep(Option<Instant>),
    Over,
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> Driver<K> {
    async fn drive(mut self) {
        while let Rest::Sleep(next) = self.catch_up() {
            let shared = Arc::clone(&self.shared);
            let called = shared.bell.task.notified();
            match next {
                // Called or not, there may be something to do.
                Some(next) => drop(timeout_at(next, called).await),
                None => called.await,
            }
        }
    }

    fn drive_on_thread(mut self) {
        let runtime = self.runtime.clone();
        // For observers and destructors that want it.
        let _context = runtime.enter();
        while let Rest::Sleep(next) = self.catch_up() {
            match next {
                Some(next) => thread::park_timeout(next.saturating_duration_since(Instant::now())),
                None => thread::park(),
            }
        }
    }

    /// Does all there is to do now, a batch at a time.
    fn catch_up(&mut self) -> Rest {
        loop {
            // Read first: what was decided before it was set is then carried out.
            let stopping = self.shared.stopping.load(Ordering::Acquire);
            let orphaned = self.shared.orphaned.load(Ordering::Acquire);
            let batch = self.shared.core(|core, now| {
                if orphaned && !core.is_closed() {
                    core.close(now);
                }
                core.advance(now);
                let effects = core.take_effects();
                if !effects.is_empty() || core.next().is_some_and(|next| next <= now) {
                    return Ok(effects);
                }
                let over = stopping || (core.is_closed() && core.running() == 0);
                let next = core.driver_sleeps();
                Err(if over { None } else { Some(next) })
            });
            match batch {
                Ok(effects) => self.carry_out(effects),
                Err(None) => return Rest::Over,
                Err(Some(next)) => {
                    return Rest::Sleep(next.map(|tick| self.shared.instant(tick)));
                }
            }
        }
    }

    /// Carries out a batch: first what there is to tell and to clear away, then what is to run.
    fn carry_out(&mut self, effects: Vec<Effect<K, Handler<K>>>) {
        let mut starts = Vec::new();
        for effect in effects {
            match effect {
                Effect::Start(start) => starts.push(start),
                effect => guarded(|| self.settle(effect)),
            }
        }
        if !starts.is_empty() {
            for begun in self.shared.begin(starts) {
                guarded(|| self.launch(begun));
            }
        }
    }

    fn settle(&mut self, effect: Effect<K, Handler<K>>) {
        match effect {
            // Kept apart above.
            Effect::Start(_) => {}
            Effect::Cancel { run } => {
                if let Some(live) = self.live.get(&run.serial) {
                    live.canceller.cancel(Cause::Deadline);
                }
            }
            Effect::Abort { run } => {
                if let Some(live) = self.live.get(&run.serial) {
                    tracing::warn!(operation = %live.operation, "a run was overdue and is aborted");
                    live.task.abort();
                }
            }
            Effect::Gone { run } => drop(self.live.remove(&run.serial)),
            Effect::Finished(ending) => self.finished(&ending),
            Effect::Missed(missed) => self.missed(&missed),
            Effect::Discard { key, handler } => drop((key, handler)),
        }
    }

    fn launch(&mut self, begun: Begun<K, Handler<K>>) {
        let Begun {
            start,
            operation,
            confirmed,
        } = begun;
        let Start {
            run,
            handler,
            due,
            trigger,
            ..
        } = start;
        let (id, epoch, canceller) = (operation.id(), operation.epoch(), operation.canceller());
        let (report, claim) = task::hold(&self.shared, run);
        let given = Run {
            operation,
            due,
            started: confirmed.started.duration(),
            trigger,
            deadline: self.shared.instant(confirmed.deadline),
            claim,
        };
        let live = Live {
            operation: id,
            epoch,
            canceller,
            task: handler.launch(given, report, &self.runtime),
        };
        self.live.insert(run.serial, live);
    }

    fn finished(&self, ending: &Ending<K>) {
        let Some(live) = self.live.get(&ending.run.serial) else {
            return;
        };
        let finished = Finished {
            key: K::clone(&ending.key),
            operation: live.operation,
            epoch: live.epoch,
            due: ending.due,
            trigger: ending.trigger,
            started: ending.started.duration(),
            ended: ending.ended.duration(),
            how: ending.how,
        };
        self.shared.observer.finished(finished);
    }

    fn missed(&self, missed: &Missed<Arc<K>>) {
        let Missed {
            ref key,
            epoch,
            due,
            slots,
            interval,
            reason,
        } = *missed;
        tracing::debug!(reason = reason.as_str(), slots, "due times were missed");
        let key = K::clone(key);
        let missed = Missed {
            key,
            epoch,
            due,
            slots,
            interval,
            reason,
        };
        self.shared.observer.missed(missed);
    }
}

impl<K> Drop for Driver<K> {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

/// Observers, destructors of handlers and clones of keys are somebody else's code: a panic in it
/// must not take the driver down.
fn guarded(step: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(step)).is_err() {
        tracing::error!("an observer, a key or the end of a handler panicked");
    }
}

/// Serials are never used twice: a factor is enough to spread them.
#[derive(Default)]
struct SerialHasher(u64);

impl Hasher for SerialHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, serial: u64) {
        self.0 = (self.0 ^ serial).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
