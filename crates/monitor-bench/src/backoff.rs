//! The next delay: exponential from 100 ms to 10 s, at the cap and from the first on.
//!
//! Every peer with the jitter it has: the spread differs, the question is the same. That of backon
//! and tokio-retry2 is added after the cap and exceeds it.

use std::hint::black_box;
use std::time::Duration;

use ::backoff::ExponentialBackoffBuilder;
use ::backoff::backoff::Backoff as _;
use backon::{BackoffBuilder, ExponentialBuilder};
use exponential_backoff::Backoff as ExponentialBackoff;
use monitor_backoff::{Base, Cap, ExponentOrigin, Floor, Jitter, JitterKind, Policy, Schedule};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio_retry2::strategy::{ExponentialFactorBackoff, jitter};

use crate::plan::{Plan, Subjects};
use crate::threads::keep;

const BASE: Duration = Duration::from_millis(100);
const MAX: Duration = Duration::from_secs(10);

/// How many delays a sequence has.
const SEQUENCE: u64 = 10;

pub(crate) fn plan(plan: &mut Plan) {
    plan.workload("full jitter, at the cap", |subjects| {
        ours_at_the_cap(subjects, FULL);
        peers_at_the_cap(subjects, true);
    });
    plan.workload("no jitter, at the cap", |subjects| {
        ours_at_the_cap(subjects, Jitter::NONE);
        peers_at_the_cap(subjects, false);
    });
    plan.workload("full jitter, 10 delays with construction", |subjects| {
        ours_in_sequence(subjects, FULL);
        peers_in_sequence(subjects, true);
    });
    plan.workload("no jitter, 10 delays with construction", |subjects| {
        ours_in_sequence(subjects, Jitter::NONE);
        peers_in_sequence(subjects, false);
    });
    plan.workload("decorrelated", |subjects| {
        subjects.thread("monitor-backoff, iterator", || {
            let schedule = Schedule::Decorrelated {
                base: Base::Fixed(BASE),
                factor: 3.0,
            };
            let builder = policy(Jitter::NONE).to_builder().schedule(schedule);
            let policy = builder.build().expect("a valid policy");
            endless(policy.delays(MAX, SmallRng::seed_from_u64(1)))
        });
    });
    plan.workload("floor: a random number", |subjects| {
        subjects.thread("fastrand::Rng", || {
            let mut rng = fastrand::Rng::with_seed(1);
            move |times| (0..times).for_each(|_| keep(rng.u64(..)))
        });
        subjects.thread("fastrand, thread-local", || {
            |times| (0..times).for_each(|_| keep(fastrand::u64(..)))
        });
        subjects.thread("rand::SmallRng", || {
            let mut rng = SmallRng::seed_from_u64(1);
            move |times| (0..times).for_each(|_| keep(rng.next_u64()))
        });
    });
}

const FULL: Jitter = Jitter {
    kind: JitterKind::Full,
    normal_interval: false,
};

fn ours_at_the_cap(subjects: &mut Subjects, jitter: Jitter) {
    subjects.thread("monitor-backoff", || {
        let (policy, mut rng) = (policy(jitter), SmallRng::seed_from_u64(1));
        move |times| {
            for _ in 0..times {
                black_box(policy.delay(black_box(20), MAX, &mut rng));
            }
        }
    });
    subjects.thread("monitor-backoff, iterator", || {
        endless(policy(jitter).delays(MAX, SmallRng::seed_from_u64(1)))
    });
}

fn ours_in_sequence(subjects: &mut Subjects, jitter: Jitter) {
    subjects.thread("monitor-backoff", || {
        let mut rng = SmallRng::seed_from_u64(1);
        move |times| {
            for _ in 0..times.div_ceil(SEQUENCE) {
                let policy = policy(black_box(jitter));
                for failures in 1..=SEQUENCE as u32 {
                    black_box(policy.delay(failures, MAX, &mut rng));
                }
            }
        }
    });
    subjects.thread("monitor-backoff, iterator", || {
        sequences(move || policy(jitter).delays(MAX, SmallRng::seed_from_u64(1)))
    });
}

