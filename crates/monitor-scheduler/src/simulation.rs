//! The kernel itself, for programs that bring a clock of their own: simulators.
//!
//! A [`Kernel`] decides as a [`Scheduler`](crate::Scheduler) does, for it is the same code; but it
//! has neither clock nor thread, and runs nothing. Whoever has one is its driver: tells it the time
//! with each call, carries out its [`Effect`]s in order, and says when a handler has ended. That a
//! driver may be late, or a handler never end, is what there is to be simulated.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use monitor_scheduler::{Completion, Config, Operations, Spec, Verdict};
//! use monitor_scheduler::simulation::{Effect, End, Kernel};
//!
//! let mut kernel = Kernel::new(&Config::default(), Operations::new());
//! let spec = Spec::builder(Duration::from_secs(60)).build()?;
//! kernel.schedule("db", spec, Duration::ZERO)?;
//!
//! // The next moment may bring no more than a turn of the wheel.
//! while kernel.started_total() == 0 {
//!     let now = kernel.next().ok_or("a key that was added has a timer")?;
//!     kernel.advance(now);
//!     for effect in kernel.take_effects() {
//!         let Effect::Start(start) = effect else { continue };
//!         for begun in kernel.begin(vec![start], now) {
//!             assert!(begun.operation.commit(|| ()).is_ok());
//!             kernel.ended(begun.run, End::Returned(Completion::new(Verdict::Success)), now);
//!         }
//!     }
//! }
//! assert_eq!(kernel.running(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{fmt, hash::Hash, sync::PoisonError, time::Duration};

use monitor_operation::{Cause, Fence, Key, Operation, Operations};

use crate::{
    Class, Completion, Config, Due, Explanation, Missed, MissedCounts, Pace, ScheduleError, Spec,
    Trigger, TriggerOutcome,
    begin::begin,
    kernel::{self, Core, RunId, Tick},
    sync::{Mutex, lock},
};

/// The kernel of a scheduler. All times are since an origin of the caller's, and never run back.
pub struct Kernel<K> {
    core: Mutex<Core<Key<K>>>,
    operations: Operations<K>,
    /// An empty list, for the next time that effects are taken.
    done: Vec<kernel::Effect<Key<K>>>,
    /// When to look next, as long as no step may have changed that.
    next: Option<Option<Tick>>,
}

/// One run of one key, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunNumber(RunId);

/// What the driver has to do.
#[non_exhaustive]
pub enum Effect<K> {
    /// Begin a run: see [`Kernel::begin`].
    Start(Start<K>),
    /// The deadline of a run has come: its handler is told to stop.
    Cancel(RunNumber),
    /// The grace of a run is over: its task is aborted.
    Abort(RunNumber),
    /// Due times came and nothing was run.
    Missed(Missed<K>),
}

/// A run that is wanted, and has not begun.
pub struct Start<K>(kernel::Start<Key<K>>);

/// A run that has begun.
#[non_exhaustive]
pub struct Begun<K> {
    /// Which run it is.
    pub run: RunNumber,
    /// The right to commit its result.
    pub operation: Operation<K>,
    /// The due time it is for.
    pub due: Due,
    /// What set it off.
    pub trigger: Trigger,
    /// When it will be cancelled.
    pub deadline: Duration,
}

/// How a handler ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It returned.
    Returned(Completion),
    /// It panicked.
    Panicked,
    /// Its task was aborted.
    Aborted,
}

/// The numbers of the whole, at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Numbers {
    /// How many runs hold a permit.
    pub permits_held: usize,
    /// How many may.
    pub permits: usize,
    /// How many keys wait for one.
    pub queue_depth: usize,
    /// How long the first of them has been waiting.
    pub queue_oldest: Option<Duration>,
    /// Runs started.
    pub started_total: u64,
    /// Due times missed, by reason.
    pub missed: MissedCounts,
}

impl RunNumber {
    /// Returns a small number that no other run has as long as this one goes on.
    #[must_use]
    pub fn place(self) -> u32 {
        self.0.index
    }
}

impl<K: Clone + Eq + Hash> Kernel<K> {
    /// Makes a kernel without keys, whose runs begin their operations in `operations`.
    #[must_use]
    pub fn new(config: &Config, operations: Operations<K>) -> Self {
        Self {
            core: Mutex::new(Core::new(config)),
            operations,
            done: Vec::new(),
            next: None,
        }
    }

    /// Adds a key, or gives one that is there a new spec: see
    /// [`Scheduler::schedule`](crate::Scheduler::schedule). True if it is new.
    ///
    /// # Errors
    ///
    /// As there; nothing was changed.
    pub fn schedule(&mut self, key: K, spec: Spec, now: Duration) -> Result<bool, ScheduleError> {
        self.place(key, spec, false, now)
    }

