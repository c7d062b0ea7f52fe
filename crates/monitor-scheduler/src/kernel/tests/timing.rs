//! When keys run: slots, backoff, jitter, stalls, and the bugs of others that the rules exclude.

use std::time::Duration;

use monitor_backoff::{Jitter, Policy, Verdict};
use monitor_operation::Epoch;

use super::super::{Core, Effect, End, Start, Tick};
use super::{
    EPOCH, Note, Only,
    world::{MINUTE, QUEUE, SECOND, build, config, jittery_spec, missed, spec, starts, world},
};
use crate::{Completion, MissedReason, Phase, Spec};

/// PRB-9, PRB-10, PRB-35: the waits after failures are 2, 5, 10, 10 s, counted from the end; the
/// original skipped the first step.
#[test]
fn failures_wait_two_five_ten_seconds() {
    let mut world = world(3, QUEUE);
    world.schedule(0, spec(MINUTE));
    let starts = starts(&mut world, 31 * SECOND, Verdict::Failure);
    assert_eq!(starts, [0, 2000, 7000, 17_000, 27_000]);
}

/// PRB-12: one success ends the streak, and the key goes back to its slots; the text of its last
/// error stays.
#[test]
fn after_recovery_the_key_is_back_on_its_grid() {
    let mut world = world(3, QUEUE);
    world.schedule(0, spec(MINUTE));
    starts(&mut world, 10 * SECOND, Verdict::Failure);
    assert_eq!(
        world
            .core
            .probe_status(&0, world.now)
            .unwrap()
            .consecutive_failures,
        3
    );
    let starts = starts(&mut world, 3 * MINUTE, Verdict::Success);
    assert_eq!(starts, [17_000, MINUTE, 2 * MINUTE, 3 * MINUTE]);
    let status = world.core.probe_status(&0, world.now).unwrap();
    assert_eq!(
        (status.consecutive_failures, status.current_backoff),
        (0, Duration::ZERO)
    );
    assert_eq!((status.failures_total, status.successes_total), (3, 4));
    assert!(status.last_error_at.is_some());
}

/// PRB-13: with the default policy a target that keeps failing is not looked at more often than
/// one that is well, the confirming looks at the start apart.
#[test]
fn a_failing_key_is_not_run_more_often_than_its_interval() {
    let mut world = world(3, QUEUE);
    let spec = Spec::builder(Duration::from_secs(60))
        .backoff(Policy::hardened())
        .build()
        .unwrap();
    world.schedule(0, spec);
    let hour = starts(&mut world, 60 * MINUTE, Verdict::Failure).len();
    assert!(hour <= 10, "{hour} runs in an hour");
}

/// PRB-5: slots that pass in the queue are reported; the due time that waits is run.
#[test]
fn slots_that_pass_in_the_queue_are_missed() {
    let mut world = world(1, QUEUE);
    world.schedule(0, spec(MINUTE));
    world.schedule(1, spec(SECOND));
    world.run_for(3500);
    assert_eq!((world.running(), missed(&mut world)), (vec![0], vec![]));
    world.finish(0, Verdict::Success);
    assert_eq!(world.ran(1), [0]);
    assert_eq!(missed(&mut world), [(1000, 3, MissedReason::Overload)]);
}

/// PRB-10, PRB-41: a driver that was held up for whole intervals reports the slots that passed,
/// as one run of them, and starts nothing to catch up.
#[test]
fn after_a_stall_nothing_is_caught_up() {
    let mut world = world(3, QUEUE);
    world.schedule(0, spec(SECOND));
    starts(&mut world, SECOND, Verdict::Success);
    world.stall(8 * 3600 * SECOND + 300);
    assert_eq!(world.running(), [0_u8; 0]);
    assert_eq!(
        missed(&mut world),
        [(2000, 8 * 3600, MissedReason::Stalled)]
    );
    assert_eq!(starts(&mut world, SECOND, Verdict::Success), [28_802_000]);
}

