//! The tree of permits: classes with weights and limits, ageing, shedding, a longest wait.

use std::{num::NonZeroUsize, time::Duration};

use monitor_backoff::{Jitter, Policy, Verdict};

use super::world::{MINUTE, QUEUE, SECOND, World, config, missed, spec};
use crate::{
    Class, ClassConfig, Config, KeyState, MissedReason, Phase, Saturation, Spec, TriggerOutcome,
};

/// Every so often, of this class, on whole multiples of the interval.
fn of_class(class: Class, interval_ms: u64) -> Spec {
    at_phase(class, interval_ms, 0)
}

/// The same, so much after them.
fn at_phase(class: Class, interval_ms: u64, phase_ms: u64) -> Spec {
    let policy = Policy::socket().to_builder().jitter(Jitter::NONE);
    Spec::builder(Duration::from_millis(interval_ms))
        .phase(Phase::Offset(Duration::from_millis(phase_ms)))
        .backoff(policy.build().unwrap())
        .timeout(Duration::from_secs(3600))
        .class(class)
        .build()
        .unwrap()
}

fn world_with(limit: usize, saturation: Saturation, change: impl FnOnce(&mut Config)) -> World {
    let mut config = Config {
        origin_unix: Duration::ZERO,
        ..config(limit, saturation)
    };
    change(&mut config);
    World::new(&config)
}

/// Lets every run take this long, for so long.
fn run_with(world: &mut World, takes_ms: u64, ms: u64) {
    let end = world.now.0 + ms;
    while world.now.0 < end {
        world.run_for(takes_ms);
        for key in world.running() {
            world.finish(key, Verdict::Success);
        }
    }
}

/// ROB-81, PRB-4: of those that came together the weightier class goes first, in each class first
/// come first served.
#[test]
fn the_weightier_class_goes_first() {
    let mut world = world_with(1, QUEUE, |_| {});
    world.schedule(0, spec(MINUTE));
    world.run_for(0);
    let classes = [
        Class::Optional,
        Class::Normal,
        Class::Critical,
        Class::Critical,
    ];
    for (key, class) in (1..).zip(classes) {
        world.schedule(key, of_class(class, MINUTE));
        assert_eq!(world.trigger(key), TriggerOutcome::Queued);
    }
    let mut order = Vec::new();
    for _ in 0..4 {
        let running = world.running()[0];
        world.finish(running, Verdict::Success);
        order.extend(world.running());
    }
    assert_eq!(order, [3, 4, 2, 1]);
}

/// L7, ROB-81, PRB-34: eight critical keys want one permit eight times as much as there is of it,
/// for ten minutes. The optional key beside them gets it again and again, no later than the ratio
/// of the weights times the longest wait of the others.
#[test]
fn ageing_bounds_starvation() {
    let (queue, shed) = (
        Saturation::Queue { bound: 5 },
        Saturation::Shed { bound: 5 },
    );
    for saturation in [QUEUE, queue, shed] {
        let mut world = world_with(1, saturation, |_| {});
        for key in 1..=8 {
            world.schedule(key, of_class(Class::Critical, SECOND));
        }
        world.schedule(0, of_class(Class::Optional, SECOND));
        let mut starts = vec![0];
        let mut critical = 0;
        for _ in 0..600 {
            world.run_for(SECOND);
            for key in world.running() {
                if key == 0 {
                    starts.push(world.now.0);
                } else {
                    critical += 1;
                }
                world.finish(key, Verdict::Success);
            }
        }
        starts.push(world.now.0);
        let worst = starts
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .max()
            .unwrap();
        assert!(
            worst <= 4 * 10 * SECOND,
            "{saturation:?}: {worst} ms without a run"
        );
        assert!(
            critical > 10 * starts.len(),
            "{saturation:?}: it still goes last"
        );
    }
}

/// L7, PRB-34: one permit, a queue of two, and three keys that always come first and fill it. The
/// fourth finds no place, whatever its class, until it is older than who came last: then it takes
/// that one's, whose due time is reported. So all four are run again and again.
#[test]
fn who_always_comes_to_a_full_queue_is_run_as_well() {
    let mut world = world_with(1, Saturation::Queue { bound: 2 }, |_| {});
    for key in 0..3 {
        world.schedule(key, of_class(Class::Normal, SECOND));
    }
    world.schedule(9, at_phase(Class::Critical, SECOND, 1));
    world.run_for(1);
    assert_eq!(missed(&mut world), [(1, 1, MissedReason::Overload)]);
    assert_eq!(world.core.status(world.now).queue_depth, 2);
    let mut told = Vec::new();
    for _ in 0..60 {
        let running = world.running()[0];
        world.finish(running, Verdict::Success);
        world.run_for(SECOND);
        told.extend(
            world
                .missed
                .iter()
                .map(|missed| (*missed.key, missed.reason)),
        );
        world.missed.clear();
    }
    let ran = [0, 1, 2, 9].map(|key| world.ran(key).len());
    assert!(ran.iter().all(|runs| *runs >= 10), "{ran:?}");
    let displaced = |key| told.contains(&(key, MissedReason::Overload));
    assert!([0, 1, 2].into_iter().any(displaced));
}

