//! The wheel against a map that is sorted by time, and how much it does in one tick.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{LEVELS, PACE, Wheel, chunks::List, width};

#[derive(Clone, Debug)]
enum Op {
    Set {
        number: u32,
        ahead: u64,
    },
    Clear(u32),
    Advance(u64),
    /// Advance just as far as the wheel says, as a driver does.
    Step,
    /// The same, and take no more than a few.
    Sip(usize),
}

fn ahead() -> impl Strategy<Value = u64> {
    prop_oneof![
        0_u64..200,
        0_u64..100_000,
        any::<u64>(),
        (0_u32..64).prop_map(|bit| 1 << bit)
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0_u32..40, ahead()).prop_map(|(number, ahead)| Op::Set { number, ahead }),
        1 => (0_u32..50).prop_map(Op::Clear),
        1 => prop_oneof![0_u64..100, 0_u64..1_000_000, 0_u64..1 << 46].prop_map(Op::Advance),
        3 => Just(Op::Step),
        1 => (0_usize..3).prop_map(Op::Sip),
    ]
}

proptest! {
    /// Exactly the timers that are due fire, in the order of their ticks; and the time
    /// until which a driver may sleep is never after the first timer.
    #[test]
    fn fires_what_a_sorted_map_would(ops in prop::collection::vec(op(), 1..200)) {
        let mut wheel = Wheel::new();
        let mut map: BTreeMap<u32, u64> = BTreeMap::new();
        let mut now = 0_u64;
        for op in ops {
            let (target, at_most) = match op {
                Op::Set { number, ahead } => {
                    let at = now.saturating_add(ahead);
                    wheel.set(number, at);
                    map.insert(number, at);
                    continue;
                }
                Op::Clear(number) => {
                    wheel.clear(number);
                    map.remove(&number);
                    continue;
                }
                Op::Advance(by) => (now.saturating_add(by), usize::MAX),
                Op::Step => (wheel.next().unwrap_or(now), usize::MAX),
                Op::Sip(few) => (wheel.next().unwrap_or(now), few),
            };
            now = now.max(target);
            let mut fired = Vec::new();
            wheel.advance(now, at_most, &mut fired);
            let mut last = 0;
            for number in fired {
                let at = map.remove(&number);
                prop_assert!(at.is_some_and(|at| last <= at && at <= now), "{number} fired");
                last = at.unwrap_or(last);
            }
            let first = map.values().min().copied();
            if at_most == usize::MAX {
                prop_assert!(first.is_none_or(|first| first > now), "a timer did not fire");
            } else {
                now = wheel.now();
            }
            prop_assert_eq!(wheel.next().is_some(), first.is_some());
            if let (Some(next), Some(first)) = (wheel.next(), first) {
                prop_assert!(next <= first.max(now));
            }
            prop_assert_eq!(wheel.len(), map.len());
            for number in 0..50 {
                prop_assert_eq!(wheel.at(number), map.get(&number).copied());
            }
        }
    }
}

/// A timer far ahead costs a driver one wake-up per level, not one per tick.
#[test]
fn a_driver_sleeps_long() {
    let mut wheel = Wheel::new();
    wheel.set(0, 30 * 86_400_000);
    let (mut wakes, mut fired) = (0, Vec::new());
    while let Some(next) = wheel.next() {
        wheel.advance(next, usize::MAX, &mut fired);
        wakes += 1;
    }
    assert_eq!(fired, [0]);
    assert!(wakes <= LEVELS, "{wakes} wake-ups for one timer");
}

/// PRB-41: no tick re-files a spike. Timers of one period, set again each time they fire, are
/// followed tick by tick over the boundaries of every level that they meet; no level moves more
/// in one tick than its pace, or than is due in a tick, give or take one piece of a list.
#[test]
fn no_tick_refiles_a_spike() {
    // Timers, period, ticks to follow: levels of 256, 65 536 and 16 777 216 ticks are crossed.
    for (timers, period, ticks) in [
        (50_000_u32, 10_000_u64, 140_000_u64),
        (50_000, 60_000, 140_000),
        (100_000, 200_000, 270_000),
        (2000, 20_000_000, 17_000_000),
    ] {
        let mut wheel = Wheel::new();
        for number in 0..timers {
            wheel.set(number, u64::from(number) * period / u64::from(timers));
        }
        let mut fired = Vec::new();
        let mut worst = [0; LEVELS];
        while let Some(next) = wheel.next().filter(|next| *next < ticks) {
            let before = wheel.refiled;
            wheel.advance(next, usize::MAX, &mut fired);
            for (level, worst) in worst.iter_mut().enumerate() {
                *worst = (*worst).max(wheel.refiled[level] - before[level]);
            }
            for number in fired.drain(..) {
                wheel.set(number, next + period);
            }
        }
        assert!(wheel.refiled[1] > 0, "the boundary of a level was crossed");
        for (level, worst) in worst.into_iter().enumerate().skip(1) {
            let slot = u64::from(timers) * width(level).min(period) / period;
            let bound = PACE.max(slot.div_ceil(width(level))) + 28;
            assert!(
                worst <= bound,
                "period {period}, level {level}: {worst} in one tick"
            );
        }
        assert_eq!(wheel.len(), timers as usize);
    }
}

/// PRB-41: a million timers in one and the same slot far ahead, the worst there is, are spread
/// evenly over the ticks of the slot before it.
#[test]
fn even_a_herd_is_refiled_evenly() {
    let mut wheel = Wheel::new();
    let herd = 100_000;
    for number in 0..herd {
        wheel.set(number, 70_000 + u64::from(number % 100));
    }
    let (mut fired, mut worst) = (Vec::new(), 0);
    while let Some(next) = wheel.next() {
        let before = wheel.refiled[1];
        wheel.advance(next, usize::MAX, &mut fired);
        worst = worst.max(wheel.refiled[1] - before);
    }
    let even = u64::from(herd).div_ceil(width(1));
    assert!(worst <= even + 28, "{worst} in one tick, {even} if even");
    assert_eq!(fired.len(), herd as usize);
}

/// What is set and cleared for ever takes no more room than what is set at once.
#[test]
fn a_million_sets_and_clears_leave_nothing() {
    let mut wheel = Wheel::new();
    for turn in 0..1_000_000_u64 {
        let number = (turn % 100) as u32;
        wheel.set(number, 1_000_000 + turn * 37 % 5_000_000);
        if turn % 3 == 0 {
            wheel.clear(number);
        }
    }
    assert!(wheel.chunks.pieces() <= 200, "{}", wheel.chunks.pieces());
    (0..100).for_each(|number| wheel.clear(number));
    assert!(wheel.is_empty() && wheel.next().is_none());
    assert!(
        wheel
            .levels
            .iter()
            .flat_map(|level| &level.slots)
            .all(List::is_empty)
    );
}

/// How much a timer takes.
#[test]
fn a_timer_is_small() {
    assert_eq!(size_of::<super::Timer>(), 16);
    let mut wheel = Wheel::new();
    for number in 0..100_000 {
        wheel.set(number, u64::from(number) / 10);
    }
    let bytes = wheel.chunks.pieces() * 128 / 100_000;
    assert!(bytes <= 5, "{bytes} bytes in lists");
}