/// PRB-10: a run that is longer than its interval misses slots; they are told in one report.
#[test]
fn slots_during_a_run_are_missed_in_one_report() {
    let mut world = world(3, QUEUE);
    world.schedule(0, spec(SECOND));
    world.run_for(5500);
    world.finish(0, Verdict::Success);
    assert_eq!(missed(&mut world), [(1000, 5, MissedReason::InFlight)]);
    assert_eq!(starts(&mut world, SECOND, Verdict::Success), [6000]);
}

/// PRB-11, PRB-37: gaps stay within ±20 %, use the whole of it on both sides, and do not drift.
#[test]
fn jitter_spreads_starts_and_moves_no_slot() {
    let mut world = world(3, QUEUE);
    world.schedule(0, jittery_spec(10 * SECOND, 0.2));
    let starts = starts(&mut world, 5000 * 10 * SECOND, Verdict::Success);
    let gaps: Vec<i64> = starts
        .windows(2)
        .map(|pair| pair[1] as i64 - pair[0] as i64)
        .collect();
    assert!(gaps.iter().all(|gap| (8000..=12_000).contains(gap)));
    assert!(gaps.iter().any(|gap| *gap < 8500) && gaps.iter().any(|gap| *gap > 11_500));
    let mean = gaps.iter().sum::<i64>() as f64 / gaps.len() as f64;
    assert!((mean - 10_000.0).abs() < 100.0, "mean {mean}");
    assert!(
        starts
            .iter()
            .enumerate()
            .all(|(n, at)| (*at as i64 - n as i64 * 10_000).abs() <= 1000)
    );
    let due = world.ran(0);
    assert!(
        due.iter()
            .enumerate()
            .all(|(n, at)| *at == n as u64 * 10_000),
        "due is the slot"
    );
}

/// PRB-41: a thousand keys of one interval start evenly over it, after a stall as well.
#[test]
fn keys_spread_over_their_interval() {
    let mut core = Core::<Only<u32>>::new(&config(10_000, QUEUE));
    for key in 0..1000_u32 {
        let spec = Spec::builder(Duration::from_secs(10)).phase(Phase::of(&key.to_le_bytes()));
        let placed = core.schedule(&spec.build().unwrap(), Only::of(key), false, Tick(0));
        assert_eq!(placed, Ok(true));
    }
    let worst = |core: &mut Core<Only<u32>>, from: u64| {
        let mut worst = 0;
        for window in 0..100 {
            core.advance_all(Tick(from + (window + 1) * 100));
            let effects = core.take_effects();
            let started = effects
                .iter()
                .filter(|e| matches!(e, Effect::Start(_)))
                .count();
            worst = worst.max(started);
            for effect in effects {
                if let Effect::Start(Start { run, .. }) = effect {
                    core.refuse(run, Tick(from + (window + 1) * 100));
                }
            }
        }
        worst
    };
    assert!(worst(&mut core, 0) <= 30, "ten per window on average");
    core.advance_all(Tick(3_600_000));
    assert!(
        core.take_effects()
            .iter()
            .all(|e| !matches!(e, Effect::Start(_)))
    );
    assert!(worst(&mut core, 3_600_000) <= 30);
}

/// A handler that asks for a pause of its own gets it, on the grid.
#[test]
fn a_key_is_not_run_before_its_handler_wants() {
    let mut world = world(1, QUEUE);
    world.schedule(0, spec(SECOND));
    world.run_for(0);
    let run = world.live.remove(0).run;
    let done = Completion::new(Verdict::Success).not_before(Duration::from_millis(4200));
    world.core.claim_ended(run, world.now);
    world
        .core
        .handler_ended(run, End::Returned(done), world.now);
    world.after();
    assert_eq!(
        starts(&mut world, 6 * SECOND, Verdict::Success),
        [5000, 6000]
    );
    assert!(
        missed(&mut world).is_empty(),
        "those slots were never promised"
    );
}

