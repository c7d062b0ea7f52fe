//! A world around the kernel: a driver that may be late, and handlers that do as they are told.

use std::{collections::HashMap, time::Duration};

use monitor_backoff::{Jitter, Policy, Schedule, Verdict};

use super::super::{Core, Effect, End, RunId, Start, Tick};
use super::{Note, Only};
use crate::{
    Completion, Config, Ended, Missed, MissedReason, Phase, Saturation, Spec, TriggerOutcome,
};

pub(super) const QUEUE: Saturation = Saturation::Queue { bound: 100 };
pub(super) const SECOND: u64 = 1000;
pub(super) const MINUTE: u64 = 60_000;

pub(super) struct World {
    pub(super) core: Core<Only<u8>>,
    pub(super) now: Tick,
    /// Runs that the kernel wants and nobody has confirmed yet.
    pub(super) starting: Vec<RunId>,
    /// Runs whose handler or claim is still alive, with their key.
    pub(super) live: Vec<Live>,
    pub(super) missed: Vec<Missed<Only<u8>>>,
    pub(super) finished: Vec<(u8, Ended)>,
    /// Confirm each start as soon as the kernel wants it.
    pub(super) prompt: bool,
    keys: HashMap<RunId, u8>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Live {
    pub(super) run: RunId,
    pub(super) key: u8,
    pub(super) handler_ended: bool,
}

pub(super) fn config(limit: usize, saturation: Saturation) -> Config {
    Config {
        max_concurrent: limit.try_into().unwrap(),
        saturation,
        cleanup_grace: Duration::from_secs(5),
        origin_unix: Duration::from_millis(1_234_567),
        seed: 7,
        ..Config::default()
    }
}

/// Every `interval_ms`, timeout one hour, after a failure 2 s, 5 s, 10 s, no jitter.
pub(super) fn spec(interval_ms: u64) -> Spec {
    jittery_spec(interval_ms, 0.0)
}

pub(super) fn jittery_spec(interval_ms: u64, ratio: f64) -> Spec {
    build(interval_ms, ratio, Duration::from_secs(3600))
}

/// With a timeout of so long, and jitter of so much.
pub(super) fn build(interval_ms: u64, ratio: f64, timeout: Duration) -> Spec {
    let steps = [2, 5, 10].map(Duration::from_secs).to_vec();
    let backoff = Policy::builder()
        .schedule(Schedule::Steps(steps.into()))
        .floor(monitor_backoff::Floor::Absolute)
        .jitter(Jitter::symmetric(ratio))
        .build()
        .unwrap();
    Spec::builder(Duration::from_millis(interval_ms))
        .phase(Phase::Offset(Duration::ZERO))
        .backoff(backoff)
        .timeout(timeout)
        .build()
        .unwrap()
}

impl World {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            core: Core::new(config),
            now: Tick::ZERO,
            starting: Vec::new(),
            live: Vec::new(),
            missed: Vec::new(),
            finished: Vec::new(),
            prompt: true,
            keys: HashMap::new(),
        }
    }

    pub(super) fn schedule(&mut self, key: u8, spec: Spec) -> bool {
        let placed = self.core.schedule(&spec, Only::of(key), false, self.now);
        self.after();
        placed.unwrap()
    }

    pub(super) fn trigger(&mut self, key: u8) -> TriggerOutcome {
        let outcome = self.core.trigger(&key, self.now);
        self.after();
        outcome
    }

    /// Lets time pass with a driver that is always in time.
    pub(super) fn run_for(&mut self, ms: u64) {
        let end = self.now.plus(ms);
        while let Some(next) = self.core.next().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.advance();
        }
        self.now = end;
        self.advance();
    }

    /// Lets time pass while the driver is held up.
    pub(super) fn stall(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
        self.advance();
    }

    fn advance(&mut self) {
        self.core.advance_all(self.now);
        self.after();
    }

    /// Does what the kernel wants, as the driver would, and checks everything.
    pub(super) fn after(&mut self) {
        loop {
            let effects = self.core.take_effects();
            for effect in effects {
                match effect {
                    Effect::Start(Start { run, handler, .. }) => {
                        self.keys.insert(run, *handler.0);
                        self.starting.push(run);
                    }
                    Effect::Missed(missed) => self.missed.push(missed),
                    Effect::Finished(ending) => {
                        self.finished.push((self.keys[&ending.run], ending.how))
                    }
                    Effect::Cancel { .. }
                    | Effect::Abort { .. }
                    | Effect::Gone { .. }
                    | Effect::Discard { .. } => {}
                }
            }
            if !self.prompt || self.starting.is_empty() {
                break;
            }
            let run = self.starting.remove(0);
            self.confirm(run);
        }
        self.core.check_all();
        for live in &self.live {
            let same = self
                .live
                .iter()
                .filter(|other| other.key == live.key)
                .count();
            assert_eq!(same, 1, "INV-SCHEDULER-2: two runs of key {}", live.key);
        }
        let status = self.core.status(self.now);
        assert_eq!(status.lost, 0);
        assert_eq!(status.ongoing.len(), status.current_concurrency);
    }

    pub(super) fn confirm(&mut self, run: RunId) -> bool {
        let confirmed = self.core.confirm(run, self.now).is_some();
        if confirmed {
            let key = self.keys[&run];
            self.live.push(Live {
                run,
                key,
                handler_ended: false,
            });
        }
        confirmed
    }

    /// Ends the run of a key, claim and handler.
    pub(super) fn finish(&mut self, key: u8, verdict: Verdict) {
        let position = self.live.iter().position(|live| live.key == key).unwrap();
        let run = self.live.remove(position).run;
        self.core.claim_ended(run, self.now);
        self.core
            .handler_ended(run, End::Returned(Completion::new(verdict)), self.now);
        self.after();
    }

    pub(super) fn running(&self) -> Vec<u8> {
        self.live.iter().map(|live| live.key).collect()
    }

    /// The due times that were run, in milliseconds since the origin.
    pub(super) fn ran(&self, key: u8) -> Vec<u64> {
        let notes = self.core.journal.iter().filter(|(k, _)| *k.0 == key);
        notes
            .filter_map(|(_, note)| match note {
                Note::Ran(due) => Some(due.0),
                _ => None,
            })
            .collect()
    }
}

/// A world whose origin lies on the grid, so that slots are at whole multiples of the interval.
pub(super) fn world(limit: usize, saturation: Saturation) -> World {
    World::new(&Config {
        origin_unix: Duration::ZERO,
        ..config(limit, saturation)
    })
}

/// When each run of key 0 was started, for so long.
pub(super) fn starts(world: &mut World, ms: u64, verdict: Verdict) -> Vec<u64> {
    let (end, mut starts) = (world.now.plus(ms), Vec::new());
    while let Some(next) = world.core.next().filter(|next| *next <= end) {
        world.run_for(next.since(world.now));
        for key in world.running() {
            starts.push(world.now.0);
            world.finish(key, verdict);
        }
    }
    world.run_for(end.since(world.now));
    starts
}

pub(super) fn missed(world: &mut World) -> Vec<(u64, u32, MissedReason)> {
    let told = std::mem::take(&mut world.missed);
    told.iter()
        .map(
            |Missed {
                 due, slots, reason, ..
             }| (due.at.as_millis() as u64, *slots, *reason),
        )
        .collect()
}
