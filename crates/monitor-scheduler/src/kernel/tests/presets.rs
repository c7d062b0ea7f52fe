//! What holds under every preset.

use std::{collections::BTreeMap, time::Duration};

use monitor_backoff::{Jitter, Policy, Verdict};

use super::super::{Core, Effect, End, Tick};
use super::{
    Only,
    world::{Live, QUEUE, SECOND, World, starts, world},
};
use crate::{Config, KeyState, MissedReason, Phase, Preset, Saturation, Spec, TriggerOutcome};

fn preset_world(preset: Preset) -> World {
    World::new(&Config {
        origin_unix: Duration::ZERO,
        ..preset.config()
    })
}

fn spec(preset: Preset, seconds: u64) -> Spec {
    let spec = preset.spec(Duration::from_secs(seconds));
    spec.phase(Phase::Offset(Duration::ZERO)).build().unwrap()
}

/// PRB-44, PRB-35, PRB-1, PRB-4, L1, S1: the sign-off list of the scheduler, under each preset: one
/// run of a key, as many at once as there are permits and no more, waits after failures and jitter
/// as the policy says, a clean end whatever the handler does, and all six functions.
#[test]
fn the_sign_off_list_holds_under_every_preset() {
    for preset in Preset::ALL {
        assert_eq!(Preset::named(preset.as_str()), Some(preset));
        the_cap_is_reached_and_kept(preset);
        waits_are_those_of_the_policy(preset);
        the_six_functions(preset);
    }
    assert_eq!(Preset::named("jobs"), None);
}

fn the_cap_is_reached_and_kept(preset: Preset) {
    let mut world = preset_world(preset);
    let limit = preset.config().max_concurrent.get().min(30);
    for key in 0..30 {
        world.schedule(key, spec(preset, 60));
        assert_ne!(world.trigger(key), TriggerOutcome::Unknown);
    }
    // World checks after each step that no key runs twice, and that none is lost.
    assert_eq!(world.running().len(), limit, "{preset:?}");
    while let Some(key) = world.running().first().copied() {
        world.finish(key, Verdict::Success);
    }
    let ran = (0..30).filter(|key| !world.ran(*key).is_empty()).count();
    let skips = preset.config().saturation == Saturation::Skip;
    assert_eq!(ran, if skips { limit } else { 30 }, "{preset:?}");
    starts(&mut world, 200 * SECOND, Verdict::Success);
    assert!(
        (0..30).all(|key| !world.ran(key).is_empty()),
        "{preset:?}: a key never ran"
    );
}

fn waits_are_those_of_the_policy(preset: Preset) {
    let mut world = preset_world(preset);
    let spec = spec(preset, 60);
    let (policy, interval) = (*spec.backoff(), spec.interval());
    world.schedule(0, spec);
    let starts = starts(&mut world, 6 * 3600 * SECOND, Verdict::Failure);
    for (failures, pair) in (1..).zip(starts.windows(2)) {
        let gap = Duration::from_millis(pair[1] - pair[0]);
        let range = policy.range(failures, interval);
        // A due time is a whole millisecond, not before the wait is over.
        let last = *range.end() + Duration::from_millis(1);
        assert!(
            (*range.start()..=last).contains(&gap),
            "{preset:?}: {gap:?} after {failures}"
        );
    }
    assert!(starts.len() > 4);
}

fn the_six_functions(preset: Preset) {
    let mut world = preset_world(preset);
    assert!(world.schedule(0, spec(preset, 60)));
    assert_eq!(world.trigger(0), TriggerOutcome::Started);
    world.finish(0, Verdict::Failure);
    let status = world.core.status(world.now);
    assert_eq!((status.scheduled.len(), status.ongoing.len()), (1, 0));
    assert_eq!(status.states[0].consecutive_failures, 1);
    assert!(status.states[0].current_backoff > Duration::ZERO);
    assert!(world.core.reset_backoff(&0, world.now));
    assert_eq!(
        world.core.status(world.now).states[0].consecutive_failures,
        0
    );
    assert!(world.core.remove(&0, world.now));
    world.after();
    assert!(world.schedule(0, spec(preset, 60)) && world.schedule(1, spec(preset, 60)));
    assert_eq!(world.core.clear(world.now).len(), 2);
    world.after();
    assert!(world.core.status(world.now).states.is_empty());
}

