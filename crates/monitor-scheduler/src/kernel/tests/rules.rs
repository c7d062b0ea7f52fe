//! What calls do to a key and its run, and the bugs of others that the rules exclude.

use std::{collections::BTreeMap, num::NonZeroUsize, time::Duration};

use monitor_backoff::Verdict;

use super::super::End;
use super::world::{
    MINUTE, QUEUE, SECOND, World, build, jittery_spec, missed, spec, starts, world,
};
use crate::{Ended, KeyState, MissedReason, Phase, Saturation, Spec, TriggerOutcome};

/// PRB-5, PRB-34: five keys, three permits, slow handlers. In the original two of them
/// never ran at all, for a run that was skipped was never armed again.
#[test]
fn a_skipped_key_is_armed_again_and_reported() {
    let mut world = world(3, Saturation::Skip);
    for key in 0..5 {
        let phase = Phase::Offset(Duration::from_millis(u64::from(key)));
        let spec = Spec::builder(Duration::from_millis(200))
            .phase(phase)
            .timeout(Duration::from_secs(60));
        world.schedule(key, spec.build().unwrap());
    }
    let mut ends = BTreeMap::new();
    for _ in 0..6000 {
        world.run_for(1);
        for key in world.running() {
            let end = *ends
                .entry((key, world.ran(key).len()))
                .or_insert(world.now.0 + 600 + 7 * u64::from(key));
            if world.now.0 >= end {
                world.finish(key, Verdict::Success);
            }
        }
        assert!(world.running().len() <= 3);
    }
    for key in 0..5 {
        assert!(
            world.ran(key).len() >= 2,
            "key {key} ran {} times",
            world.ran(key).len()
        );
        let status = world.core.probe_status(&key, world.now).unwrap();
        assert!(status.is_active && status.missed_total > 0);
    }
    assert!(
        missed(&mut world)
            .iter()
            .any(|(_, _, reason)| *reason == MissedReason::Overload)
    );
}

/// PRB-4, PRB-34: five keys are triggered, three run at once, and all five run in the end, in the
/// order in which they came.
#[test]
fn a_queue_serves_everybody_in_order() {
    let mut world = world(3, QUEUE);
    world.run_for(1);
    for key in 0..5 {
        world.schedule(key, spec(MINUTE));
    }
    let outcomes: Vec<_> = (0..5).map(|key| world.trigger(key)).collect();
    assert_eq!(outcomes[..3], [TriggerOutcome::Started; 3]);
    assert_eq!(outcomes[3..], [TriggerOutcome::Queued; 2]);
    assert_eq!(world.running(), [0, 1, 2]);
    let status = world.core.status(world.now);
    assert_eq!((status.current_concurrency, status.queue_depth), (3, 2));
    world.finish(1, Verdict::Success);
    assert_eq!(world.running(), [0, 2, 3]);
    world.finish(0, Verdict::Success);
    world.finish(2, Verdict::Success);
    assert_eq!(world.running(), [3, 4]);
}

/// PRB-6, PRB-20: whatever is triggered while a run is going on comes to one more run.
#[test]
fn triggers_during_a_run_come_to_one_more_run() {
    let mut world = world(3, QUEUE);
    world.schedule(0, spec(MINUTE));
    world.run_for(0);
    for _ in 0..5 {
        assert_eq!(world.trigger(0), TriggerOutcome::Coalesced);
    }
    world.run_for(SECOND);
    world.finish(0, Verdict::Success);
    assert_eq!(world.running(), [0]);
    world.finish(0, Verdict::Success);
    assert_eq!(world.running(), [0_u8; 0]);
}

/// PRB-5, PRB-20: one more run that was promised gets the place in the queue that its own permit
/// makes free; if there is no room at all that is reported.
#[test]
fn one_more_run_is_not_lost_to_a_full_queue() {
    for bound in [1, 0] {
        let mut world = world(2, Saturation::Queue { bound });
        for key in 0..3 {
            world.schedule(key, spec(MINUTE));
        }
        world.run_for(SECOND);
        assert_eq!(world.running(), [0, 1]);
        world.missed.clear();
        assert_eq!(world.trigger(0), TriggerOutcome::Coalesced);
        world.core.set_limit(2 - usize::from(bound == 0), world.now);
        world.finish(0, Verdict::Success);
        let depth = world.core.status(world.now).queue_depth;
        let told = missed(&mut world);
        if bound == 1 {
            assert_eq!((world.running(), depth, told), (vec![1, 2], 1, vec![]));
        } else {
            let expected = vec![(SECOND, 1, MissedReason::Overload)];
            assert_eq!((world.running(), depth, told), (vec![1], 0, expected));
        }
    }
}