/// What the history holds already is not run again after a restart, and a clock that was set back
/// does not silence a key.
#[test]
fn a_new_key_starts_after_what_is_accounted_for() {
    let mut world = world(1, QUEUE);
    let after = |unix| {
        Spec::builder(Duration::from_secs(1))
            .phase(Phase::Offset(Duration::ZERO))
            .backoff(Policy::socket())
            .after(unix)
    };
    world.schedule(0, after(Duration::from_secs(1)).build().unwrap());
    assert_eq!(starts(&mut world, 2 * SECOND, Verdict::Success)[0], 2000);
    world.schedule(1, after(Duration::from_secs(86_400)).build().unwrap());
    assert_eq!(
        world.core.probe_status(&1, world.now).unwrap().next_due,
        Some(Duration::from_secs(4))
    );
}

/// A new key that is to run at once does, and then keeps to its slots.
#[test]
fn an_immediate_key_runs_at_once() {
    let mut world = world(1, QUEUE);
    world.run_for(300);
    let spec = Spec::builder(Duration::from_secs(1))
        .phase(Phase::Offset(Duration::ZERO))
        .immediate(true);
    world.schedule(
        0,
        spec.backoff(
            Policy::gate2()
                .to_builder()
                .jitter(Jitter::NONE)
                .build()
                .unwrap(),
        )
        .build()
        .unwrap(),
    );
    assert_eq!((world.running(), world.ran(0)), (vec![0], vec![300]));
    world.finish(0, Verdict::Success);
    assert_eq!(
        starts(&mut world, 2 * SECOND, Verdict::Success),
        [1000, 2000]
    );
}

/// A report carries the epoch under which the due time was set.
#[test]
fn a_report_carries_the_epoch_of_its_due_time() {
    let mut world = world(1, QUEUE);
    world.schedule(0, spec(SECOND));
    EPOCH.set(Epoch::new(4));
    world.stall(5 * SECOND);
    world.core.pause(&0, world.now);
    EPOCH.set(Epoch::new(5));
    world.after();
    assert!(!world.missed.is_empty());
    assert!(
        world
            .missed
            .iter()
            .all(|missed| missed.epoch == Epoch::new(4))
    );
    let notes = world
        .core
        .journal
        .iter()
        .filter(|(_, note)| matches!(note, Note::Ran(_)));
    assert_eq!(notes.count(), 1, "the slot that was just due");
}

/// PRB-10, PRB-11: a look beside the grid, here the first after a failure, stands for the slot that
/// is less than half an interval ahead: the key is not looked at twice in a row, and the slot is
/// not missed when it falls into that look.
#[test]
fn a_run_beside_the_grid_stands_for_the_slot_on_its_heels() {
    let mut world = world(3, QUEUE);
    world.schedule(0, spec(3 * SECOND));
    assert_eq!(starts(&mut world, SECOND, Verdict::Failure), [0]);
    world.run_for(SECOND);
    assert_eq!(world.ran(0), [0, 2 * SECOND], "the backoff of 2 s");
    world.run_for(1200); // over the slot at 3 s
    world.finish(0, Verdict::Success);
    assert_eq!(missed(&mut world), []);
    let later = starts(&mut world, 6 * SECOND, Verdict::Success);
    assert_eq!(later, [6 * SECOND, 9 * SECOND]);
}

/// PRB-10: a target that never answers is looked at by its backoff; the slots of the grid that
/// fall into such a look were promised to nobody. Those during the first one were.
#[test]
fn no_slot_is_promised_during_a_run_of_the_backoff() {
    let mut world = world(3, QUEUE);
    world.schedule(0, build(SECOND, 0.0, Duration::from_secs(60)));
    world.run_for(2500);
    world.finish(0, Verdict::Failure);
    assert_eq!(
        missed(&mut world),
        [(SECOND, 2, MissedReason::InFlight)],
        "at 1 and 2 s"
    );
    world.run_for(2000); // the backoff
    assert_eq!(world.ran(0), [0, 4500]);
    world.run_for(3200);
    world.finish(0, Verdict::Success);
    assert_eq!(missed(&mut world), []);
    let later = starts(&mut world, 2 * SECOND, Verdict::Success);
    assert_eq!(later, [8 * SECOND, 9 * SECOND]);
}
