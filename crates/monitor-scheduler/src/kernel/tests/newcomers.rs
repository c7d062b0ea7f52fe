//! New keys that are to run at once, more of them than there are permits.

use monitor_backoff::Verdict;

use super::world::{MINUTE, QUEUE, SECOND, World, config, spec, world};
use crate::{Class, Saturation, Spec};

/// So many new keys, with a first slot that is still far.
const NEW: u8 = 60;

fn immediate(interval_ms: u64) -> Spec {
    immediate_of(interval_ms, Class::Normal)
}

fn immediate_of(interval_ms: u64, class: Class) -> Spec {
    let like = spec(interval_ms);
    let spec = Spec::builder(like.interval()).timeout(like.timeout());
    let spec = spec.backoff(*like.backoff()).phase(like.phase());
    spec.class(class).immediate(true).build().unwrap()
}

fn finish_all(world: &mut World) {
    for key in world.running() {
        world.finish(key, Verdict::Success);
    }
}

/// PRB-41, PRB-34: sixty keys are new in one moment, with three permits and room for two in the
/// queue. Each is run once within twenty turns and long before its slot, and none is missed.
#[test]
fn newcomers_run_as_permits_come_free_and_are_not_missed() {
    let mut world = world(3, Saturation::Queue { bound: 2 });
    world.run_for(1);
    for key in 0..NEW {
        world.schedule(key, immediate(MINUTE));
    }
    for turn in 1..=u64::from(NEW / 3) {
        assert_eq!(world.running().len(), 3, "in turn {turn}");
        world.run_for(100);
        finish_all(&mut world);
    }
    assert_eq!(world.running(), [0_u8; 0]);
    assert!((0..NEW).all(|key| world.ran(key).len() == 1));
    assert!(world.missed.is_empty(), "{:?}", world.missed);
}

/// PRB-4: who is in the queue comes first, and a newcomer takes no place in it.
#[test]
fn newcomers_are_behind_those_in_the_queue() {
    let mut world = world(1, Saturation::Queue { bound: 1 });
    world.schedule(0, spec(SECOND));
    world.schedule(1, spec(MINUTE));
    world.run_for(SECOND);
    world.schedule(2, immediate(MINUTE));
    world.trigger(1);
    assert_eq!(world.running(), [0]);
    for next in [1, 2] {
        finish_all(&mut world);
        assert_eq!(world.running(), [next]);
    }
    assert!(world.missed.is_empty(), "{:?}", world.missed);
}

/// L1: a newcomer for whom there is no permit until then is run in its slot, as any key is.
#[test]
fn a_newcomer_waits_no_longer_than_for_its_slot() {
    let mut world = world(1, Saturation::Queue { bound: 1 });
    world.run_for(1);
    world.schedule(0, immediate(MINUTE));
    world.schedule(1, immediate(10 * SECOND));
    world.run_for(10 * SECOND);
    assert_eq!(world.core.status(world.now).queue_depth, 1);
    finish_all(&mut world);
    assert_eq!(
        (world.running(), world.ran(1)),
        (vec![1], vec![10 * SECOND])
    );
}

/// A newcomer that is paused or edited meanwhile is one no more, and keys that come and go while
/// nothing can start leave nothing behind.
#[test]
fn who_leaves_the_line_is_not_run() {
    let mut world = world(1, Saturation::Queue { bound: 1 });
    world.run_for(1);
    for key in 0..4 {
        world.schedule(key, immediate(MINUTE));
    }
    assert!(world.core.pause(&1, world.now));
    world.schedule(2, spec(MINUTE));
    for _ in 0..10_000 {
        world.schedule(9, immediate(MINUTE));
        assert!(world.core.remove(&9, world.now));
        world.core.take_effects();
    }
    let line: usize = world.core.newcomers.iter().map(|line| line.len()).sum();
    assert!(line <= 65, "{line} in the line for one newcomer");
    finish_all(&mut world);
    assert_eq!(world.running(), [3]);
    finish_all(&mut world);
    assert_eq!(world.running(), [0_u8; 0]);
}

/// PRB-4: a newcomer that has the number of one that is gone, of another class, is not taken for
/// it: it waits for a permit of its own class, and takes none of theirs.
#[test]
fn a_newcomer_is_of_its_own_class() {
    let mut config = config(9, QUEUE);
    config.classes.normal.max_concurrent = Some(1.try_into().unwrap());
    config.classes.critical.max_concurrent = Some(1.try_into().unwrap());
    let mut world = World::new(&config);
    world.run_for(1);
    world.schedule(0, immediate_of(MINUTE, Class::Normal));
    world.schedule(1, immediate_of(MINUTE, Class::Critical));
    world.schedule(2, immediate_of(MINUTE, Class::Normal));
    assert!(world.core.remove(&2, world.now));
    world.schedule(3, immediate_of(MINUTE, Class::Critical));
    assert_eq!(world.running(), [0, 1]);
    world.finish(0, Verdict::Success);
    assert_eq!(world.running(), [1], "no permit of its class is free");
    world.finish(1, Verdict::Success);
    assert_eq!(world.running(), [3]);
}