    /// The same, paused: see [`Scheduler::schedule_paused`](crate::Scheduler::schedule_paused).
    ///
    /// # Errors
    ///
    /// As there; nothing was changed.
    pub fn schedule_paused(
        &mut self,
        key: K,
        spec: Spec,
        now: Duration,
    ) -> Result<bool, ScheduleError> {
        self.place(key, spec, true, now)
    }

    fn place(
        &mut self,
        key: K,
        spec: Spec,
        paused: bool,
        now: Duration,
    ) -> Result<bool, ScheduleError> {
        let at_hand = self.operations.hold(key);
        let handler = at_hand.clone();
        let placed = self.step(now, |core, now| core.schedule(&spec, handler, paused, now));
        let created = placed.map_err(|_| ScheduleError::ShutDown)?;
        if !created {
            drop(at_hand.fence(Cause::Edited));
        }
        Ok(created)
    }

    /// See [`Scheduler::cancel`](crate::Scheduler::cancel).
    pub fn cancel(&mut self, key: &K, now: Duration) -> Option<Fence> {
        let known = self.step(now, |core, now| core.remove(key, now));
        known.then(|| self.fence(key, Cause::Stopped)).flatten()
    }

    /// See [`Scheduler::pause`](crate::Scheduler::pause).
    pub fn pause(&mut self, key: &K, now: Duration) -> Option<Fence> {
        let known = self.step(now, |core, now| core.pause(key, now));
        known.then(|| self.fence(key, Cause::Paused)).flatten()
    }

    /// See [`Scheduler::resume`](crate::Scheduler::resume).
    #[must_use = "false when there is no such key"]
    pub fn resume(&mut self, key: &K, now: Duration) -> bool {
        self.step(now, |core, now| core.resume(key, now))
    }

    /// See [`Scheduler::trigger`](crate::Scheduler::trigger).
    #[must_use = "a trigger may come to nothing"]
    pub fn trigger(&mut self, key: &K, now: Duration) -> TriggerOutcome {
        self.step(now, |core, now| core.trigger(key, now))
    }

    /// See [`Scheduler::set_pace`](crate::Scheduler::set_pace).
    pub fn set_pace(&mut self, class: Class, pace: Pace, now: Duration) {
        self.step(now, |core, now| core.set_pace(class, pace, now));
    }