/// OPS-42: a paused key is run by hand, stays paused, and its slots are nobody's meanwhile.
#[test]
fn a_paused_key_is_run_by_hand_and_stays_paused() {
    let mut world = world(1, QUEUE);
    world.schedule(0, spec(SECOND));
    world.schedule(1, spec(MINUTE));
    for _ in 0..2 {
        world.run_for(10);
        let key = world.running()[0];
        world.finish(key, Verdict::Success);
    }
    world.core.pause(&0, world.now);
    world.run_for(10 * SECOND);
    world.missed.clear();
    assert_eq!(world.trigger(0), TriggerOutcome::Started);
    world.run_for(5 * SECOND);
    assert_eq!(world.trigger(0), TriggerOutcome::Coalesced);
    world.finish(0, Verdict::Success);
    assert_eq!(world.running(), [0], "once more, as it was asked to");
    world.finish(0, Verdict::Success);
    let status = world.core.probe_status(&0, world.now).unwrap();
    assert_eq!((status.is_active, status.state), (false, KeyState::Paused));
    assert_eq!(
        starts(&mut world, 20 * SECOND, Verdict::Success),
        [0_u64; 0]
    );
    assert_eq!(missed(&mut world), []);

    world.trigger(1);
    assert_eq!(
        world.trigger(0),
        TriggerOutcome::Skipped,
        "it waits for no permit"
    );
    world.finish(1, Verdict::Success);
    assert_eq!(world.trigger(0), TriggerOutcome::Started);
    world.finish(0, Verdict::Success);
    world.prompt = false;
    assert_eq!(world.trigger(0), TriggerOutcome::Started);
    world.stall(5 * SECOND);
    let late = world.starting.remove(0);
    assert!(world.confirm(late));
    world.after();
    assert_eq!(missed(&mut world), [], "it was late for no slot");
    world.prompt = true;

    assert!(world.core.resume(&0, world.now));
    world.finish(0, Verdict::Success);
    assert!(!starts(&mut world, 5 * SECOND, Verdict::Success).is_empty());
}

/// OPS-42, PRB-5: what was asked for and came to nothing is told as asked for, that of a paused key
/// included; the slots beside it are the timer's.
#[test]
fn what_was_asked_for_is_missed_as_such() {
    use crate::Trigger::{Manual, Timer};
    let told = |world: &mut World| -> Vec<_> {
        let missed = std::mem::take(&mut world.missed).into_iter();
        let told = missed.map(|it| (*it.key.0, it.trigger, it.reason));
        told.collect()
    };
    let mut world = world(2, QUEUE);
    for key in 0..3 {
        world.schedule(key, spec(MINUTE));
    }
    world.run_for(MINUTE - 1);
    for key in world.running() {
        world.finish(key, Verdict::Success);
    }
    world.finish(2, Verdict::Success);
    assert_eq!(told(&mut world), []);
    world.core.pause(&0, world.now);
    for key in 0..2 {
        assert_eq!(world.trigger(key), TriggerOutcome::Started);
        assert_eq!(world.trigger(key), TriggerOutcome::Coalesced);
    }
    world.core.set_limit(1, world.now);
    world.finish(0, Verdict::Success);
    assert_eq!(told(&mut world), [(0, Manual, MissedReason::Overload)]);

    assert_eq!(world.trigger(2), TriggerOutcome::Queued);
    world.run_for(2 * MINUTE);
    world.finish(1, Verdict::Success);
    assert_eq!(
        told(&mut world),
        [
            (1, Timer, MissedReason::InFlight),
            (2, Timer, MissedReason::Overload)
        ],
        "slots that passed during the run and the wait"
    );
    world.finish(2, Verdict::Success);
    world.prompt = false;
    assert_eq!(world.trigger(2), TriggerOutcome::Queued);
    world.finish(1, Verdict::Success);
    let run = world.starting.remove(0);
    world.core.refuse(run, world.now);
    world.after();
    assert_eq!(told(&mut world), [(2, Manual, MissedReason::Refused)]);

    assert_eq!(world.trigger(2), TriggerOutcome::Started);
    world.starting.clear();
    assert_eq!(world.trigger(1), TriggerOutcome::Queued);
    world.core.close(world.now);
    world.after();
    let of = |key| (key, Manual, MissedReason::Shutdown);
    assert_eq!(told(&mut world), [of(1), of(2)]);
}

