//! The driver: sleeps until something is due and carries out what the kernel decides.

use std::{
    collections::HashMap,
    hash::Hash,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    thread,
};

use monitor_operation::{Canceller, Cause, Epoch, OperationId};
use tokio::{
    runtime::{Builder, Handle, RuntimeFlavor},
    task::AbortHandle,
    time::{Instant, timeout_at},
};

use crate::{
    Finished, Missed, Run,
    kernel::{Effect, Ending, RunId, Start},
    shared::{Handler, Shared},
    task,
};

/// Starts the driver of a scheduler.
///
/// On a multi-threaded runtime it gets a thread and a clock of its own. As a task it could be left
/// behind in the queue of a worker that a handler blocks, from where no other worker takes it; and
/// the tasks it spawns from outside wake a worker each, so that timers and sockets of the other
/// handlers are looked after while one is blocked.
///
/// # Panics
///
/// Outside of a runtime, and when there is no thread to be had.
pub(crate) fn start<K: Clone + Eq + Hash + Send + Sync + 'static>(shared: Arc<Shared<K>>) {
    let runtime = Handle::current();
    let driver = Driver {
        shared,
        runtime: runtime.clone(),
        live: HashMap::new(),
    };
    if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread {
        runtime.spawn(driver.drive());
        return;
    }
    let on_thread = || -> io::Result<()> {
        let own = Builder::new_current_thread().enable_time().build()?;
        let thread = thread::Builder::new().name("monitor-scheduler".to_owned());
        thread.spawn(move || own.block_on(driver.drive()))?;
        Ok(())
    };
    if let Err(error) = on_thread() {
        panic!("the scheduler got no thread for its driver: {error}");
    }
}

struct Driver<K> {
    shared: Arc<Shared<K>>,
    /// Where handlers run.
    runtime: Handle,
    /// What it takes to cancel and to abort the runs that are going on.
    live: HashMap<RunId, Live>,
}

struct Live {
    operation: OperationId,
    epoch: Epoch,
    canceller: Canceller,
    task: AbortHandle,
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> Driver<K> {
    async fn drive(mut self) {
        loop {
            // Read first: what was decided before it was set is then carried out.
            let stopping = self.shared.stopping.load(Ordering::Acquire);
            if self.shared.orphaned.load(Ordering::Acquire) {
                self.shared.core(|core, now| core.close(now));
            }
            let next = self.catch_up();
            let over = self
                .shared
                .core(|core, _| core.is_closed() && core.running() == 0);
            if stopping || over {
                return;
            }
            let woken = self.shared.wake.notified();
            match next {
                // Woken or not, there may be something to do.
                Some(next) => drop(timeout_at(next, woken).await),
                None => woken.await,
            }
        }
    }

    /// Does all there is to do now, and returns when there may be more.
    fn catch_up(&mut self) -> Option<Instant> {
        loop {
            let (effects, next) = self.shared.core(|core, now| {
                core.advance(now);
                (core.take_effects(), core.next())
            });
            if effects.is_empty() {
                return next.map(|tick| self.shared.instant(tick));
            }
            for effect in effects {
                // Observers, destructors of handlers and clones of keys are somebody else's code:
                // a panic in it must not take the driver down.
                let done = catch_unwind(AssertUnwindSafe(|| self.carry_out(effect)));
                if done.is_err() {
                    tracing::error!("an observer, a key or the end of a handler panicked");
                }
            }
        }
    }

    fn carry_out(&mut self, effect: Effect<K, Handler<K>>) {
        match effect {
            Effect::Start(start) => self.start(start),
            Effect::Cancel { run } => {
                if let Some(live) = self.live.get(&run) {
                    live.canceller.cancel(Cause::Deadline);
                }
            }
            Effect::Abort { run } => {
                if let Some(live) = self.live.get(&run) {
                    tracing::warn!(operation = %live.operation, "a run was overdue and is aborted");
                    live.task.abort();
                }
            }
            Effect::Gone { run } => drop(self.live.remove(&run)),
            Effect::Finished(ending) => self.finished(&ending),
            Effect::Missed(missed) => self.missed(&missed),
            Effect::Discard { key, handler } => drop((key, handler)),
        }
    }

    fn start(&mut self, start: Start<K, Handler<K>>) {
        let Start {
            run,
            key,
            handler,
            due,
            trigger,
        } = start;
        let Some((operation, confirmed)) = self.shared.begin(run, &key) else {
            return;
        };
        let (id, epoch, canceller) = (operation.id(), operation.epoch(), operation.canceller());
        let given = Run {
            operation,
            due: self.shared.core(|core, _| core.due(due)),
            started: confirmed.started.duration(),
            trigger,
            deadline: self.shared.instant(confirmed.deadline),
            claim: task::claim(&self.shared, run),
        };
        let work = task::work(task::report(&self.shared, run), handler, given);
        let task = self.runtime.spawn(work).abort_handle();
        self.live.insert(
            run,
            Live {
                operation: id,
                epoch,
                canceller,
                task,
            },
        );
    }

    fn finished(&self, ending: &Ending<K>) {
        let Some(live) = self.live.get(&ending.run) else {
            return;
        };
        let finished = Finished {
            key: K::clone(&ending.key),
            operation: live.operation,
            epoch: live.epoch,
            due: self.shared.core(|core, _| core.due(ending.due)),
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
        self.shared.stopped.store(true, Ordering::Release);
        self.shared.ended.notify_waiters();
    }
}
