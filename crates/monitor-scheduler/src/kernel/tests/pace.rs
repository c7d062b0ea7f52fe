//! Slowing down, and saying why.

use std::time::Duration;

use monitor_backoff::{Policy, Verdict};

use super::world::{MINUTE, QUEUE, SECOND, World, jittery_spec, missed, spec, starts, world};
use crate::{Class, Due, KeyState, Limit, MissedReason, Pace, Phase, Spec, TriggerOutcome, Why};

impl World {
    fn pace(&mut self, class: Class, pace: Pace) {
        self.core.set_pace(class, pace, self.now);
        self.after();
    }

    fn why(&mut self, key: u8) -> Why {
        self.core.explain(&key, self.now).unwrap().why
    }
}

fn optional(interval_ms: u64) -> Spec {
    let spec = Spec::builder(Duration::from_millis(interval_ms)).class(Class::Optional);
    let spec = spec.phase(Phase::Offset(Duration::ZERO));
    spec.backoff(Policy::socket()).build().unwrap()
}

/// ROB-82, PRB-25: nothing of a suspended class is run, each due time is on record, other classes
/// go on, and full pace brings it back at its next slot without anybody asking.
#[test]
fn a_suspended_class_is_recorded_and_comes_back() {
    let mut world = world(3, QUEUE);
    world.schedule(0, optional(SECOND));
    world.schedule(1, spec(10 * SECOND));
    world.pace(Class::Optional, Pace::Suspended);
    starts(&mut world, 2500, Verdict::Success);
    assert_eq!((world.ran(0).len(), world.ran(1).len()), (0, 1));
    let each = |at: u64| (at * SECOND, 1, MissedReason::Suspended);
    assert_eq!(missed(&mut world), [each(0), each(1), each(2)]);
    let status = world.core.probe_status(&0, world.now).unwrap();
    assert_eq!(
        (status.state, status.is_active),
        (KeyState::Suspended, true)
    );
    assert_eq!(world.trigger(0), TriggerOutcome::Started, "by hand it runs");
    world.finish(0, Verdict::Success);
    world.pace(Class::Optional, Pace::Full);
    let later = starts(&mut world, 2 * SECOND, Verdict::Success);
    assert_eq!(
        later,
        [3500, 4 * SECOND],
        "an interval after the manual run, then its slots"
    );
    assert_eq!(missed(&mut world), []);
}

/// ROB-82: keys of a suspended class do not hold places in the queue.
#[test]
fn a_suspended_class_leaves_the_queue() {
    let mut world = world(1, QUEUE);
    world.schedule(1, spec(MINUTE));
    world.schedule(0, optional(MINUTE));
    world.run_for(100);
    assert_eq!(world.core.status(world.now).queue_depth, 1);
    world.pace(Class::Optional, Pace::Suspended);
    assert_eq!(world.core.status(world.now).queue_depth, 0);
    assert_eq!(missed(&mut world), [(0, 1, MissedReason::Suspended)]);
}

/// ROB-82: stretched by three, a key runs at one slot of three, the others are on record, and
/// neighbours take turns.
#[test]
fn a_stretched_class_runs_at_one_slot_of_so_many() {
    let mut world = world(3, QUEUE);
    for key in 0..3 {
        world.schedule(key, optional(SECOND));
    }
    world.pace(Class::Optional, Pace::stretched(3));
    starts(&mut world, 30 * SECOND - 1, Verdict::Success);
    let ran: Vec<Vec<u64>> = (0..3).map(|key| world.ran(key)).collect();
    for slots in &ran {
        assert_eq!(slots.len(), 10);
        assert!(slots.windows(2).all(|pair| pair[1] - pair[0] == 3 * SECOND));
    }
    assert_ne!(ran[0][0], ran[1][0], "not all in the same slot");
    let told = missed(&mut world);
    assert_eq!(told.len(), 60);
    assert!(
        told.iter()
            .all(|(_, slots, why)| (*slots, *why) == (1, MissedReason::Stretched))
    );
}

/// ROB-82: a wait after a failure is stretched as well.
#[test]
fn a_stretched_backoff_is_longer() {
    let mut world = world(3, QUEUE);
    world.schedule(0, spec(MINUTE));
    world.pace(Class::Normal, Pace::stretched(2));
    let starts = starts(&mut world, 15 * SECOND, Verdict::Failure);
    assert_eq!(starts, [0, 4 * SECOND, 14 * SECOND]);
}

/// PRB-24, PRB-25, ROB-82: each state has its reason, and the limits that hold are named.
#[test]
fn each_state_is_explained() {
    let mut world = world(1, QUEUE);
    world.schedule(0, jittery_spec(10 * SECOND, 0.2));
    world.schedule(1, spec(10 * SECOND));
    let ten = Due {
        at: Duration::from_secs(10),
        unix: Duration::from_secs(10),
    };
    world.run_for(2 * SECOND);
    assert!(world.core.explain(&9, world.now).is_none());
    assert!(matches!(world.why(1), Why::Running { again: false, .. }));
    assert!(matches!(world.why(0), Why::Queued { before: 0, .. }));
    let queued = world.core.explain(&0, world.now).unwrap();
    let process = Limit::Process { held: 1, limit: 1 };
    let queue = Limit::Queue {
        depth: 1,
        bound: 100,
    };
    assert_eq!(queued.limits, [process, queue]);
    assert!(process.is_reached(queued.now) && !queue.is_reached(queued.now));
    world.finish(1, Verdict::Failure);
    let wait = Duration::from_secs(2);
    assert_eq!(world.why(1), Why::WaitsForBackoff { failures: 1, wait });
    world.finish(0, Verdict::Success);
    let jitter = Duration::from_secs(1);
    assert_eq!(world.why(0), Why::WaitsForSlot { jitter });
    assert_eq!(world.core.explain(&0, world.now).unwrap().next, Some(ten));
    world.pace(Class::Normal, Pace::Suspended);
    let suspended = world.core.explain(&0, world.now).unwrap();
    assert_eq!(suspended.state, KeyState::Suspended);
    assert!(suspended.limits.contains(&Limit::Suspended));
    world.pace(Class::Normal, Pace::Full);
    world.core.pause(&0, world.now);
    assert_eq!(world.why(0), Why::Paused);
    let paused = world.core.explain(&0, world.now).unwrap().map(|key| *key);
    assert_eq!(
        paused.to_string(),
        "0 (normal): paused\nlimit: 0 of 1 runs of the process\n\
        limit: 0 of 100 places in the queue\n"
    );
    world.core.resume(&0, world.now);
    world.trigger(0);
    world.trigger(0);
    assert!(matches!(world.why(0), Why::Running { again: true, .. }));
    world.finish(0, Verdict::Success);
    world.finish(0, Verdict::Success);
    assert_eq!(world.why(0), Why::WaitsBesideSlots);
}