/// PRB-33: a manual run that takes longer than the interval is not followed by the timer at once.
#[test]
fn the_timer_does_not_follow_on_the_heels_of_a_long_manual_run() {
    let mut world = world(3, QUEUE);
    world.schedule(0, spec(2 * SECOND));
    starts(&mut world, SECOND, Verdict::Success);
    world.trigger(0);
    world.run_for(2500);
    world.finish(0, Verdict::Success);
    assert_eq!(
        starts(&mut world, 3 * SECOND, Verdict::Success),
        [4 * SECOND, 6 * SECOND]
    );
}

/// PRB-20: a trigger that comes to nothing says so; the original returned true.
#[test]
fn a_trigger_tells_what_it_came_to() {
    let mut world = world(1, Saturation::Skip);
    for key in 0..2 {
        world.schedule(key, jittery_spec(MINUTE, 0.0));
    }
    assert_eq!(world.trigger(9), TriggerOutcome::Unknown);
    assert_eq!(world.trigger(0), TriggerOutcome::Started);
    assert_eq!(world.trigger(0), TriggerOutcome::Coalesced);
    assert_eq!(world.trigger(1), TriggerOutcome::Skipped);
    assert!(!TriggerOutcome::Skipped.will_run());
    world.core.close(world.now);
    assert_eq!(world.trigger(1), TriggerOutcome::ShutDown);
}

/// PRB-21, PRB-33: a trigger takes the place of the timer: half-way through the interval, the
/// next run is one interval later, not at the slot between; then the grid holds again.
#[test]
fn a_trigger_replaces_the_timer() {
    let mut world = world(3, QUEUE);
    world.schedule(0, spec(MINUTE));
    starts(&mut world, 30 * SECOND, Verdict::Success);
    assert_eq!(world.trigger(0), TriggerOutcome::Started);
    world.finish(0, Verdict::Success);
    let starts = starts(&mut world, 180 * SECOND, Verdict::Success);
    assert_eq!(starts, [90 * SECOND, 120 * SECOND, 180 * SECOND]);
}

/// PRB-22: a reset takes the key out of its long wait at once, and keeps the last error.
#[test]
fn a_reset_ends_the_backoff() {
    let mut world = world(3, QUEUE);
    world.schedule(0, spec(4000));
    starts(&mut world, 7 * SECOND, Verdict::Failure);
    let status = world.core.probe_status(&0, world.now).unwrap();
    assert_eq!(
        (status.current_backoff, status.next_due),
        (Duration::from_secs(10), Some(Duration::from_secs(17)))
    );
    assert!(world.core.reset_backoff(&0, world.now));
    assert!(!world.core.reset_backoff(&9, world.now));
    let status = world.core.probe_status(&0, world.now).unwrap();
    assert_eq!(
        (status.current_backoff, status.next_due),
        (Duration::ZERO, Some(Duration::from_secs(8)))
    );
    assert!(status.last_error_at.is_some());
}

/// PRB-14, PRB-16: a shorter interval holds at once, and a backoff that is going on is kept.
#[test]
fn an_update_changes_the_schedule_now() {
    let mut world = world(3, QUEUE);
    assert!(world.schedule(0, spec(MINUTE)), "created");
    starts(&mut world, 5 * SECOND, Verdict::Success);
    assert!(!world.schedule(0, spec(10 * SECOND)), "updated");
    assert_eq!(
        starts(&mut world, 5 * SECOND, Verdict::Failure),
        [10 * SECOND]
    );
    assert!(!world.schedule(0, spec(SECOND)));
    assert_eq!(
        starts(&mut world, 3 * SECOND, Verdict::Success)[0],
        12 * SECOND
    );
}

