//! While a key is left alone, every single slot of its grid is run or reported, once.

use std::{ops::Range, time::Duration};

use monitor_backoff::Verdict;
use proptest::prelude::*;

use super::{
    super::tick::millis,
    Note,
    world::{World, build, config, jittery_spec},
};
use crate::{Ended, MissedReason, Saturation};

const INTERVAL: u64 = 1000;

/// Milliseconds that pass, whether the driver is held up for them, and whose run ends.
fn step() -> impl Strategy<Value = (u64, bool, usize)> {
    (0_u64..2500, prop::bool::weighted(0.1), any::<usize>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// PRB-5, PRB-10, PRB-34: slow handlers, a stalled driver, too few permits: no slot is lost
    /// and none is counted twice.
    #[test]
    fn every_slot_is_run_or_missed_exactly_once(
        limit in 1_usize..3,
        queue in prop::option::of(0_usize..4),
        ratio in prop_oneof![Just(0.0), Just(0.2)],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let saturation = queue.map_or(Saturation::Skip, |bound| Saturation::Queue { bound });
        let mut world = World::new(&config(limit, saturation));
        for key in 0..4 {
            world.schedule(key, jittery_spec(INTERVAL, ratio));
        }
        for (ms, stall, which) in steps {
            if stall {
                world.stall(ms * 4);
            } else {
                world.run_for(ms);
            }
            if let Some(position) = which.checked_rem(world.live.len()) {
                let key = world.live[position].key;
                world.finish(key, Verdict::Success);
            }
        }
        for key in 0..4 {
            let mut slots = Vec::new();
            for (_, note) in world.core.journal.iter().filter(|(k, _)| *k.0 == key) {
                match *note {
                    Note::Ran(due) => slots.push(due.0),
                    Note::Missed { due, slots: n } => {
                        slots.extend((0..u64::from(n)).map(|slot| due.0 + slot * INTERVAL));
                    }
                    Note::Born | Note::Armed(_) | Note::TakenBack(_) => {}
                }
            }
            for pair in slots.windows(2) {
                prop_assert_eq!(pair[1] - pair[0], INTERVAL, "a gap or a double after {}", pair[0]);
            }
        }
    }
}

/// What the slots of key 0 are held against: when none was promised, as the README puts it.
#[derive(Default)]
struct Ledger {
    /// Notes and ends of runs that have been read.
    read: (usize, usize),
    excused: Vec<Range<u64>>,
    /// The key waits for the backoff, or is in a run that the backoff has set, since then.
    backoff: Option<u64>,
}

impl Ledger {
    /// Reads what has happened at this instant.
    fn read(&mut self, world: &World, slots: &mut Vec<u64>) {
        let now = world.now.0;
        for (_, note) in &world.core.journal[self.read.0..] {
            match *note {
                Note::Ran(due) if world.is_slot(due.0) => slots.push(due.0),
                Note::Ran(_) => self.excused.push(now..now + INTERVAL / 2),
                Note::Missed { due, slots: n } if world.is_slot(due.0) => {
                    slots.extend((0..u64::from(n)).map(|slot| due.0 + slot * INTERVAL));
                }
                Note::Missed { .. } | Note::Born | Note::Armed(_) | Note::TakenBack(_) => {}
            }
        }
        for (_, how) in &world.finished[self.read.1..] {
            match how {
                Ended::Returned(Verdict::Failure) => drop(self.backoff.get_or_insert(now)),
                _ => self.end_of_backoff(now),
            }
        }
        self.read = (world.core.journal.len(), world.finished.len());
    }

    fn end_of_backoff(&mut self, now: u64) {
        if let Some(since) = self.backoff.take() {
            self.excused.push(since..now);
        }
    }
}

impl World {
    /// Whether this is a slot of a key that runs each interval from the start of unix time on.
    fn is_slot(&self, at: u64) -> bool {
        (at + 1_234_567).is_multiple_of(INTERVAL)
    }

    /// Ends the run of key 0, and lets a key that was given up go back to its backoff.
    fn end_run(&mut self, verdict: Verdict, ledger: &mut Ledger, slots: &mut Vec<u64>) {
        if self.running().is_empty() {
            return;
        }
        let given_up = self.core.status(self.now).stuck.len() == 1;
        self.finish(0, verdict);
        ledger.read(self, slots);
        if given_up {
            ledger.backoff = Some(self.now.0);
        }
    }
}

/// What happens to a key that may fail.
#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Stall(u64),
    End(Verdict),
    /// Leave starts unconfirmed from here on, or confirm them at once.
    Prompt(bool),
}

fn failing_step() -> impl Strategy<Value = Step> {
    let verdict = prop_oneof![Just(Verdict::Success), Just(Verdict::Failure)];
    prop_oneof![
        6 => (0_u64..3000).prop_map(Step::Pass),
        1 => (0_u64..20_000).prop_map(Step::Stall),
        4 => verdict.prop_map(Step::End),
        1 => any::<bool>().prop_map(Step::Prompt),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// PRB-5, PRB-10: a key that fails and recovers, is overdue or begins late: a slot is run or
    /// reported, once, unless the backoff or a run beside the grid stands for it.
    #[test]
    fn no_slot_is_lost_around_the_backoff(
        ratio in prop_oneof![Just(0.0), Just(0.2)],
        steps in prop::collection::vec(failing_step(), 1..80),
    ) {
        let mut world = World::new(&config(1, Saturation::Skip));
        let (mut ledger, mut slots) = (Ledger::default(), Vec::new());
        world.schedule(0, build(INTERVAL, ratio, Duration::from_secs(3)));
        let settle = [Step::Prompt(true), Step::End(Verdict::Success), Step::Pass(4 * INTERVAL)];
        for step in steps.into_iter().chain(settle) {
            match step {
                Step::Pass(ms) => {
                    let end = world.now.plus(ms);
                    while let Some(next) = world.core.next().filter(|next| *next <= end) {
                        world.run_for(next.since(world.now));
                        ledger.read(&world, &mut slots);
                    }
                    world.run_for(end.since(world.now));
                }
                Step::Stall(ms) => world.stall(ms),
                Step::End(verdict) => world.end_run(verdict, &mut ledger, &mut slots),
                Step::Prompt(prompt) => {
                    world.prompt = prompt;
                    world.after();
                }
            }
            ledger.read(&world, &mut slots);
        }
        world.end_run(Verdict::Success, &mut ledger, &mut slots);
        ledger.end_of_backoff(u64::MAX);
        let first = *slots.first().unwrap_or(&u64::MAX);
        for slot in (first..world.now.0).step_by(INTERVAL as usize) {
            let times = slots.iter().filter(|at| **at == slot).count();
            let excused = ledger.excused.iter().any(|range| range.contains(&slot));
            let expected = if excused { 0..=1 } else { 1..=1 };
            prop_assert!(expected.contains(&times), "{slot} was told {times} times");
        }
        for missed in world.missed.iter().filter(|m| m.reason == MissedReason::InFlight) {
            for slot in (0..u64::from(missed.slots)).map(|n| millis(missed.due.at) + n * INTERVAL) {
                let promised = ledger.excused.iter().all(|range| !range.contains(&slot));
                prop_assert!(promised, "{slot} was missed, and promised to nobody");
            }
        }
    }
}
