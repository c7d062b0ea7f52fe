//! The next delay: ours and backon's, with the generator of random numbers as floor.

use std::hint::black_box;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use monitor_backoff::{Base, Cap, Floor, Jitter, Policy, Schedule};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::harness::{Harness, keep};

const BASE: Duration = Duration::from_millis(100);
const MAX: Duration = Duration::from_secs(10);

pub(crate) fn measure(harness: &mut Harness) {
    for (jitter, name) in [(true, "with jitter"), (false, "without jitter")] {
        at_the_cap(harness, &format!("exponential, {name}, at the cap"), jitter);
        sequence(
            harness,
            &format!("exponential, {name}, 8 delays from the first"),
            jitter,
        );
    }
    harness.cell("floor", "one random number", || {
        let mut rng = SmallRng::seed_from_u64(1);
        move |times| (0..times).for_each(|_| keep(rng.next_u64()))
    });
}

/// One delay after another, long after the cap was reached.
fn at_the_cap(harness: &mut Harness, workload: &str, jitter: bool) {
    harness.cell(workload, "monitor-backoff", || {
        let (policy, mut rng) = (policy(jitter), SmallRng::seed_from_u64(1));
        move |times| {
            for _ in 0..times {
                black_box(policy.delay(black_box(20), MAX, &mut rng));
            }
        }
    });
    harness.cell(workload, "backon 1.6", || {
        let mut delays = peer(jitter).build();
        delays.by_ref().take(20).for_each(keep);
        move |times| {
            for _ in 0..times {
                black_box(delays.next());
            }
        }
    });
}

/// From the first failure on: the time is that of one delay.
fn sequence(harness: &mut Harness, workload: &str, jitter: bool) {
    harness.cell(workload, "monitor-backoff", || {
        let (policy, mut rng) = (policy(jitter), SmallRng::seed_from_u64(1));
        move |times| {
            for time in 0..times {
                let failures = (time % 8) as u32 + 1;
                black_box(policy.delay(black_box(failures), MAX, &mut rng));
            }
        }
    });
    harness.cell(workload, "backon 1.6", || {
        let builder = peer(jitter);
        move |times| {
            for _ in 0..times.div_ceil(8) {
                black_box(&builder).build().take(8).for_each(keep);
            }
        }
    });
}

fn policy(jitter: bool) -> Policy {
    let jitter = if jitter {
        Jitter::symmetric(0.2)
    } else {
        Jitter::NONE
    };
    Policy::builder()
        .schedule(Schedule::Exponential {
            base: Base::Fixed(BASE),
            factor: 2.0,
        })
        .floor(Floor::Absolute)
        .cap(Cap::Fixed(MAX))
        .jitter(jitter)
        .build()
        .expect("a valid policy")
}

fn peer(jitter: bool) -> ExponentialBuilder {
    let builder = ExponentialBuilder::default()
        .with_min_delay(BASE)
        .with_max_delay(MAX)
        .with_factor(2.0)
        .without_max_times();
    if jitter {
        builder.with_jitter()
    } else {
        builder
    }
}