/// PRB-8, PRB-7: a handler that heeds nothing loses its permit after deadline and grace, and keeps
/// its key; others run. In the original three such handlers stopped everything.
#[test]
fn an_overdue_run_loses_its_permit_and_keeps_its_key() {
    let mut world = world(1, QUEUE);
    world.schedule(0, build(10 * SECOND, 0.0, Duration::from_secs(2)));
    world.schedule(1, spec(10 * SECOND));
    world.run_for(6999);
    assert_eq!(world.running(), [0]);
    world.run_for(1);
    assert_eq!(world.running(), [0, 1], "the permit went to the other key");
    assert_eq!(world.finished, [(0, Ended::Overdue)]);
    world.finish(1, Verdict::Success);
    world.run_for(30 * SECOND);
    let status = world.core.status(world.now);
    assert_eq!((status.stuck.len(), *status.stuck[0]), (1, 0));
    let stuck = world.core.probe_status(&0, world.now).unwrap();
    assert_eq!(
        (
            stuck.state,
            stuck.consecutive_failures,
            stuck.failures_total
        ),
        (KeyState::Stuck, 1, 1)
    );
    assert_eq!(stuck.running_for, Some(Duration::from_secs(37)));
    let reports = missed(&mut world);
    assert_eq!(
        reports,
        [10, 20, 30].map(|s| (s * SECOND, 1, MissedReason::InFlight)),
        "as they pass"
    );
    world.finish(0, Verdict::Success);
    let freed = world.core.probe_status(&0, world.now).unwrap();
    assert_eq!(
        (freed.state, freed.consecutive_failures),
        (KeyState::Armed, 1),
        "too late to count"
    );
}

/// PRB-7, PRB-36: a handler that panics gives everything back, and its run is a failure.
#[test]
fn a_panic_is_a_failure_of_its_run() {
    let mut world = world(1, QUEUE);
    world.schedule(0, spec(MINUTE));
    world.run_for(0);
    let run = world.live.remove(0).run;
    world.core.claim_ended(run, world.now);
    world.core.handler_ended(run, End::Panicked, world.now);
    world.after();
    assert_eq!(world.finished, [(0, Ended::Panicked)]);
    let status = world.core.probe_status(&0, world.now).unwrap();
    assert_eq!(status.last_error.as_deref(), Some("the handler panicked"));
    assert_eq!(world.core.status(world.now).current_concurrency, 0);
    assert_eq!(
        starts(&mut world, 2 * SECOND, Verdict::Success),
        [2000],
        "after the backoff"
    );
}

/// PRB-17, PRB-18, PRB-23: a key that is cancelled and scheduled again does not run before its old
/// run has ended, and the old run's result is not credited to its new life. In the original it ran
/// twice at once.
#[test]
fn a_new_life_waits_for_the_run_of_the_old_one() {
    let mut world = world(3, QUEUE);
    world.schedule(0, spec(SECOND));
    world.run_for(0);
    assert_eq!(world.core.clear(world.now).len(), 1);
    assert!(!world.core.remove(&0, world.now), "gone already");
    assert!(world.schedule(0, spec(SECOND)), "created");
    assert_eq!(world.trigger(0), TriggerOutcome::Coalesced);
    world.run_for(3500);
    assert_eq!(world.ran(0), [0]);
    world.finish(0, Verdict::Failure);
    assert_eq!(world.finished, [(0, Ended::Withdrawn)]);
    assert_eq!(world.ran(0).len(), 2, "the trigger");
    let status = world.core.probe_status(&0, world.now).unwrap();
    assert_eq!((status.failures_total, status.last_error_at), (0, None));
}

/// PRB-17: after a cancel of an idle key nothing of it is left, and nothing runs.
#[test]
fn a_cancelled_key_is_gone() {
    let mut world = world(3, QUEUE);
    world.schedule(0, spec(SECOND));
    assert!(world.core.remove(&0, world.now));
    world.after();
    world.run_for(10 * SECOND);
    assert!(world.ran(0).is_empty() && world.core.next().is_none());
    assert_eq!(world.core.status(world.now).states.len(), 0);
}

