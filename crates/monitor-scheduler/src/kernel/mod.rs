//! The kernel: a sequential state machine of keys that decides what runs when.
//!
//! It reads no clock, spawns nothing and calls nobody: `now` comes in with each call, and what is
//! to be done goes out as [`Effect`]s, which the shell carries out under no lock.
//!
//! Contents: `keys` adds, changes and removes keys; `arm` sets due times and reports missed ones;
//! `runs` starts and ends runs; `snapshot` is the status; `check` holds the invariants.

mod arm;
mod check;
mod entry;
mod grid;
mod keys;
mod runs;
mod slab;
mod snapshot;
mod tick;
mod wheel;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::Arc,
};

use monitor_operation::Epoch;
use rand::{SeedableRng, rngs::SmallRng};

use crate::{Config, Missed, Saturation, Trigger};

use self::{entry::Entry, slab::Slab, wheel::Wheel};
pub(crate) use self::{
    runs::{Confirmed, End},
    tick::{Tick, millis},
};
use crate::observer::Ended;

/// The keys of a scheduler with all they wait for.
pub(crate) struct Core<K, H> {
    names: HashMap<Arc<K>, u32>,
    entries: Slab<Entry<K, H>>,
    /// One timer for each key: its start, or the next thing to happen to its run.
    wheel: Wheel,
    /// The keys that wait for a permit, by ticket.
    queue: BTreeMap<u64, u32>,
    /// INV-SCHEDULER-4: `held` counts the runs with a permit. No run starts unless it is below
    /// `limit`, which may be lowered meanwhile.
    held: usize,
    limit: usize,
    /// Numbers the runs and the queue tickets; never used twice.
    serial: u64,
    /// The latest time heard of. Threads may arrive in another order than they looked at the clock.
    now: Tick,
    saturation: Saturation,
    grace_ms: u64,
    origin_unix_ms: u64,
    rng: SmallRng,
    closed: bool,
    effects: Vec<Effect<K, H>>,
    fired: Vec<u32>,
    started_total: u64,
    missed_total: u64,
    #[cfg(test)]
    pub(crate) journal: Vec<(Arc<K>, tests::Note)>,
}

/// One run of one key, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RunId {
    index: u32,
    serial: u64,
}

/// What the shell has to do.
pub(crate) enum Effect<K, H> {
    /// Begin an operation, then ask [`Core::confirm`] whether the run is still wanted.
    Start(Start<K, H>),
    /// The deadline has come: cancel the operation of the run.
    Cancel { run: RunId },
    /// The grace is over: abort the task of the run.
    Abort { run: RunId },
    /// Tell how the run ended.
    Finished(Ending<K>),
    /// The handler has ended: there is nothing left to cancel or to abort.
    Gone { run: RunId },
    /// Tell about missed due times.
    Missed(Missed<Arc<K>>),
    /// Destroy what the kernel no longer needs; it may be the last to hold it.
    Discard { key: Option<Arc<K>>, handler: H },
}

/// A run that is wanted.
pub(crate) struct Start<K, H> {
    pub(crate) run: RunId,
    pub(crate) key: Arc<K>,
    pub(crate) handler: H,
    pub(crate) due: Tick,
    pub(crate) trigger: Trigger,
}

/// A run that has ended.
pub(crate) struct Ending<K> {
    pub(crate) run: RunId,
    pub(crate) key: Arc<K>,
    pub(crate) due: Tick,
    pub(crate) trigger: Trigger,
    pub(crate) started: Tick,
    pub(crate) ended: Tick,
    pub(crate) how: Ended,
}

impl<K: Eq + Hash, H: Clone> Core<K, H> {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            names: HashMap::new(),
            entries: Slab::new(),
            wheel: Wheel::new(),
            queue: BTreeMap::new(),
            held: 0,
            limit: config.max_concurrent.get(),
            serial: 0,
            now: Tick::ZERO,
            saturation: config.saturation,
            grace_ms: millis(config.cleanup_grace),
            origin_unix_ms: millis(config.origin_unix),
            rng: SmallRng::seed_from_u64(config.seed),
            closed: false,
            effects: Vec::new(),
            fired: Vec::new(),
            started_total: 0,
            missed_total: 0,
            #[cfg(test)]
            journal: Vec::new(),
        }
    }

    /// Lets everything happen that is due by `now`, in the order in which it is due.
    pub(crate) fn advance(&mut self, now: Tick) {
        self.clock(now);
        let mut fired = std::mem::take(&mut self.fired);
        // What fires may set a timer that is due as well, but only a bounded number of times: the
        // due times of a key increase.
        while self.wheel.next().is_some_and(|next| next <= self.now) {
            self.wheel.advance(self.now, &mut fired);
            for index in fired.drain(..) {
                self.fire(index);
                self.check(index);
            }
        }
        self.fired = fired;
    }

    /// When to call [`advance`](Core::advance) again at the latest, if nothing else happens.
    pub(crate) fn next(&self) -> Option<Tick> {
        self.wheel.next()
    }

    /// Takes what the shell has to do, in order.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect<K, H>> {
        std::mem::take(&mut self.effects)
    }

    /// Notes the epoch that a key has come to.
    pub(crate) fn note_epoch(&mut self, key: &K, epoch: Epoch) {
        if let Some(index) = self.names.get(key) {
            let entry = &mut self.entries[*index];
            entry.epoch = entry.epoch.max(epoch);
        }
    }

    /// Changes how many runs may hold a permit. Runs above a lowered limit go on.
    pub(crate) fn set_limit(&mut self, limit: usize, now: Tick) {
        self.clock(now);
        self.limit = limit;
        self.dispatch();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    fn clock(&mut self, now: Tick) {
        self.now = self.now.max(now);
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    #[cfg(test)]
    fn note(&mut self, index: u32, note: tests::Note) {
        let key = Arc::clone(&self.entries[index].key);
        self.journal.push((key, note));
    }
}
