//! Models of the real kernel behind its real lock, with the real registry of operations.
//!
//! The threads are what runs beside the driver: handlers that end, and callers. The driver is the
//! thread that carries out effects.

use std::sync::Arc as StdArc;

use loom::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use monitor_backoff::Verdict;
use monitor_operation::{Cause, Epoch, Operation, Operations};

use super::super::{Core, Effect, End, RunId, Tick};
use crate::{Config, Phase, Saturation, Spec, TriggerOutcome, begin::begin, sync::lock};

/// What the shell shares, without its clock: the steps are at fixed times.
struct Model {
    core: Mutex<Core<u8, u8>>,
    operations: Operations<u8>,
    /// Handlers of key 0 that are running.
    inside: AtomicUsize,
}

impl Model {
    fn new(keys: u8, limit: usize) -> Arc<Self> {
        let config = Config {
            max_concurrent: limit.try_into().unwrap(),
            saturation: Saturation::Queue { bound: 4 },
            ..Config::default()
        };
        let (mut core, operations) = (Core::new(&config), Operations::with_seed(1));
        for key in 0..keys {
            operations.register(key, Epoch::default()).unwrap();
            let placed = core.schedule(
                &StdArc::new(key),
                spec(),
                key,
                Epoch::default(),
                false,
                Tick(0),
            );
            assert_eq!(placed, Ok(true));
        }
        Arc::new(Self {
            core: Mutex::new(core),
            operations,
            inside: AtomicUsize::new(0),
        })
    }

    fn core<R>(&self, step: impl FnOnce(&mut Core<u8, u8>) -> R) -> R {
        step(&mut lock(&self.core))
    }

    /// One turn of the driver: what begins comes back, running.
    fn drive(&self, now: u64) -> Vec<(RunId, Operation<u8>)> {
        let effects = self.core(|core| {
            core.advance(Tick(now));
            core.take_effects()
        });
        let starts = effects.into_iter().filter_map(|effect| match effect {
            Effect::Start(start) => Some(start),
            _ => None,
        });
        let begun = begin(
            &self.core,
            starts.collect(),
            |start| self.operations.begin(&start.handler),
            || Tick(now),
        );
        let begun = begun
            .into_iter()
            .map(|begun| (begun.start.run, begun.operation));
        let begun: Vec<_> = begun.collect();
        for (_, operation) in &begun {
            if *operation.key() == 0 {
                let before = self.inside.fetch_add(1, Ordering::SeqCst);
                assert_eq!(before, 0, "INV-SCHEDULER-2: two runs of one key");
            }
        }
        begun
    }

    fn end(&self, (run, operation): (RunId, Operation<u8>), now: u64) {
        if *operation.key() == 0 {
            self.inside.fetch_sub(1, Ordering::SeqCst);
        }
        drop(operation);
        self.core(|core| core.claim_ended(run, Tick(now)));
        let end = End::Returned(Verdict::Success.into());
        self.core(|core| core.handler_ended(run, end, Tick(now)));
    }

    fn pause(&self, key: u8) {
        assert!(self.core(|core| core.pause(&key, Tick(0))));
        drop(self.operations.fence(&key, Cause::Paused));
    }
}

fn spec() -> Spec {
    let spec = Spec::builder(Spec::MIN_INTERVAL).phase(Phase::Offset(Default::default()));
    spec.backoff(monitor_backoff::Policy::socket())
        .build()
        .unwrap()
}

/// A timer, a trigger and the end of a run at once: one run of the key at any time, and whatever
/// the order the key waits for something afterwards.
///
/// Breaks when `trigger_known` does not look whether a run is going on: replace its
/// `if let Some(run) = entry.run` by `if let Some(run) = None::<Running>`, and the `else` of the
/// wait by an `Armed` of now.
#[test]
fn loom_inv_scheduler_1_2_timer_trigger_finish() {
    loom::model(|| {
        let model = Model::new(1, 2);
        let first = model.drive(0).pop().unwrap();
        let ends = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.end(first, 1))
        };
        let triggers = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.core(|core| core.trigger(&0, Tick(1))))
        };
        let begun = model.drive(100);
        ends.join().unwrap();
        assert!(triggers.join().unwrap().will_run());
        begun.into_iter().for_each(|run| model.end(run, 100));
        let again = model.drive(100);
        again.into_iter().for_each(|run| model.end(run, 101));
        model.core(|core| {
            core.check_all();
            assert_eq!(
                core.status(Tick(101)).lost,
                0,
                "INV-SCHEDULER-1: never without a timer"
            );
            assert!(core.next().is_some());
        });
    });
}