/// PRB-31: a pause takes back what was to come and reports what had come; a resume goes on with
/// the next slot, and the slots between are nobody's.
#[test]
fn pause_and_resume() {
    let mut world = world(1, QUEUE);
    world.schedule(0, spec(SECOND));
    world.schedule(1, spec(SECOND));
    world.run_for(1500);
    assert!(world.core.pause(&0, world.now) && world.core.pause(&1, world.now));
    world.after();
    assert_eq!(
        missed(&mut world),
        [
            (1000, 1, MissedReason::InFlight),
            (0, 1, MissedReason::Withdrawn),
            (1000, 1, MissedReason::Withdrawn)
        ]
    );
    world.finish(0, Verdict::Success);
    world.run_for(10 * SECOND);
    assert!(!world.core.probe_status(&0, world.now).unwrap().is_active);
    assert!(world.core.resume(&0, world.now));
    assert_eq!(starts(&mut world, SECOND, Verdict::Success), [12 * SECOND]);
    assert!(missed(&mut world).is_empty());
}

/// PRB-10, PRB-31: the first run after a pause is one of the grid, also of a key that was failing.
#[test]
fn slots_during_the_run_after_a_pause_are_missed() {
    let mut world = world(1, QUEUE);
    world.schedule(0, spec(SECOND));
    starts(&mut world, 500, Verdict::Failure);
    world.core.pause(&0, world.now);
    world.core.resume(&0, world.now);
    world.run_for(2000);
    assert_eq!(world.ran(0), [0, SECOND]);
    world.finish(0, Verdict::Success);
    assert_eq!(
        missed(&mut world),
        [(2 * SECOND, 1, MissedReason::InFlight)]
    );
}

/// A paused key stays paused when it is edited.
#[test]
fn an_edit_does_not_end_a_pause() {
    let mut world = world(1, QUEUE);
    world.schedule(0, spec(SECOND));
    world.core.pause(&0, world.now);
    world.schedule(0, spec(2 * SECOND));
    assert!(starts(&mut world, 10 * SECOND, Verdict::Success).is_empty());
}

/// PRB-3: between the decision to run and its start a trigger joins it, and a pause takes it back.
#[test]
fn a_run_that_has_not_begun_can_be_taken_back() {
    let mut world = world(1, QUEUE);
    world.prompt = false;
    world.schedule(0, spec(SECOND));
    world.run_for(0);
    let run = world.starting.remove(0);
    assert_eq!(world.trigger(0), TriggerOutcome::Coalesced);
    assert!(world.core.pause(&0, world.now));
    assert!(!world.confirm(run), "no longer wanted");
    world.after();
    assert_eq!(missed(&mut world), [(0, 1, MissedReason::Withdrawn)]);
    assert_eq!(world.core.status(world.now).current_concurrency, 0);
}

/// PRB-5, PRB-10: the slots that pass while a run waits for its driver to begin it are missed.
#[test]
fn slots_before_a_late_beginning_are_missed() {
    let mut world = world(1, QUEUE);
    world.prompt = false;
    world.schedule(0, spec(SECOND));
    world.run_for(2500);
    let run = world.starting.remove(0);
    assert!(world.confirm(run));
    world.after();
    assert_eq!(missed(&mut world), [(SECOND, 2, MissedReason::Stalled)]);
}

/// PRB-4, PRB-32: above a lowered limit nothing starts; a raised one is used at once.
#[test]
fn the_limit_can_be_changed() {
    let mut world = world(3, QUEUE);
    for key in 0..5 {
        world.schedule(key, spec(MINUTE));
    }
    world.run_for(0);
    world.core.set_limit(1, world.now);
    world.finish(0, Verdict::Success);
    world.finish(1, Verdict::Success);
    assert_eq!(world.running().len(), 1);
    world.core.set_limit(NonZeroUsize::MAX.get(), world.now);
    world.after();
    assert_eq!(world.running().len(), 3);
}

/// The claim of a run keeps its key after the handler has ended, but no permit.
#[test]
fn a_claim_keeps_the_key() {
    let mut world = world(1, QUEUE);
    world.schedule(0, spec(SECOND));
    world.run_for(0);
    let run = world.live[0].run;
    let done = End::Returned(Verdict::Success.into());
    world.core.handler_ended(run, done, world.now);
    world.after();
    assert_eq!(world.core.status(world.now).current_concurrency, 0);
    world.run_for(2500);
    assert_eq!(world.ran(0), [0]);
    world.live.clear();
    world.core.claim_ended(run, world.now);
    world.after();
    assert_eq!(starts(&mut world, SECOND, Verdict::Success), [3000]);
}