/// PRB-5, PRB-34: five keys are triggered at once under the preset of the report: three run, two
/// are skipped, and none of them for ever.
#[test]
fn gate2_skips_and_forgets_nobody() {
    let mut world = preset_world(Preset::Gate2);
    for key in 0..5 {
        world.schedule(key, spec(Preset::Gate2, 60));
    }
    let outcomes: Vec<_> = (0..5).map(|key| world.trigger(key)).collect();
    assert_eq!(outcomes[..3], [TriggerOutcome::Started; 3]);
    assert_eq!(outcomes[3..], [TriggerOutcome::Skipped; 2]);
    for key in 0..3 {
        world.finish(key, Verdict::Success);
    }
    starts(&mut world, 130 * SECOND, Verdict::Success);
    assert!((0..5).all(|key| !world.ran(key).is_empty()));
}

/// PRB-21: with the mail preset a manual trigger keeps the backoff, with the others it ends it.
#[test]
fn only_mail_keeps_its_backoff_over_a_trigger() {
    for preset in Preset::ALL {
        let mut world = preset_world(preset);
        world.schedule(0, spec(preset, 60));
        world.trigger(0);
        world.finish(0, Verdict::Failure);
        assert_eq!(world.trigger(0), TriggerOutcome::Started);
        let failures = world.core.status(world.now).states[0].consecutive_failures;
        assert_eq!(failures, u32::from(preset == Preset::Mail), "{preset:?}");
    }
}

/// ROB-48, ROB-50, ROB-52: the loop waits what the policy computes, a closed breaker or none: 600,
/// 1200, 2400, 3600 s from a base of 300; and with the mail preset never less than 30 s.
#[test]
fn the_computed_wait_is_used() {
    let mail = |base: u64| {
        let schedule = monitor_backoff::Schedule::Exponential {
            base: monitor_backoff::Base::Fixed(Duration::from_secs(base)),
            factor: 2.0,
        };
        let policy = Policy::mail().to_builder().jitter(Jitter::NONE);
        policy.schedule(schedule).build().unwrap()
    };
    for (base, waits) in [
        (300, [600, 1200, 2400, 3600, 3600]),
        (10, [30, 40, 80, 160, 320]),
    ] {
        let mut world = world(3, QUEUE);
        let spec = Preset::Mail
            .spec(Duration::from_secs(300))
            .backoff(mail(base));
        let spec = spec.phase(Phase::Offset(Duration::ZERO)).build().unwrap();
        world.schedule(0, spec);
        let starts = starts(&mut world, 12_000 * SECOND, Verdict::Failure);
        let gaps: Vec<u64> = starts
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) / SECOND)
            .collect();
        assert_eq!(gaps[..5.min(gaps.len())], waits[..5.min(gaps.len())]);
        assert!(gaps.len() >= 4);
    }
}

/// L8, ROB-51: the more failures, the rarer the runs, once what is to be confirmed is confirmed:
/// in each hour of an outage no more than in the hour before. `gate2` and `socket` ask otherwise:
/// they wait less than an interval, and no less as time goes on.
#[test]
fn the_rate_never_rises_in_an_outage() {
    for preset in Preset::ALL {
        let mut world = preset_world(preset);
        world.schedule(0, spec(preset, 60));
        let mut hours = BTreeMap::new();
        for hour in 0..12 {
            let runs = starts(&mut world, 3600 * SECOND, Verdict::Failure).len();
            hours.insert(hour, runs);
        }
        let rates: Vec<usize> = hours.into_values().collect();
        // A jitter of a fifth moves a run over the end of an hour, or a few of many.
        let slack = |runs: usize| runs + 1 + runs / 10;
        assert!(
            rates.windows(2).all(|pair| pair[1] <= slack(pair[0])),
            "{preset:?}: {rates:?}"
        );
    }
}