/// L2, ROB-81: a class with a limit leaves the other permits to the others, and nobody waits behind
/// those of it that wait.
#[test]
fn a_limited_class_leaves_permits_to_the_others() {
    let mut world = world_with(3, QUEUE, |config| {
        config.classes.optional = ClassConfig {
            max_concurrent: NonZeroUsize::new(1),
            ..config.classes.optional
        };
    });
    for key in 0..3 {
        world.schedule(key, of_class(Class::Optional, MINUTE));
    }
    world.run_for(0);
    assert_eq!(
        world.running(),
        [0],
        "two permits are free, and not for these"
    );
    world.schedule(3, of_class(Class::Normal, 10 * MINUTE));
    assert_eq!(world.trigger(3), TriggerOutcome::Started);
    let status = world.core.status(world.now);
    assert_eq!((status.current_concurrency, status.queue_depth), (2, 2));
    let optional = status.classes[Class::Optional.index()];
    assert_eq!(
        (optional.concurrency_limit, optional.current_concurrency),
        (Some(1), 1)
    );
    world.finish(3, Verdict::Success);
    assert_eq!(world.running(), [0], "what came free was not theirs");
    world.finish(0, Verdict::Success);
    assert_eq!(world.running(), [1]);
}

/// A run gives its permit back to the class that it has it from, also when the key changes class
/// meanwhile.
#[test]
fn a_permit_goes_back_to_its_class() {
    let mut world = world_with(3, QUEUE, |_| {});
    world.schedule(0, of_class(Class::Optional, MINUTE));
    world.run_for(0);
    world.schedule(0, of_class(Class::Critical, MINUTE));
    let held = |world: &mut World| {
        let classes = world.core.status(world.now).classes;
        classes.map(|class| class.current_concurrency)
    };
    assert_eq!(held(&mut world), [1, 0, 0]);
    world.finish(0, Verdict::Success);
    assert_eq!(held(&mut world), [0, 0, 0]);
}

/// PRB-5, PRB-43, ROB-81: where the queue is full the one with the least right to its place gives
/// it up: it is reported as shed, and armed again.
#[test]
fn the_least_is_shed() {
    let mut world = world_with(1, Saturation::Shed { bound: 2 }, |_| {});
    world.schedule(9, spec(10 * MINUTE));
    world.run_for(1);
    for (key, class) in [
        (0, Class::Optional),
        (1, Class::Normal),
        (2, Class::Critical),
    ] {
        world.schedule(key, of_class(class, MINUTE));
    }
    world.run_for(MINUTE);
    assert_eq!(missed(&mut world), [(MINUTE, 1, MissedReason::Shed)]);
    let shed = world.core.probe_status(&0, world.now).unwrap();
    assert_eq!(
        (shed.state, shed.next_due, shed.missed_total),
        (KeyState::Armed, Some(Duration::from_secs(120)), 1)
    );
    assert_eq!(
        world
            .core
            .status(world.now)
            .missed_by_reason
            .of(MissedReason::Shed),
        1
    );
    // One that comes and is the least itself is shed itself.
    world.schedule(3, of_class(Class::Optional, 10 * MINUTE));
    assert_eq!(world.trigger(3), TriggerOutcome::Skipped);
}

/// PRB-5: with a longest wait a key that gets no permit in time is reported, and armed again.
#[test]
fn a_key_waits_no_longer_than_it_may() {
    let mut world = world_with(1, QUEUE, |config| {
        config.max_wait = Some(Duration::from_millis(2500));
    });
    world.schedule(0, spec(10 * MINUTE));
    world.schedule(1, spec(SECOND));
    world.run_for(2499);
    assert_eq!(missed(&mut world), []);
    world.run_for(1);
    let told = [
        (0, 1, MissedReason::Overload),
        (SECOND, 2, MissedReason::Overload),
    ];
    assert_eq!(missed(&mut world), told);
    let status = world.core.probe_status(&1, world.now).unwrap();
    assert_eq!(status.state, KeyState::Armed);
    world.run_for(SECOND);
    world.finish(0, Verdict::Success);
    assert_eq!(world.ran(1), [3 * SECOND]);
    world.finish(1, Verdict::Success);
    run_with(&mut world, 100, 10 * SECOND);
    assert_eq!(missed(&mut world), [], "a place that was left has no timer");
}

/// ROB-71: twenty at once unless set otherwise, and never more.
#[test]
fn twenty_run_at_once() {
    let mut world = World::new(&Config::default());
    for key in 0..30 {
        world.schedule(key, spec(MINUTE));
    }
    world.run_for(0);
    assert_eq!(world.running().len(), 20);
    run_with(&mut world, SECOND, 5 * SECOND);
    assert!((0..30).all(|key| world.ran(key).len() == 1));
}
