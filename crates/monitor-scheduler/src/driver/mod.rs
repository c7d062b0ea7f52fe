//! The driver: sleeps until something is due and carries out what the kernel decides.
//!
//! Contents: here its loop, in `live` the runs that are going on, in `prompt` those that it runs
//! itself.

mod live;
mod prompt;

use std::{
    collections::VecDeque,
    hash::Hash,
    sync::{Arc, atomic::Ordering},
    thread,
};

use monitor_operation::Cause;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    time::Instant,
};

use crate::{
    Finished, Missed, Run,
    begin::Begun,
    kernel::{Effect, Ending, Keyed, RunId, Start},
    shared::{Bell, Handler, Shared, guarded},
    task::{Report, Reports},
};

use self::{
    live::{Live, LiveRuns, Place},
    prompt::Prompt,
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
    let on_thread = matches!(shared.bell, Bell::Thread { .. });
    let mut driver = Box::new(Driver {
        reports: Reports::new(&shared),
        shared,
        runtime: runtime.clone(),
        effects: Vec::new(),
        live: LiveRuns::new(),
        prompt: None,
        queue: VecDeque::new(),
        here: None,
    });
    if !on_thread {
        runtime.spawn(driver.drive());
        return;
    }
    driver.prompt = Some(Prompt::new(&runtime));
    let thread = thread::Builder::new().name(THREAD.to_owned());
    if let Err(error) = thread.spawn(move || driver.drive_on_thread()) {
        panic!("the scheduler got no thread for its driver: {error}");
    }
}

/// What calls a driver on the present runtime.
///
/// # Panics
///
/// Outside of a runtime.
pub(crate) fn bell() -> Bell {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        Bell::of_task()
    } else {
        Bell::of_thread()
    }
}

const THREAD: &str = "monitor-scheduler";

struct Driver<K: Clone + Eq + Hash> {
    shared: Arc<Shared<K>>,
    /// Where handlers run.
    runtime: Handle,
    /// What is to be carried out.
    effects: Vec<Effect<Handler<K>>>,
    live: LiveRuns<K>,
    /// For handlers that it runs itself, where it has a thread of its own.
    prompt: Option<Prompt<K>>,
    /// Runs of theirs that are to begin.
    queue: VecDeque<Begun<K, Handler<K>>>,
    /// The run that it is in while it is away.
    here: Option<(RunId, Live<K>)>,
    reports: Reports<K>,
}

/// What is left to the driver when all is done that there is to do.
enum Rest {
    /// To run handlers that are prompt.
    Prompt,
    Sleep(Option<Instant>),
    Over,
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> Driver<K> {
    async fn drive(mut self: Box<Self>) {
        while let Rest::Sleep(next) = self.catch_up() {
            let shared = Arc::clone(&self.shared);
            shared.bell.called(next).await;
        }
    }

    fn drive_on_thread(mut self: Box<Self>) {
        let runtime = self.runtime.clone();
        // For observers and destructors that want it.
        let _context = runtime.enter();
        loop {
            match self.catch_up() {
                Rest::Prompt => match self.run_prompt() {
                    Some(still) => self = still,
                    None => return,
                },
                Rest::Sleep(next) => self.shared.bell.wait(next),
                Rest::Over => return,
            }
        }
    }

    /// Does all there is to do now, a batch at a time.
    fn catch_up(&mut self) -> Rest {
        loop {
            self.welcome_strays();
            // Of one who was lost among them. They begin first: what is decided about a run from
            // here on is to find it among those that are going on.
            if !self.queue.is_empty() {
                return Rest::Prompt;
            }
            // Read first: what was decided before it was set is then carried out.
            let stopping = self.shared.stopping.load(Ordering::Acquire);
            let orphaned = self.shared.orphaned.load(Ordering::Acquire);
            let effects = &mut self.effects;
            let rest = self.shared.drive(|core, now| {
                if orphaned && !core.is_closed() {
                    core.close(now);
                }
                core.advance(now);
                core.swap_effects(effects);
                if !effects.is_empty() || core.next().is_some_and(|next| next <= now) {
                    return None;
                }
                let over = stopping || (core.is_closed() && core.running() == 0);
                let next = core.driver_sleeps();
                Some(if over { Err(()) } else { Ok(next) })
            });
            match rest {
                None => self.carry_out(),
                Some(Err(())) => return Rest::Over,
                Some(Ok(next)) => {
                    return Rest::Sleep(next.map(|tick| self.shared.instant(tick)));
                }
            }
        }
    }

    /// Carries out a batch: first what there is to tell and to clear away, then what is to run.
    fn carry_out(&mut self) {
        /// A batch is rarely larger, and what is not used is given back.
        const ROOM: usize = 4096;
        let mut effects = std::mem::take(&mut self.effects);
        let mut starts = Vec::with_capacity(effects.len().min(ROOM));
        for effect in effects.drain(..) {
            match effect {
                Effect::Start(start) => starts.push(start),
                effect => guarded(|| self.settle(effect)),
            }
        }
        effects.shrink_to(ROOM);
        self.effects = effects;
        if starts.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        for begun in shared.begin(starts) {
            if self.prompt.is_some() && begun.start.handler.is_prompt() {
                self.queue.push_back(begun);
            } else {
                guarded(|| self.spawn(begun));
            }
        }
    }

    fn settle(&mut self, effect: Effect<Handler<K>>) {
        match effect {
            // Kept apart above.
            Effect::Start(_) => {}
            Effect::Cancel { run } => self.live.cancel(run, Cause::Deadline),
            Effect::Abort { run } => self.live.abort(run),
            Effect::Gone { run } => self.live.remove(run),
            Effect::Finished(ending) => self.finished(&ending),
            Effect::Missed(missed) => self.missed(missed),
            Effect::Discard { handler } => drop(handler),
        }
    }

    /// Makes a run a task of its own.
    fn spawn(&mut self, begun: Begun<K, Handler<K>>) {
        let run = begun.start.run;
        let (handler, live, given, report) = self.enter(begun);
        self.live.insert(run, live);
        let task = handler.launch(given, report, &self.runtime);
        self.live.goes_on(run, task);
    }

    /// Makes what a handler is given, and what the driver keeps of its run.
    fn enter(&mut self, begun: Begun<K, Handler<K>>) -> (Handler<K>, Live<K>, Run<K>, Report<K>) {
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
        let live = Live {
            key: handler.at_hand().clone(),
            operation: operation.id(),
            epoch: operation.epoch(),
            canceller: Some(operation.canceller()),
            place: Place::Thread,
        };
        let (report, claim) = self.reports.hold(run);
        let given = Run {
            operation,
            due,
            started: confirmed.started.duration(),
            trigger,
            deadline: self.shared.instant(confirmed.deadline),
            claim,
        };
        (handler, live, given, report)
    }

    fn finished(&self, ending: &Ending) {
        let Some(live) = self.live.get(ending.run) else {
            return;
        };
        let finished = Finished {
            key: live.key.get().clone(),
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

    fn missed(&self, missed: Missed<Handler<K>>) {
        let Missed { slots, reason, .. } = missed;
        tracing::debug!(reason = reason.as_str(), slots, "due times were missed");
        let missed = missed.map(|handler| handler.key().clone());
        self.shared.observer.missed(missed);
    }
}

impl<K: Clone + Eq + Hash> Drop for Driver<K> {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
