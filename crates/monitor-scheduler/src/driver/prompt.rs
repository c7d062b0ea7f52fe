//! Handlers that the driver runs itself: those that were done at once when they last ran.
//!
//! A task of its own costs such a handler several times what it does: memory from one thread that
//! another one gives back, a queue, a worker to be woken. Here it is called on the driver's thread.
//! If it is not done at once this time, what is left of it becomes a task. If it does not come back
//! at all, another thread takes the driver over, see [`Handover`]; so it holds up nobody for longer
//! than that takes.

use std::{
    future::pending,
    hash::Hash,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{runtime::Handle, task::AbortHandle};

use super::{Driver, THREAD};
use crate::{
    handover::Handover,
    kernel::{End, RunId, Tick},
    shared::guarded,
    sync::{Mutex, lock},
    task::{Attempt, Rest},
};

/// For so long the driver runs handlers in one turn. What is left then become tasks.
const TURN: Duration = Duration::from_millis(1);
/// So many threads may be away in handlers that do not come back. With more, all runs are tasks.
const MOST_LOST: usize = 4;

/// What the driver needs to run handlers itself.
pub(super) struct Prompt<K: Clone + Eq + Hash> {
    shelf: Arc<Shelf<K>>,
    /// A thread that takes the driver over, from when it is first needed.
    has_follower: bool,
    /// A task that ends with the runtime.
    canary: AbortHandle,
}

struct Shelf<K: Clone + Eq + Hash> {
    driver: Handover<Box<Driver<K>>>,
    /// Tasks of runs that threads began which lost the driver meanwhile.
    strays: Mutex<Vec<(RunId, AbortHandle)>>,
    runtime_is_over: Arc<AtomicBool>,
}

/// Notes the end of the runtime, when dropped.
struct Canary(Arc<AtomicBool>);

impl Drop for Canary {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> Prompt<K> {
    pub(super) fn new(runtime: &Handle) -> Self {
        let runtime_is_over = Arc::new(AtomicBool::new(false));
        let canary = Canary(Arc::clone(&runtime_is_over));
        let lives = async move {
            let _canary = canary;
            pending::<()>().await;
        };
        Self {
            shelf: Arc::new(Shelf {
                driver: Handover::new(),
                strays: Mutex::new(Vec::new()),
                runtime_is_over,
            }),
            has_follower: false,
            canary: runtime.spawn(lives).abort_handle(),
        }
    }

    /// Whether handlers may be run here. Finds a follower if there is none.
    fn is_ready(&mut self) -> bool {
        let shelf = &self.shelf;
        if shelf.runtime_is_over.load(Ordering::Acquire) || shelf.driver.lost() >= MOST_LOST {
            return false;
        }
        if !self.has_follower {
            let shelf = Arc::clone(shelf);
            let follower = thread::Builder::new().name(THREAD.to_owned());
            let follows = move || shelf.follow();
            self.has_follower = follower.spawn(follows).is_ok();
        }
        self.has_follower
    }
}

impl<K: Clone + Eq + Hash> Drop for Prompt<K> {
    fn drop(&mut self) {
        self.shelf.driver.end();
        self.canary.abort();
    }
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> Shelf<K> {
    fn follow(&self) {
        let Some(mut driver) = self.driver.follow() else {
            return;
        };
        tracing::warn!("a handler blocks the thread of the scheduler; another one goes on");
        if let Some(prompt) = &mut driver.prompt {
            prompt.has_follower = false;
        }
        driver.is_back(false);
        // Those that ended before in the same turn.
        driver.reports.tell();
        driver.drive_on_thread();
    }
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> Driver<K> {
    /// Runs the prompt handlers that are to run. None: another thread has become the driver.
    pub(super) fn run_prompt(mut self: Box<Self>) -> Option<Box<Self>> {
        let runtime = self.runtime.clone();
        let Some(prompt) = self.prompt.as_mut() else {
            return Some(self);
        };
        let shelf = Arc::clone(&prompt.shelf);
        let is_ready = prompt.is_ready();
        let shared = Arc::clone(&self.shared);
        let mut now = shared.now();
        let end = if is_ready { now + TURN } else { now };
        while let Some(begun) = self.queue.pop_front() {
            if now >= end {
                guarded(|| self.spawn(begun));
                continue;
            }
            let run = begun.start.run;
            let (handler, live, given, mut report) = self.enter(begun);
            self.here = Some((run, live));
            shelf.driver.leave(self);
            let attempt = attempt(|| handler.attempt(given));
            let before = std::mem::replace(&mut now, shared.now());
            let is_done = matches!(attempt, Attempt::Done(_));
            handler.note(is_done.then(|| now.saturating_sub(before)));
            guarded(|| drop(handler));
            // From here on nobody else's code runs.
            let back = shelf.driver.take_back();
            match attempt {
                Attempt::Done(end) => {
                    report.end = end;
                    self = back?;
                    self.reports.add(report, Tick::floor(now));
                    self.is_back(true);
                }
                Attempt::GoesOn(work) => {
                    // From outside of the runtime, so that whoever of its workers is free takes it.
                    let rest = Rest { work, report };
                    let task = runtime.spawn(rest.run()).abort_handle();
                    let Some(driver) = back else {
                        lock(&shelf.strays).push((run, task));
                        shared.bell.ring();
                        return None;
                    };
                    self = driver;
                    self.is_back(false);
                    self.live.goes_on(run, task);
                }
            }
        }
        self.reports.tell();
        Some(self)
    }

    /// The run that the driver was in is one of those that are going on, or has ended: then there
    /// is nothing to cancel any more.
    fn is_back(&mut self, has_ended: bool) {
        if let Some((run, mut live)) = self.here.take() {
            if has_ended {
                live.canceller = None;
            }
            self.live.insert(run, live);
        }
    }

    /// Takes up the tasks of runs that lost threads began.
    pub(super) fn welcome_strays(&mut self) {
        if let Some(prompt) = &self.prompt {
            let strays = std::mem::take(&mut *lock(&prompt.shelf.strays));
            for (run, task) in strays {
                self.live.goes_on(run, task);
            }
        }
    }
}

/// Calls a handler: a panic in it is its end and nobody else's.
fn attempt(handler: impl FnOnce() -> Attempt) -> Attempt {
    catch_unwind(AssertUnwindSafe(handler)).unwrap_or_else(|panic| {
        guarded(|| drop(panic));
        Attempt::Done(End::Panicked)
    })
}
