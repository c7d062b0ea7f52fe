//! Whatever happens in whatever order: each due time that is set comes to exactly one end.

use std::{num::NonZeroUsize, time::Duration};

use monitor_backoff::Verdict;
use proptest::prelude::*;

use super::super::{
    End, Tick,
    entry::{Doing, Stage},
};
use super::{
    Note, Only,
    world::{World, build, config},
};
use crate::{Class, Completion, Pace, Saturation, Spec};

#[derive(Clone, Debug)]
enum Op {
    Pass(u64),
    Stall(u64),
    Schedule {
        key: u8,
        interval_ms: u64,
        ratio: f64,
        paused: bool,
        class: Class,
        immediate: bool,
    },
    Cancel(u8),
    Pause(u8),
    Resume(u8),
    Trigger(u8),
    ResetBackoff(u8),
    Limit(usize),
    Pace(Class, Pace),
    /// Leave starts unconfirmed from here on, or confirm them at once.
    Prompt(bool),
    Confirm(usize),
    Refuse(usize),
    Finish {
        which: usize,
        verdict: Verdict,
        not_before_ms: Option<u64>,
        claim_first: bool,
    },
    Panic(usize),
    DropClaim(usize),
    Clear,
}

const KEYS: u8 = 4;

fn class() -> impl Strategy<Value = Class> {
    prop::sample::select(&Class::ALL[..])
}

