//! The kernel: a sequential state machine of keys that decides what runs when.
//!
//! It reads no clock, spawns nothing and calls nobody: `now` comes in with each call, and what is
//! to be done goes out as [`Effect`]s, which the shell carries out under no lock.
//!
//! Contents: `entry` is what is known of one key, `kinds` what many have in common; `keys` adds,
//! changes and removes keys; `arm` sets due times and reports missed ones; `start` takes keys to
//! their runs, `newcomers` those that are new, `runs` brings runs to their end; `permits` and `queue`
//! are the tree that bounds them; `pace` slows classes down; `snapshot` and `explain` look; `check`
//! holds the invariants.

mod arm;
mod check;
mod entry;
mod explain;
mod grid;
mod keyed;
mod keys;
mod kinds;
mod names;
mod newcomers;
mod pace;
mod permits;
mod policies;
mod queue;
mod runs;
mod slab;
mod snapshot;
mod start;
mod tick;

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, hint::black_box};

use rand::{SeedableRng, rngs::SmallRng};

use crate::{
    Class, Config, Due, Missed, Pace, Saturation, Trigger, observer::MissedCounts, wheel::Wheel,
};

use self::{
    entry::{Entry, NO_PAST, Past, Running},
    kinds::Kinds,
    names::Names,
    newcomers::Newcomers,
    permits::Permits,
    queue::Queue,
    slab::Slab,
};
pub(crate) use self::{
    grid::Grid,
    keyed::Keyed,
    runs::End,
    start::Confirmed,
    tick::{Tick, millis},
};
use crate::observer::Ended;

/// The keys of a scheduler with all they wait for.
pub(crate) struct Core<H> {
    names: Names,
    entries: Slab<Entry<H>>,
    kinds: Kinds,
    pasts: Slab<Past>,
    /// One timer for each key: its start, or the next thing to happen to its run.
    wheel: Wheel,
    queue: Queue,
    newcomers: Newcomers,
    /// INV-SCHEDULER-4: no run starts without a permit, and each permit is in one run.
    permits: Permits,
    paces: [Pace; 3],
    /// Numbers the runs and the queue tickets; never used twice.
    serial: u64,
    /// The latest time heard of. Threads may arrive in another order than they looked at the clock.
    now: Tick,
    /// Counts the steps: what was seen at a higher number was seen later.
    sequence: u64,
    saturation: Saturation,
    max_wait_ms: Option<u64>,
    grace_ms: u64,
    origin_unix_ms: u64,
    rng: SmallRng,
    closed: bool,
    effects: Vec<Effect<H>>,
    /// Somebody waits for one of the effects.
    urgent: bool,
    /// When the driver looks again by itself; zero while it is awake or has been called.
    driver_wakes: Tick,
    fired: Vec<u32>,
    /// Runs that are going on.
    runs: usize,
    /// Room for runs to come, so that they are not allocated one by one.
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    spare: Vec<Box<Running>>,
    /// Keys ever added.
    added_total: u64,
    started_total: u64,
    missed: MissedCounts,
    #[cfg(test)]
    pub(crate) journal: Vec<(H, tests::Note)>,
}

/// One run of one key, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RunId {
    pub(crate) index: u32,
    pub(crate) serial: u64,
}

/// What the shell has to do.
pub(crate) enum Effect<H> {
    /// Begin an operation, then ask [`Core::confirm`] whether the run is still wanted.
    Start(Start<H>),
    /// The deadline has come: cancel the operation of the run.
    Cancel { run: RunId },
    /// The grace is over: abort the task of the run.
    Abort { run: RunId },
    /// Tell how the run ended.
    Finished(Ending),
    /// The handler has ended: there is nothing left to cancel or to abort.
    Gone { run: RunId },
    /// Tell about missed due times.
    Missed(Missed<H>),
    /// Destroy what the kernel no longer needs; it may be the last to hold it.
    Discard { handler: H },
}

/// A run that is wanted.
pub(crate) struct Start<H> {
    pub(crate) run: RunId,
    pub(crate) handler: H,
    pub(crate) due: Due,
    pub(crate) trigger: Trigger,
}

/// A run that has ended.
pub(crate) struct Ending {
    pub(crate) run: RunId,
    pub(crate) due: Due,
    pub(crate) trigger: Trigger,
    pub(crate) started: Tick,
    pub(crate) ended: Tick,
    pub(crate) how: Ended,
}

impl<H: Keyed> Core<H> {
    /// How many timers fire under one lock.
    pub(crate) const BATCH: usize = 512;

    pub(crate) fn new(config: &Config) -> Self {
        Self {
            names: Names::new(),
            entries: Slab::new(),
            kinds: Kinds::new(),
            pasts: Slab::new(),
            wheel: Wheel::new(),
            queue: Queue::new(&config.classes),
            newcomers: [const { VecDeque::new() }; 3],
            permits: Permits::new(config.max_concurrent.get(), &config.classes),
            paces: [Pace::Full; 3],
            serial: 0,
            now: Tick::ZERO,
            sequence: 0,
            saturation: config.saturation,
            max_wait_ms: config.max_wait.map(millis),
            grace_ms: millis(config.cleanup_grace),
            origin_unix_ms: millis(config.origin_unix),
            rng: SmallRng::seed_from_u64(config.seed),
            closed: false,
            effects: Vec::new(),
            urgent: false,
            driver_wakes: Tick::ZERO,
            fired: Vec::new(),
            runs: 0,
            spare: Vec::new(),
            added_total: 0,
            started_total: 0,
            missed: MissedCounts::default(),
            #[cfg(test)]
            journal: Vec::new(),
        }
    }

