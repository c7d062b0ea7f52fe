//! A call through a breaker that is closed, and one that is open, on one thread and on two.

mod peers;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use monitor_breaker::{Breaker, Config};

use crate::clock;
use crate::plan::{Plan, Subjects};
use crate::threads::keep;

/// How long a breaker stays open: longer than any measurement.
const OPEN_FOR: Duration = Duration::from_secs(3600);

/// How many failures in a row open one that counts those.
const CONSECUTIVE: u32 = 5;

/// A breaker as its user calls it. A clone calls the same breaker.
trait Caller: Clone + Send + 'static {
    /// Makes one call, which ends well or not. Says whether it was let through.
    fn call(&mut self, well: bool) -> bool;
}

/// What is done with a breaker.
#[derive(Clone, Copy)]
enum Case {
    /// Every call is admitted and succeeds.
    Closed,
    /// Every call is refused.
    Open,
}

impl Case {
    const ALL: [(Self, &'static str); 2] = [
        (Self::Closed, "closed, success"),
        (Self::Open, "open, rejected"),
    ];

    fn measure(self, subjects: &mut Subjects, threads: usize, name: &str, breaker: impl Caller) {
        let mut breaker = breaker;
        let admitted = matches!(self, Self::Closed);
        if !admitted {
            while breaker.call(false) {}
        }
        subjects.threads(threads, name, || {
            let mut breaker = breaker.clone();
            move |times| (0..times).for_each(|_| assert!(breaker.call(true) == admitted))
        });
    }
}

pub(crate) fn plan(plan: &mut Plan) {
    for threads in [1, 2] {
        for (case, name) in Case::ALL {
            let workload = format!("{name}, consecutive failures, {threads}T");
            plan.workload(workload, move |subjects| {
                clock::start();
                ours(subjects, threads, case, &consecutive);
                peers::consecutive(subjects, threads, case);
                subjects.threads(threads, "floor: one Instant::now", || {
                    |times| (0..times).for_each(|_| keep(Instant::now()))
                });
            });
        }
        plan.workload(
            format!("closed, success, window of 1 s, {threads}T"),
            move |subjects| {
                clock::start();
                peers::windows(subjects, threads, Case::Closed);
            },
        );
        plan.workload(format!("floor, {threads}T"), move |subjects| {
            floors(subjects, threads);
        });
    }
    let name = "failures to open after 10 000 successes, window of 100 calls, 50 %";
    plan.workload(name, peers::failures_to_open);
}

/// Ours with either clock.
fn ours(subjects: &mut Subjects, threads: usize, case: Case, make: &dyn Fn() -> Breaker) {
    let coarse = Ours(Arc::new(make()), clock::now);
    case.measure(subjects, threads, "monitor-breaker, coarse clock", coarse);
    let origin = Instant::now();
    let exact = Ours(Arc::new(make()), move || origin.elapsed());
    case.measure(subjects, threads, "monitor-breaker, Instant", exact);
}

fn consecutive() -> Breaker {
    let config = Config::builder()
        .failure_threshold(CONSECUTIVE)
        .open_duration(OPEN_FOR)
        .build();
    Breaker::new(config.expect("a valid configuration"))
}

/// Ours, with the clock that its user reads.
#[derive(Clone)]
struct Ours<C>(Arc<Breaker>, C);

impl<C: Fn() -> Duration + Clone + Send + 'static> Caller for Ours<C> {
    #[inline]
    fn call(&mut self, well: bool) -> bool {
        let Ok(permit) = self.0.try_acquire((self.1)()) else {
            return false;
        };
        black_box(());
        if well {
            permit.success((self.1)());
        } else {
            permit.failure((self.1)());
        }
        true
    }
}

/// How many failures it takes to open a breaker that has seen many successes; at most as many.
fn failures_to_open(mut breaker: impl Caller) -> f64 {
    const CALLS: u32 = 10_000;
    for _ in 0..CALLS {
        assert!(breaker.call(true));
    }
    let failures = (0..=CALLS).find(|_| !breaker.call(false));
    f64::from(failures.unwrap_or(CALLS))
}

fn floors(subjects: &mut Subjects, threads: usize) {
    let shared = Arc::new(AtomicU64::new(0));
    subjects.threads(threads, "one relaxed load", || {
        let shared = Arc::clone(&shared);
        move |times| (0..times).for_each(|_| keep(shared.load(Ordering::Relaxed)))
    });
    subjects.threads(threads, "one fetch_add on a shared word", || {
        let shared = Arc::clone(&shared);
        move |times| (0..times).for_each(|_| keep(shared.fetch_add(1, Ordering::Relaxed)))
    });
}
