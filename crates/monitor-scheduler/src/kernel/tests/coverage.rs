//! While a key is left alone, every single slot of its grid is run or reported, once.

use monitor_backoff::Verdict;
use proptest::prelude::*;

use super::{
    Note,
    world::{World, config, jittery_spec},
};
use crate::Saturation;

/// Milliseconds that pass, whether the driver is held up for them, and whose run ends.
fn step() -> impl Strategy<Value = (u64, bool, usize)> {
    (0_u64..2500, prop::bool::weighted(0.1), any::<usize>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// PRB-5, PRB-10, PRB-34: slow handlers, a stalled driver, too few permits: no slot is lost
    /// and none is counted twice.
    #[test]
    fn every_slot_is_run_or_missed_exactly_once(
        limit in 1_usize..3,
        queue in prop::option::of(0_usize..4),
        ratio in prop_oneof![Just(0.0), Just(0.2)],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        const INTERVAL: u64 = 1000;
        let saturation = queue.map_or(Saturation::Skip, |bound| Saturation::Queue { bound });
        let mut world = World::new(&config(limit, saturation));
        for key in 0..4 {
            world.schedule(key, jittery_spec(INTERVAL, ratio));
        }
        for (ms, stall, which) in steps {
            if stall {
                world.stall(ms * 4);
            } else {
                world.run_for(ms);
            }
            if let Some(position) = which.checked_rem(world.live.len()) {
                let key = world.live[position].key;
                world.finish(key, Verdict::Success);
            }
        }
        for key in 0..4 {
            let mut slots = Vec::new();
            for (_, note) in world.core.journal.iter().filter(|(k, _)| **k == key) {
                match *note {
                    Note::Ran(due) => slots.push(due.0),
                    Note::Missed { due, slots: n } => {
                        slots.extend((0..u64::from(n)).map(|slot| due.0 + slot * INTERVAL));
                    }
                    Note::Born | Note::Armed(_) | Note::TakenBack(_) => {}
                }
            }
            for pair in slots.windows(2) {
                prop_assert_eq!(pair[1] - pair[0], INTERVAL, "a gap or a double after {}", pair[0]);
            }
        }
    }
}