/// PRB-43, PRB-5: what is skipped is counted by reason, for the key and for all.
#[test]
fn skips_are_counted_by_reason() {
    let mut world = world(1, Saturation::Skip);
    let spec = |interval| super::world::spec(interval);
    world.schedule(0, spec(60 * SECOND));
    world.schedule(1, spec(SECOND));
    world.run_for(3500);
    let status = world.core.status(world.now);
    assert_eq!(status.missed_by_reason.of(MissedReason::Overload), 4);
    assert_eq!(
        (status.missed_by_reason.total(), status.missed_total),
        (4, 4)
    );
    assert_eq!(status.states[1].missed_total, 4);
    assert_eq!(status.states[1].state, KeyState::Armed);
}

/// PRB-2: a key is found at once, however many there are: its id is compared once or twice among
/// ten thousand as among ten.
#[test]
fn a_key_is_found_without_a_search() {
    use std::{
        cell::Cell,
        hash::{Hash, Hasher},
    };
    thread_local! {
        static COMPARED: Cell<u32> = const { Cell::new(0) };
    }
    struct Counted(u32);
    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            COMPARED.set(COMPARED.get() + 1);
            self.0 == other.0
        }
    }
    impl Eq for Counted {}
    impl Hash for Counted {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }
    for keys in [10, 10_000] {
        let mut core = Core::<Only<Counted>>::new(&Config::default());
        for key in 0..keys {
            let spec = Spec::builder(Duration::from_secs(60)).phase(Phase::Hashed(0));
            let handler = Only::of(Counted(key));
            let placed = core.schedule(&spec.build().unwrap(), handler, true, Tick(0));
            assert!(placed.is_ok_and(|is_new| is_new));
        }
        COMPARED.set(0);
        for key in 0..keys {
            assert!(core.run_of(&Counted(key)).is_none());
        }
        assert!(
            COMPARED.get() <= 2 * keys,
            "{} for {keys} keys",
            COMPARED.get()
        );
    }
}

/// What a key takes: with the handler's two words one cache line, and one more when it has run. With
/// the timer (see the wheel) and the index that is what the README says.
#[test]
fn a_key_is_small() {
    use super::super::entry::{Entry, Past};
    assert_eq!(size_of::<Option<Entry<crate::shared::Handler<u8>>>>(), 64);
    assert_eq!(size_of::<Option<Past>>(), 64);
}

/// PRB-28: failures are counted past any number that matters, and the wait stays what it is.
#[test]
fn a_million_failures_are_counted() {
    let mut world = world(1, QUEUE);
    world.schedule(0, super::world::spec(SECOND));
    world.run_for(0);
    for failures in 1..=1_000_000_u32 {
        let live = world.live.remove(0);
        let end = End::Returned(Verdict::Failure.into());
        world.core.ended(live.run, end, world.now);
        world.core.take_effects();
        if failures == 1_000_000 {
            break;
        }
        world.core.journal.clear();
        while world.live.is_empty() {
            world.now = world.core.next().unwrap();
            world.core.advance(world.now);
            for effect in world.core.take_effects() {
                if let Effect::Start(start) = effect {
                    let (run, key) = (start.run, *start.handler.0);
                    assert!(world.core.confirm(run, world.now).is_some());
                    let handler_ended = false;
                    world.live.push(Live {
                        run,
                        key,
                        handler_ended,
                    });
                }
            }
        }
    }
    let status = world.core.probe_status(&0, world.now).unwrap();
    assert_eq!(status.consecutive_failures, 1_000_000);
    assert_eq!(status.current_backoff, Duration::from_secs(10));
}