fn pace() -> impl Strategy<Value = Pace> {
    prop_oneof![
        2 => Just(Pace::Full),
        1 => (2_u32..4).prop_map(Pace::stretched),
        1 => Just(Pace::Suspended),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0..KEYS;
    let verdict = prop_oneof![
        3 => Just(Verdict::Success),
        2 => Just(Verdict::Failure),
        1 => Just(Verdict::Ignore),
    ];
    let not_before = prop::option::weighted(0.2, 0_u64..9000);
    prop_oneof![
        8 => (0_u64..3000).prop_map(Op::Pass),
        1 => (0_u64..20_000).prop_map(Op::Stall),
        3 => (key(), prop_oneof![Just(100_u64), Just(250), Just(1000), 100_u64..5000],
              prop_oneof![Just(0.0), Just(0.2), Just(1.0)], prop::bool::weighted(0.2), class(),
              any::<bool>())
            .prop_map(|(key, interval_ms, ratio, paused, class, immediate)| {
                Op::Schedule { key, interval_ms, ratio, paused, class, immediate }
            }),
        1 => key().prop_map(Op::Cancel),
        1 => key().prop_map(Op::Pause),
        2 => key().prop_map(Op::Resume),
        3 => key().prop_map(Op::Trigger),
        1 => key().prop_map(Op::ResetBackoff),
        1 => (1_usize..4).prop_map(Op::Limit),
        1 => (class(), pace()).prop_map(|(class, pace)| Op::Pace(class, pace)),
        1 => any::<bool>().prop_map(Op::Prompt),
        3 => any::<usize>().prop_map(Op::Confirm),
        1 => any::<usize>().prop_map(Op::Refuse),
        8 => (any::<usize>(), verdict, not_before, prop::bool::weighted(0.8))
            .prop_map(|(which, verdict, not_before_ms, claim_first)| {
                Op::Finish { which, verdict, not_before_ms, claim_first }
            }),
        1 => any::<usize>().prop_map(Op::Panic),
        2 => any::<usize>().prop_map(Op::DropClaim),
        1 => Just(Op::Clear),
    ]
}

impl Spec {
    fn in_class(self, class: Class, immediate: bool) -> Self {
        let spec = Spec::builder(self.interval()).timeout(self.timeout());
        let spec = spec.backoff(*self.backoff()).phase(self.phase());
        spec.class(class).immediate(immediate).build().unwrap()
    }
}

impl World {
    /// Does one thing, told by a thread that looked at the clock so long ago.
    fn apply(&mut self, op: Op, ago_ms: u64) {
        let now = Tick(self.now.0.saturating_sub(ago_ms));
        let before = self.core.now;
        match op {
            Op::Pass(ms) => self.run_for(ms),
            Op::Stall(ms) => self.stall(ms),
            Op::Schedule {
                key,
                interval_ms,
                ratio,
                paused,
                class,
                immediate,
            } => {
                let spec = build(interval_ms, ratio, Duration::from_millis(interval_ms));
                let spec = spec.in_class(class, immediate);
                let _ = self.core.schedule(&spec, Only::of(key), paused, now);
            }
            Op::Cancel(key) => drop(self.core.remove(&key, now)),
            Op::Pause(key) => drop(self.core.pause(&key, now)),
            Op::Resume(key) => drop(self.core.resume(&key, now)),
            Op::Trigger(key) => drop(self.core.trigger(&key, now)),
            Op::ResetBackoff(key) => drop(self.core.reset_backoff(&key, now)),
            Op::Limit(limit) => self.core.set_limit(limit, now),
            Op::Pace(class, pace) => self.core.set_pace(class, pace, now),
            Op::Prompt(prompt) => self.prompt = prompt,
            Op::Confirm(which) => {
                if let Some(position) = which.checked_rem(self.starting.len()) {
                    let run = self.starting.remove(position);
                    self.confirm(run);
                }
            }
            Op::Refuse(which) => {
                if let Some(position) = which.checked_rem(self.starting.len()) {
                    let run = self.starting.remove(position);
                    self.core.refuse(run, now);
                }
            }
            Op::Finish {
                which,
                verdict,
                not_before_ms,
                claim_first,
            } => {
                let mut completion = Completion::new(verdict);
                completion.not_before = not_before_ms.map(|ms| now.plus(ms).duration());
                self.end(which, End::Returned(completion), claim_first);
            }
            Op::Panic(which) => self.end(which, End::Panicked, true),
            Op::DropClaim(which) => {
                let left: Vec<_> = self.live.iter().filter(|live| live.handler_ended).collect();
                if let Some(position) = which.checked_rem(left.len()) {
                    let run = left[position].run;
                    self.live.retain(|live| live.run != run);
                    self.core.claim_ended(run, now);
                }
            }
            Op::Clear => drop(self.core.clear(now)),
        }
        assert!(self.core.now >= before, "the clock of the kernel went back");
        self.after();
    }

    fn end(&mut self, which: usize, end: End, claim_first: bool) {
        let Some(position) = which.checked_rem(self.live.len()) else {
            return;
        };
        let run = self.live[position].run;
        if self.live[position].handler_ended {
            return;
        }
        if claim_first {
            self.live.remove(position);
            self.core.claim_ended(run, self.now);
        } else {
            self.live[position].handler_ended = true;
        }
        self.core.handler_ended(run, end, self.now);
    }

    /// Follows the due times of a key through all that happened.
    fn follow(&self, key: u8) {
        let mut set = None;
        let mut last = None;
        let mut missed = 0;
        let notes = self
            .core
            .journal
            .iter()
            .filter(|(k, _)| *k.0 == key)
            .map(|(_, note)| *note);
        for note in notes {
            match note {
                Note::Born => {
                    assert_eq!(set, None, "a key was freed with a due time set");
                    last = None;
                }
                Note::Armed(due) => {
                    assert_eq!(set.replace(due), None, "{due:?}: another one was set");
                    assert!(last < Some(due), "{due:?} is not after {last:?}");
                }
                Note::TakenBack(due) => assert_eq!(set.take(), Some(due)),
                Note::Ran(due) => {
                    assert_eq!(set.take(), Some(due), "ran without having been set");
                    last = Some(due);
                }
                Note::Missed { due, slots } => {
                    // Slots that passed during a run or in the queue were never set one by one.
                    assert!(
                        set.is_none_or(|set| set == due),
                        "{due:?} missed, {set:?} lost"
                    );
                    assert!(
                        last < Some(due),
                        "INV-SCHEDULER-3: {due:?} is not after {last:?}"
                    );
                    assert!(slots > 0);
                    set = None;
                    last = Some(due);
                    missed += u64::from(slots);
                }
            }
        }
        let told = self.missed.iter().filter(|missed| *missed.key == key);
        assert_eq!(
            missed,
            told.map(|missed| u64::from(missed.slots)).sum::<u64>()
        );
        let waiting = self.core.find(&key).and_then(|index| {
            let entry = &self.core.entries[index];
            match &entry.doing {
                Doing::Timer(armed) => Some(armed.due),
                Doing::Queue(queued) => Some(queued.due),
                Doing::Run(run) if run.stage == Stage::Starting => Some(run.due),
                Doing::Run(_) | Doing::Nothing => None,
            }
        });
        assert_eq!(
            set, waiting,
            "the due time that is set is the one that is waited for"
        );
    }
}

fn saturation() -> impl Strategy<Value = Saturation> {
    prop_oneof![
        Just(Saturation::Skip),
        (0_usize..4).prop_map(|bound| Saturation::Queue { bound }),
        (0_usize..4).prop_map(|bound| Saturation::Shed { bound }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// PRB-1, PRB-4, PRB-5, PRB-18, PRB-19, PRB-23, PRB-25, PRB-32, S1, L1, L2: after every step of any
    /// history no key has two runs, no more runs start than there are permits, every active key
    /// waits for something or runs, and every due time comes to one end, later ones after earlier.
    #[test]
    fn inv_scheduler_1_2_3_4_5_hold_in_any_history(
        limit in 1_usize..4,
        saturation in saturation(),
        optional in prop::option::of(1_usize..3),
        normal in prop::option::of(1_usize..3),
        max_wait_ms in prop::option::weighted(0.3, 0_u64..4000),
        ops in prop::collection::vec((op(), prop_oneof![3 => Just(0), 1 => 0_u64..3000]), 1..120),
    ) {
        let mut config = config(limit, saturation);
        config.max_wait = max_wait_ms.map(Duration::from_millis);
        config.classes.optional.max_concurrent = optional.and_then(NonZeroUsize::new);
        config.classes.normal.max_concurrent = normal.and_then(NonZeroUsize::new);
        let mut world = World::new(&config);
        for (op, ago_ms) in ops {
            world.apply(op, ago_ms);
        }
        for key in 0..KEYS {
            world.follow(key);
        }
    }
}