fn policy(jitter: Jitter) -> Policy {
    Policy::builder()
        .schedule(Schedule::Exponential {
            base: Base::Fixed(black_box(BASE)),
            factor: 2.0,
        })
        .exponent_origin(ExponentOrigin::FailuresMinusOne)
        .floor(Floor::Absolute)
        .cap(Cap::Fixed(MAX))
        .jitter(jitter)
        .build()
        .expect("a valid policy")
}

fn peers_at_the_cap(subjects: &mut Subjects, jittered: bool) {
    subjects.thread("backon", || endless(backon(jittered).build()));
    subjects.thread("backoff", || {
        let mut delays = backoff(jittered).build();
        endless(std::iter::from_fn(move || delays.next_backoff()))
    });
    if jittered {
        subjects.thread("tokio-retry2", || endless(tokio_retry2().map(jitter)));
        subjects.thread("exponential-backoff", || {
            endless(exponential_backoff(0.3).into_iter())
        });
    } else {
        subjects.thread("tokio-retry2", || endless(tokio_retry2()));
        subjects.thread("exponential-backoff", || {
            endless(exponential_backoff(0.0).into_iter())
        });
    }
}

/// One delay after another, long after the cap was reached.
fn endless<T>(mut delays: impl Iterator<Item = T> + Send) -> impl FnMut(u64) + Send {
    delays.by_ref().take(20).for_each(keep);
    move |times| {
        for _ in 0..times {
            black_box(delays.next());
        }
    }
}

fn peers_in_sequence(subjects: &mut Subjects, jittered: bool) {
    subjects.thread("backon", || sequences(move || backon(jittered).build()));
    subjects.thread("backoff", || {
        sequences(move || {
            let mut delays = backoff(jittered).build();
            std::iter::from_fn(move || delays.next_backoff())
        })
    });
    if jittered {
        subjects.thread("tokio-retry2", || sequences(|| tokio_retry2().map(jitter)));
        subjects.thread("exponential-backoff", || {
            sequences(|| exponential_backoff(0.3).into_iter())
        });
    } else {
        subjects.thread("tokio-retry2", || sequences(tokio_retry2));
        subjects.thread("exponential-backoff", || {
            sequences(|| exponential_backoff(0.0).into_iter())
        });
    }
}

/// Ten delays from the first on, again and again: the time is that of one delay.
fn sequences<T, I: Iterator<Item = T>>(make: impl Fn() -> I + Send) -> impl FnMut(u64) + Send {
    move |times| {
        for _ in 0..times.div_ceil(SEQUENCE) {
            make().take(SEQUENCE as usize).for_each(keep);
        }
    }
}

fn backon(jittered: bool) -> ExponentialBuilder {
    let builder = ExponentialBuilder::default()
        .with_min_delay(black_box(BASE))
        .with_max_delay(MAX)
        .with_factor(2.0)
        .without_max_times();
    if jittered {
        builder.with_jitter()
    } else {
        builder
    }
}

fn backoff(jittered: bool) -> ExponentialBackoffBuilder {
    let mut builder = ExponentialBackoffBuilder::new();
    builder
        .with_initial_interval(black_box(BASE))
        .with_max_interval(MAX)
        .with_multiplier(2.0)
        .with_randomization_factor(if jittered { 0.5 } else { 0.0 })
        .with_max_elapsed_time(None);
    builder
}

fn tokio_retry2() -> ExponentialFactorBackoff {
    let base = u64::try_from(BASE.as_millis()).unwrap_or(u64::MAX);
    ExponentialFactorBackoff::from_millis(black_box(base), 2.0).max_delay(MAX)
}

fn exponential_backoff(jitter: f32) -> ExponentialBackoff {
    let mut backoff = ExponentialBackoff::new(u32::MAX, black_box(BASE), MAX);
    backoff.set_jitter(jitter);
    backoff
}
