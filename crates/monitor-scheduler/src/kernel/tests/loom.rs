//! Models of the real kernel behind its real lock, with the real registry of operations.
//!
//! The threads are what runs beside the driver: handlers that end, and callers. The driver is the
//! thread that carries out effects.

use std::num::NonZeroUsize;

use loom::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use monitor_backoff::Verdict;
use monitor_operation::{Cause, Epoch, Operation, Operations};

use super::{
    super::{Core, Effect, End, RunId, Tick},
    Only,
};
use crate::{Class, Config, Phase, Saturation, Spec, TriggerOutcome, begin::begin, sync::lock};

/// What the shell shares, without its clock: the steps are at fixed times.
struct Model {
    core: Mutex<Core<Only<u8>>>,
    operations: Operations<u8>,
    /// Handlers of key 0 that are running.
    inside: AtomicUsize,
}

impl Model {
    fn new(keys: u8, limit: usize) -> Arc<Self> {
        Self::made(keys, config(limit), |_| Class::Normal)
    }

    fn made(keys: u8, config: Config, class: fn(u8) -> Class) -> Arc<Self> {
        let (mut core, operations) = (Core::new(&config), Operations::with_seed(1));
        for key in 0..keys {
            operations.register(key, Epoch::default()).unwrap();
            let placed = core.schedule(&spec(class(key)), Only::of(key), false, Tick(0));
            assert_eq!(placed, Ok(true));
        }
        Arc::new(Self {
            core: Mutex::new(core),
            operations,
            inside: AtomicUsize::new(0),
        })
    }

    /// Even keys are optional, of which one may run at once, odd ones are critical.
    fn with_classes(keys: u8, limit: usize) -> Arc<Self> {
        let mut config = config(limit);
        config.classes.optional.max_concurrent = NonZeroUsize::new(1);
        let class = |key: u8| [Class::Optional, Class::Critical][usize::from(key % 2)];
        Self::made(keys, config, class)
    }

    /// Where a due time that finds no permit comes to nothing.
    fn skipping(keys: u8, limit: usize) -> Arc<Self> {
        let config = Config {
            saturation: Saturation::Skip,
            ..config(limit)
        };
        Self::made(keys, config, |_| Class::Normal)
    }

    fn core<R>(&self, step: impl FnOnce(&mut Core<Only<u8>>) -> R) -> R {
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
            |start| self.operations.begin(&start.handler.0),
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

fn config(limit: usize) -> Config {
    Config {
        max_concurrent: limit.try_into().unwrap(),
        saturation: Saturation::Queue { bound: 4 },
        ..Config::default()
    }
}

fn spec(class: Class) -> Spec {
    let spec = Spec::builder(Spec::MIN_INTERVAL).phase(Phase::Offset(Default::default()));
    let spec = spec.class(class);
    spec.backoff(monitor_backoff::Policy::socket())
        .build()
        .unwrap()
}

/// A timer, a trigger and the end of a run at once: one run of the key at any time, and whatever
/// the order the key waits for something afterwards.
///
/// Breaks when `trigger_known` does not look whether a run is going on: make its arm for a
/// `Doing::Run` give an `Armed` of now.
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

/// A paused key that is triggered, twice, while it is resumed: one run at any time, and whatever the
/// order the key waits for something afterwards.
///
/// Breaks when a resume arms the key also while its run is going on: in `reactivate`, arm a slot in
/// every case of an active key.
#[test]
fn loom_inv_scheduler_1_2_trigger_resume_finish() {
    loom::model(|| {
        let model = Model::new(1, 2);
        model.pause(0);
        assert_eq!(
            model.core(|core| core.trigger(&0, Tick(1))),
            TriggerOutcome::Started
        );
        let first = model.drive(1).pop().unwrap();
        let ends = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.end(first, 2))
        };
        let triggers = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.core(|core| core.trigger(&0, Tick(2))))
        };
        assert!(model.core(|core| core.resume(&0, Tick(2))));
        let begun = model.drive(100);
        ends.join().unwrap();
        assert!(triggers.join().unwrap().will_run());
        begun.into_iter().for_each(|run| model.end(run, 100));
        let again = model.drive(200);
        again.into_iter().for_each(|run| model.end(run, 201));
        model.core(|core| {
            core.check_all();
            assert_eq!(core.status(Tick(201)).lost, 0, "INV-SCHEDULER-1");
            assert!(core.next().is_some(), "INV-SCHEDULER-1: never armed again");
        });
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
                let placed = model
                    .core(|core| core.schedule(&spec(Class::Normal), Only::of(0), false, Tick(1)));
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

/// A due time that finds the one permit taken, while the run that has it ends and somebody triggers
/// the other key: skipped, joined or run, each key waits for something afterwards, and runs again.
///
/// Breaks when a key is not armed again after a skip: in `miss_and_arm`, leave out `arm_next`.
#[test]
fn loom_inv_scheduler_1_4_skip_trigger_release() {
    loom::model(|| {
        let model = Model::skipping(2, 1);
        let first = model.drive(0).pop().unwrap();
        let ends = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.end(first, 100))
        };
        let triggers = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.core(|core| core.trigger(&1, Tick(100))))
        };
        let mut going = model.drive(100);
        ends.join().unwrap();
        triggers.join().unwrap();
        let mut ran = [false; 2];
        for now in 1..=4 {
            for (run, operation) in std::mem::take(&mut going) {
                ran[usize::from(*operation.key())] = true;
                model.end((run, operation), 100 * now);
            }
            model.core(|core| core.check_all());
            going = model.drive(100 * now + 100);
            assert!(
                going.len() <= 1,
                "INV-SCHEDULER-4: two runs with one permit"
            );
        }
        model.core(|core| assert_eq!(core.status(Tick(500)).lost, 0, "INV-SCHEDULER-1"));
        assert_ne!(ran, [false; 2], "INV-SCHEDULER-1: nobody ran again");
    });
}