/// A pause against a start: once the pause has returned, no operation of before it can commit and
/// none begins, whatever the driver was about to do.
///
/// Breaks when the kernel is asked before the operation begins: in `begin`, move the call of
/// `operations.begin` behind that of `confirm`.
#[test]
fn loom_inv_scheduler_6_pause_against_start() {
    loom::model(|| {
        let model = Model::new(1, 1);
        let driver = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.drive(0))
        };
        model.pause(0);
        // The key is paused from here on: nothing that runs may still commit.
        let begun = driver.join().unwrap();
        for (_, operation) in &begun {
            assert!(
                operation.commit(|| ()).is_err(),
                "INV-SCHEDULER-6: a commit under a pause"
            );
        }
        assert!(
            model.drive(1000).is_empty(),
            "INV-SCHEDULER-6: a start under a pause"
        );
        begun.into_iter().for_each(|run| model.end(run, 1000));
        model.core(|core| core.check_all());
    });
}

/// Cancel and schedule again against the end of the old run: never two runs, no lost key.
///
/// Breaks when `retire` frees the key also while its run is going on: make it `free` in every case.
#[test]
fn loom_inv_scheduler_2_cancel_schedule_finish() {
    loom::model(|| {
        let model = Model::new(1, 2);
        let first = model.drive(0).pop().unwrap();
        let ends = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.end(first, 1))
        };
        let changes = {
            let model = Arc::clone(&model);
            thread::spawn(move || {
                assert!(model.core(|core| core.remove(&0, Tick(1))));
                drop(model.operations.fence(&0, Cause::Stopped));
                let key = StdArc::new(0);
                let placed = model
                    .core(|core| core.schedule(&key, spec(), 0, Epoch::new(1), false, Tick(1)));
                assert_eq!(placed, Ok(true));
                assert_ne!(
                    model.core(|core| core.trigger(&0, Tick(1))),
                    TriggerOutcome::Unknown
                );
            })
        };
        let begun = model.drive(100);
        changes.join().unwrap();
        ends.join().unwrap();
        begun.into_iter().for_each(|run| model.end(run, 100));
        model
            .drive(100)
            .into_iter()
            .for_each(|run| model.end(run, 101));
        model.core(|core| {
            core.check_all();
            assert!(
                core.next().is_some(),
                "INV-SCHEDULER-1: scheduled and never armed"
            );
        });
    });
}

/// Three keys and one permit, two runs that end at once: the permit is held by one run at most, and
/// is never lost.
///
/// Breaks when a permit is given back without being taken from its run: in `return_permit`,
/// replace the `mem::replace` by `true`.
#[test]
fn loom_inv_scheduler_4_5_permits() {
    loom::model(|| {
        let model = Model::new(3, 1);
        let first = model.drive(0).pop().unwrap();
        assert!(model.drive(0).is_empty(), "one permit");
        let (given_up, run) = (Arc::clone(&model), first.0);
        // The grace of the run is over while it ends.
        let ends = thread::spawn(move || given_up.end(first, 1));
        let gives_up = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.core(|core| core.overdue(run, Tick(1))))
        };
        let second = model.drive(1);
        ends.join().unwrap();
        gives_up.join().unwrap();
        assert!(
            second.len() <= 1,
            "INV-SCHEDULER-4: two runs with one permit"
        );
        model.core(|core| core.check_all());
        second.into_iter().for_each(|run| model.end(run, 2));
        let third = model.drive(2);
        assert_eq!(third.len(), 1, "INV-SCHEDULER-5: a permit was lost");
        third.into_iter().for_each(|run| model.end(run, 3));
        model.core(|core| core.check_all());
    });
}

impl Core<u8, u8> {
    /// What its timer does to a run when its grace is over.
    fn overdue(&mut self, run: RunId, now: Tick) {
        self.clock(now);
        if self.run_of(&0) == Some(run) {
            self.give_up(run.index);
        }
    }
}
