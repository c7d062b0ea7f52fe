//! A day on the kernel's clock.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    time::Duration,
};

use monitor_backoff::{Jitter, Policy, Verdict};

use super::{
    super::{Core, Effect, End, RunId, Tick},
    Only,
};
use crate::{Class, Config, Phase, Saturation, Spec};

const KEYS: u32 = 100;
const DAY_MS: u64 = 86_400_000;

/// PRB-42, S1, L1, PRB-25: a hundred keys for a day, three permits, looks of up to eight seconds:
/// no key ever runs twice, none is lost, and every one of its 1440 due times is on record.
#[test]
fn a_day_overlaps_nothing_and_loses_nothing() {
    let config = Config {
        max_concurrent: std::num::NonZeroUsize::MIN.saturating_add(2),
        saturation: Saturation::Shed { bound: 50 },
        max_wait: Some(Duration::from_secs(40)),
        ..Config::default()
    };
    let mut core = Core::<Only<u32>>::new(&config);
    for key in 0..KEYS {
        let policy = Policy::hardened()
            .to_builder()
            .jitter(Jitter::symmetric(0.2));
        let spec = Spec::builder(Duration::from_secs(60))
            .phase(Phase::of(&key.to_le_bytes()))
            .backoff(policy.build().unwrap())
            .class(Class::ALL[key as usize % 3]);
        let placed = core.schedule(&spec.build().unwrap(), Only::of(key), false, Tick(0));
        assert_eq!(placed, Ok(true));
    }
    let mut ends: BinaryHeap<Reverse<(u64, RunId, u32)>> = BinaryHeap::new();
    let mut running = BTreeSet::new();
    let mut told = vec![0_u64; KEYS as usize];
    let mut starts = 0_u64;
    while let Some(timer) = core.next() {
        let end = ends.peek().map_or(u64::MAX, |Reverse((end, ..))| *end);
        let now = Tick(timer.0.min(end));
        if now.0 >= DAY_MS {
            break;
        }
        if end == now.0
            && let Some(Reverse((_, run, key))) = ends.pop()
        {
            assert!(running.remove(&key));
            core.ended(run, End::Returned(Verdict::Success.into()), now);
        } else {
            core.advance(now);
        }
        core.journal.clear();
        for effect in core.take_effects() {
            match effect {
                Effect::Start(start) => {
                    let (run, key) = (start.run, *start.handler.0);
                    assert!(core.confirm(run, now).is_some());
                    assert!(running.insert(key), "key {key} runs twice");
                    assert!(running.len() <= 3);
                    starts += 1;
                    told[key as usize] += 1;
                    let takes_ms = run.serial.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 51;
                    ends.push(Reverse((now.0 + takes_ms, run, key)));
                }
                Effect::Missed(missed) => told[*missed.key as usize] += u64::from(missed.slots),
                _ => {}
            }
        }
    }
    core.check_all();
    let status = core.status(Tick(DAY_MS));
    assert_eq!(status.lost, 0);
    assert!(starts > u64::from(KEYS) * 400, "{starts} starts");
    assert!(status.missed_total > 0, "there was too little room for all");
    for (key, told) in told.into_iter().enumerate() {
        // The last due time may still be in a run, in the queue, or before its jittered start.
        assert!(
            (1438..=1441).contains(&told),
            "key {key}: {told} of 1440 due times"
        );
    }
}