    /// Returns when to call [`advance`](Kernel::advance) at the latest, if nothing else happens.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "it takes nothing out: asked again it says the same"
    )]
    pub fn next(&mut self) -> Option<Duration> {
        let core = exclusive(&mut self.core);
        let next = *self.next.get_or_insert_with(|| core.next());
        next.map(Tick::duration)
    }

    /// Lets a batch of what is due by `now` happen. Call it again, after the effects, while
    /// [`next`](Kernel::next) is not after `now`.
    pub fn advance(&mut self, now: Duration) {
        self.step(now, Core::advance);
    }

    /// Takes what the driver has to do, in order.
    pub fn take_effects(&mut self) -> Vec<Effect<K>> {
        let effects = self.core().take_effects();
        effects.into_iter().filter_map(Effect::told).collect()
    }

    /// The same, one by one and without a list: for those who look after each step.
    pub fn drain_effects(&mut self) -> impl Iterator<Item = Effect<K>> {
        exclusive(&mut self.core).swap_effects(&mut self.done);
        self.done.drain(..).filter_map(Effect::told)
    }

    /// Begins runs, as the driver of a scheduler does. Those that are not wanted any more do not
    /// come back.
    pub fn begin(&mut self, starts: Vec<Start<K>>, now: Duration) -> Vec<Begun<K>> {
        self.next = None;
        let now = Tick::floor(now);
        let starts = starts.into_iter().map(|Start(start)| start).collect();
        let begun = begin(&self.core, starts, |start| start.handler.begin(), || now);
        let begun = begun.map(|begun| Begun {
            run: RunNumber(begun.start.run),
            operation: begun.operation,
            due: begun.start.due,
            trigger: begun.start.trigger,
            deadline: begun.confirmed.deadline.duration(),
        });
        begun.collect()
    }

    /// The handler of a run has ended, and nobody has its claim.
    pub fn ended(&mut self, RunNumber(run): RunNumber, end: End, now: Duration) {
        let end = match end {
            End::Returned(completion) => kernel::End::Returned(completion),
            End::Panicked => kernel::End::Panicked,
            End::Aborted => kernel::End::Dropped,
        };
        self.step(now, |core, now| core.ended(run, end, now));
    }

    /// Starts nothing more: the first step of [`Scheduler::shutdown`](crate::Scheduler::shutdown).
    pub fn close(&mut self, now: Duration) {
        self.step(now, Core::close);
    }

    /// Fences what is still going on and returns its keys: the last step of a shutdown.
    pub fn abandon(&mut self, now: Duration) -> Vec<K> {
        let left = self.step(now, Core::abandon);
        for key in &left {
            drop(key.fence(Cause::Shutdown));
        }
        left.iter().map(|key| key.get().clone()).collect()
    }

    /// Returns how many runs are going on.
    #[must_use]
    pub fn running(&self) -> usize {
        lock(&self.core).running()
    }

    /// Returns how many runs were started.
    #[must_use]
    pub fn started_total(&self) -> u64 {
        lock(&self.core).started_total()
    }

    /// See [`Scheduler::explain`](crate::Scheduler::explain).
    #[must_use]
    pub fn explain(&mut self, key: &K, now: Duration) -> Option<Explanation<K>> {
        let explanation = self.step(now, |core, now| core.explain(key, now))?;
        Some(explanation.map(|key| key.get().clone()))
    }

    /// Returns when the timer of a key comes: its start, jitter and all, while it waits for that.
    #[must_use]
    pub fn timer(&mut self, key: &K) -> Option<Duration> {
        exclusive(&mut self.core).timer(key).map(Tick::duration)
    }

    /// The same of the key of a run that has just ended, without looking it up.
    #[must_use]
    pub fn timer_after(&mut self, RunNumber(run): RunNumber) -> Option<Duration> {
        exclusive(&mut self.core)
            .timer_at(run.index)
            .map(Tick::duration)
    }

    /// Returns the numbers of the whole.
    #[must_use]
    pub fn numbers(&mut self, now: Duration) -> Numbers {
        let whole = self.step(now, Core::overview);
        let held = whole.classes.map(|class| class.current_concurrency);
        Numbers {
            permits_held: held.iter().sum(),
            permits: whole.concurrency_limit,
            queue_depth: whole.queue_depth,
            queue_oldest: whole.queue_oldest,
            started_total: whole.started_total,
            missed: whole.missed,
        }
    }

    /// Loses the timer of a key, which no kernel does: for whoever wants to see that he would find
    /// out. True if it had one.
    #[doc(hidden)]
    pub fn lose_timer(&mut self, key: &K) -> bool {
        self.core().lose_timer(key)
    }

    fn step<R>(&mut self, now: Duration, step: impl FnOnce(&mut Core<Key<K>>, Tick) -> R) -> R {
        step(self.core(), Tick::floor(now))
    }

    /// The core for a step, after which another timer may be the next.
    fn core(&mut self) -> &mut Core<Key<K>> {
        self.next = None;
        exclusive(&mut self.core)
    }

    /// After the kernel was told to start nothing more of before, as a scheduler does it.
    fn fence(&self, key: &K, cause: Cause) -> Option<Fence> {
        self.operations.fence(key, cause)
    }
}

/// Nobody else has it, so there is nothing to lock.
fn exclusive<T>(mutex: &mut Mutex<T>) -> &mut T {
    mutex.get_mut().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Clone> Effect<K> {
    /// What of an effect concerns who has no handlers.
    fn told(effect: kernel::Effect<Key<K>>) -> Option<Self> {
        match effect {
            kernel::Effect::Start(start) => Some(Self::Start(Start(start))),
            kernel::Effect::Cancel { run } => Some(Self::Cancel(RunNumber(run))),
            kernel::Effect::Abort { run } => Some(Self::Abort(RunNumber(run))),
            kernel::Effect::Missed(missed) => {
                Some(Self::Missed(missed.map(|key| key.get().clone())))
            }
            kernel::Effect::Finished(_)
            | kernel::Effect::Gone { .. }
            | kernel::Effect::Discard { .. } => None,
        }
    }
}

impl<K> fmt::Debug for Kernel<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").finish_non_exhaustive()
    }
}

impl<K> fmt::Debug for Effect<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start(_) => "Start",
            Self::Cancel(_) => "Cancel",
            Self::Abort(_) => "Abort",
            Self::Missed(_) => "Missed",
        })
    }
}

impl<K> fmt::Debug for Start<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").finish_non_exhaustive()
    }
}

impl<K: fmt::Debug> fmt::Debug for Begun<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun")
            .field("run", &self.run)
            .field("operation", &self.operation)
            .field("due", &self.due)
            .finish_non_exhaustive()
    }
}