    /// Lets what is due by `now` happen, in the order in which it is due, up to a batch. Call again
    /// while [`next`](Core::next) is not after `now`.
    pub(crate) fn advance(&mut self, now: Tick) {
        self.clock(now);
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.advance(self.now.0, Self::BATCH, &mut fired);
        // Looked at once before it is its turn: so the memory of many keys comes at the same time
        // and not one after the other, which is what a million of them cost most.
        let touched = || fired.iter().filter_map(|index| self.entries.get(*index));
        let past = |entry: &Entry<H>| self.pasts.get(entry.past).map_or(0, |past| past.missed);
        black_box(touched().map(past).fold(0, u32::wrapping_add));
        touched().for_each(|entry| entry.handler.warm());
        // What fires may set a timer that is due as well, but only a bounded number of times: the
        // due times of a key increase.
        for index in fired.drain(..) {
            self.fire(index);
            self.check(index);
        }
        self.fired = fired;
    }

    /// When to call [`advance`](Core::advance) again at the latest, if nothing else happens.
    pub(crate) fn next(&self) -> Option<Tick> {
        self.wheel.next().map(Tick)
    }

    /// Takes what the shell has to do, in order, for an empty list that it is done with.
    pub(crate) fn swap_effects(&mut self, done: &mut Vec<Effect<H>>) {
        debug_assert!(done.is_empty(), "nothing that is to be done gets lost");
        self.urgent = false;
        std::mem::swap(&mut self.effects, done);
    }

    /// The same, for those who look seldom.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn take_effects(&mut self) -> Vec<Effect<H>> {
        let mut effects = Vec::new();
        self.swap_effects(&mut effects);
        effects
    }

    /// The driver goes to sleep until the next timer: nothing else is left to do.
    pub(crate) fn driver_sleeps(&mut self) -> Option<Tick> {
        let next = self.next();
        self.driver_wakes = next.unwrap_or(Tick::NEVER);
        next
    }

    /// Whether the driver has to be called. True once until it sleeps again.
    ///
    /// INV-SCHEDULER-8: a driver that sleeps is called for what is due before it wakes. What nobody
    /// waits for, the news of runs that have ended, is worth a call only if it does not look within
    /// a millisecond anyway.
    pub(crate) fn calls_driver(&mut self) -> bool {
        let wanted = if self.urgent {
            self.now
        } else if self.effects.is_empty() {
            self.next().unwrap_or(Tick::NEVER)
        } else {
            self.next().unwrap_or(Tick::NEVER).min(self.now.plus(1))
        };
        let calls = wanted < self.driver_wakes;
        if calls {
            self.driver_wakes = Tick::ZERO;
        }
        calls
    }

    /// Changes how many runs may hold a permit. Runs above a lowered limit go on.
    pub(crate) fn set_limit(&mut self, limit: usize, now: Tick) {
        self.clock(now);
        self.permits.set_limit(limit);
        self.dispatch();
    }

    /// How many keys were ever added.
    pub(crate) fn added_total(&self) -> u64 {
        self.added_total
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    #[cfg(feature = "simulation")]
    pub(crate) fn started_total(&self) -> u64 {
        self.started_total
    }

    /// When the timer of a key comes, if it has one.
    #[cfg(feature = "simulation")]
    pub(crate) fn timer(&self, key: &H::Key) -> Option<Tick> {
        self.timer_at(self.find(key)?)
    }

    #[cfg(feature = "simulation")]
    pub(crate) fn timer_at(&self, index: u32) -> Option<Tick> {
        self.wheel.at(index).map(Tick)
    }

    /// Takes the timer of a key, as no step may: a fault for those to find who look for such.
    #[cfg(feature = "simulation")]
    pub(crate) fn lose_timer(&mut self, key: &H::Key) -> bool {
        let Some(index) = self.find(key) else {
            return false;
        };
        let had = self.wheel.at(index).is_some();
        self.wheel.clear(index);
        had
    }

    fn class(&self, index: u32) -> Class {
        self.kinds.of(self.entries[index].kind).class
    }

    /// The slots of a key.
    fn grid(&self, index: u32) -> Grid {
        let entry = &self.entries[index];
        Grid::new(entry.offset_ms, self.kinds.of(entry.kind).interval_ms)
    }

    /// The history of a key that has one.
    fn past(&self, index: u32) -> Option<&Past> {
        self.pasts.get(self.entries[index].past)
    }

    fn past_mut(&mut self, index: u32) -> &mut Past {
        let entry = &mut self.entries[index];
        if entry.past == NO_PAST {
            entry.past = self.pasts.insert(Past::default());
        }
        &mut self.pasts[entry.past]
    }

    fn forget_past(&mut self, index: u32) {
        let past = std::mem::replace(&mut self.entries[index].past, NO_PAST);
        self.pasts.remove(past);
    }

    /// How often in a row a key has failed.
    fn failures(&self, index: u32) -> u32 {
        self.past(index).map_or(0, |past| past.streak.consecutive())
    }

    fn not_before(&self, index: u32) -> Tick {
        self.past(index).map_or(Tick::ZERO, |past| past.not_before)
    }

    /// Each step begins with this.
    fn clock(&mut self, now: Tick) {
        self.now = self.now.max(now);
        self.sequence += 1;
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    #[cfg(test)]
    fn note(&mut self, index: u32, note: tests::Note) {
        let key = self.entries[index].handler.clone();
        self.journal.push((key, note));
    }
}