/// Two classes, one permit of the process and none to spare, a limit on the class: two runs that end
/// at once while a third key is triggered. The tree grants no more than it has, on no level, and
/// what comes back is granted again.
///
/// Breaks when a permit goes back to the process only: in `Permits::give_back`, leave out the line
/// of the class. And when it goes nowhere: in `return_permit`, leave out `give_back`.
#[test]
fn loom_inv_scheduler_4_5_the_tree_of_permits() {
    loom::model(|| {
        let model = Model::with_classes(4, 2);
        let mut first = model.drive(0);
        assert_eq!(first.len(), 2, "one of each class");
        let ends = first.pop().map(|run| {
            let model = Arc::clone(&model);
            thread::spawn(move || model.end(run, 1))
        });
        let triggers = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.core(|core| core.trigger(&3, Tick(1))))
        };
        first.into_iter().for_each(|run| model.end(run, 1));
        let mut going = model.drive(1);
        ends.into_iter().for_each(|ends| ends.join().unwrap());
        triggers.join().unwrap();
        going.extend(model.drive(1));
        model.core(|core| {
            core.check_all();
            let status = core.status(Tick(1));
            assert!(status.current_concurrency <= 2, "INV-SCHEDULER-4");
            assert!(
                status.classes[0].current_concurrency <= 1,
                "INV-SCHEDULER-4"
            );
        });
        let mut runs = 2;
        while !going.is_empty() {
            runs += going.len();
            going.into_iter().for_each(|run| model.end(run, 2));
            going = model.drive(2);
        }
        assert!(
            runs >= 4,
            "INV-SCHEDULER-5: a permit was lost after {runs} runs"
        );
        model.core(|core| {
            core.check_all();
            assert_eq!(
                core.status(Tick(2)).current_concurrency,
                0,
                "INV-SCHEDULER-4: a leak"
            );
        });
    });
}

/// A driver that goes to sleep until the next millisecond while a key is triggered: whoever changes
/// something for it calls it, and exactly one of two who do.
///
/// Breaks when the driver's sleep is noted in a step of its own, before it looks: in `sleeps`
/// below, note it before the look, and let the lock go between.
/// And when a start can wait for the timer: in `calls_driver`, leave out the case of `urgent`.
#[test]
fn loom_inv_scheduler_8_a_sleeping_driver_is_called() {
    /// One look of the driver: what there is to do, or sleep.
    fn sleeps(model: &Model) -> bool {
        model.core(|core| {
            core.advance(Tick(99));
            let idle = core.take_effects().is_empty();
            if idle {
                core.driver_sleeps();
            }
            idle
        })
    }
    loom::model(|| {
        let model = Model::new(1, 1);
        let ran = model.drive(0);
        ran.into_iter().for_each(|run| model.end(run, 0));
        drop(model.core(|core| core.take_effects()));
        let calls = Arc::new(AtomicUsize::new(0));
        let changes = {
            let (model, calls) = (Arc::clone(&model), Arc::clone(&calls));
            thread::spawn(move || {
                for step in [0, 1] {
                    let called = model.core(|core| {
                        match step {
                            0 => drop(core.trigger(&0, Tick(99))),
                            _ => core.set_limit(2, Tick(99)),
                        }
                        core.calls_driver()
                    });
                    calls.fetch_add(usize::from(called), Ordering::SeqCst);
                }
            })
        };
        let asleep = sleeps(&model);
        changes.join().unwrap();
        let left = model.core(|core| !core.take_effects().is_empty());
        let calls = calls.load(Ordering::SeqCst);
        assert!(calls <= 1, "INV-SCHEDULER-8: called twice");
        assert_eq!(
            calls == 1,
            asleep && left,
            "INV-SCHEDULER-8: a sleeper is called"
        );
    });
}

/// A deadline's timer against the end of the run and the start of the next one: what was meant for
/// the old run does nothing to the new one.
///
/// Breaks when a run is not asked for its number: in `Core::run`, leave out the comparison.
#[test]
fn loom_inv_scheduler_7_what_is_told_of_an_old_run() {
    loom::model(|| {
        let model = Model::new(1, 1);
        let (run, operation) = model.drive(0).pop().unwrap();
        model.inside.fetch_sub(1, Ordering::SeqCst);
        drop(operation);
        let ends = |model: &Arc<Model>| {
            let model = Arc::clone(model);
            thread::spawn(move || {
                let end = End::Returned(Verdict::Success.into());
                model.core(|core| core.ended(run, end, Tick(1)));
                model.core(|core| core.trigger(&0, Tick(1)))
            })
        };
        // An end that is told twice, as no shell does; and the next run between the two.
        let (first, second) = (ends(&model), ends(&model));
        let mut going = model.drive(1);
        first.join().unwrap();
        second.join().unwrap();
        going.extend(model.drive(1));
        assert_eq!(
            going.len(),
            1,
            "INV-SCHEDULER-7: the next run was ended for the old one"
        );
        model.core(|core| {
            core.check_all();
            assert!(core.run_of(&0).is_some(), "INV-SCHEDULER-7");
        });
        going.into_iter().for_each(|run| model.end(run, 2));
    });
}

impl Core<Only<u8>> {
    /// What its timer does to a run when its grace is over.
    fn overdue(&mut self, run: RunId, now: Tick) {
        self.clock(now);
        if self.run_of(&0) == Some(run) {
            self.give_up(run.index);
        }
    }
}
