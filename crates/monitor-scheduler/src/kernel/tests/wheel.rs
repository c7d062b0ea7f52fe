//! The wheel against a map that is sorted by time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{tick::Tick, wheel::Wheel};

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
        1 => prop_oneof![0_u64..100, 0_u64..1_000_000, 0_u64..1 << 50].prop_map(Op::Advance),
        3 => Just(Op::Step),
    ]
}

proptest! {
    /// Exactly the timers that are due fire, first by time, then by turn; and the time until
    /// which a driver may sleep is never after the first timer.
    #[test]
    fn fires_what_a_sorted_map_would(ops in prop::collection::vec(op(), 1..200)) {
        let mut wheel = Wheel::new();
        let mut map: BTreeMap<u32, (u64, usize)> = BTreeMap::new();
        let mut now = 0_u64;
        for (turn, op) in ops.into_iter().enumerate() {
            let target = match op {
                Op::Set { number, ahead } => {
                    let at = now.saturating_add(ahead);
                    wheel.set(number, Tick(at));
                    map.insert(number, (at, turn));
                    continue;
                }
                Op::Clear(number) => {
                    wheel.clear(number);
                    map.remove(&number);
                    continue;
                }
                Op::Advance(by) => now.saturating_add(by),
                Op::Step => wheel.next().map_or(now, |next| next.0),
            };
            now = now.max(target);
            let mut fired = Vec::new();
            wheel.advance(Tick(now), &mut fired);
            let mut due: Vec<((u64, usize), u32)> = map
                .iter()
                .filter(|(_, (at, _))| *at <= now)
                .map(|(number, key)| (*key, *number))
                .collect();
            due.sort_unstable();
            let due: Vec<u32> = due.into_iter().map(|(_, number)| number).collect();
            prop_assert_eq!(fired, due);
            map.retain(|_, (at, _)| *at > now);
            let first = map.values().map(|(at, _)| *at).min();
            prop_assert_eq!(wheel.next().is_some(), first.is_some());
            if let (Some(next), Some(first)) = (wheel.next(), first) {
                prop_assert!(now <= next.0 && next.0 <= first);
            }
            for number in 0..50 {
                prop_assert_eq!(wheel.is_set(number), map.contains_key(&number));
            }
        }
    }
}

/// A timer far ahead costs a driver one wake-up per level, not one per tick.
#[test]
fn a_driver_sleeps_long() {
    let mut wheel = Wheel::new();
    wheel.set(0, Tick(30 * 86_400_000));
    let (mut wakes, mut fired) = (0, Vec::new());
    while let Some(next) = wheel.next() {
        wheel.advance(next, &mut fired);
        wakes += 1;
    }
    assert_eq!(fired, [0]);
    assert!(wakes <= 6, "{wakes} wake-ups for one timer");
}
