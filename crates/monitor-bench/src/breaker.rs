//! A call through a breaker that is closed, and one that is open, on one thread and on two.

mod peers;

use std::fmt;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use monitor_breaker::{Breaker, Builder, CallError, Caller, Clock, Config, TickClock};

use crate::plan::{Plan, Subjects};
use crate::threads::keep;

/// How long a breaker stays open: longer than any measurement.
const OPEN_FOR: Duration = Duration::from_secs(3600);

/// How many failures in a row open one that counts those.
const CONSECUTIVE: u32 = 5;

/// How many calls a window by count has.
const WINDOW: u32 = 100;

/// How long a window by time is.
const SPAN: Duration = Duration::from_secs(1);

/// What share of the calls in a window opens.
const RATE: f64 = 0.5;

/// A breaker as its user calls it. A clone calls the same breaker.
///
/// All are inlined here, as they would be where they are called once.
trait Calls: Clone + Send + 'static {
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

    fn measure(self, subjects: &mut Subjects, threads: usize, name: &str, breaker: impl Calls) {
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
                ours(subjects, threads, case, |config| {
                    config.failure_threshold(CONSECUTIVE)
                });
                peers::consecutive(subjects, threads, case);
                if let Case::Closed = case {
                    case.measure(subjects, threads, "floor: no breaker", NoBreaker);
                }
                subjects.threads(threads, "floor: one Instant::now", || {
                    |times| (0..times).for_each(|_| keep(Instant::now()))
                });
            });
        }
        let workload = format!("closed, success, window of 1 s, {threads}T");
        plan.workload(workload, move |subjects| {
            ours(subjects, threads, Case::Closed, |config| {
                config.time_window(SPAN).failure_rate(RATE)
            });
            peers::time_windows(subjects, threads);
        });
        let workload = format!("closed, success, window of 100 calls, {threads}T");
        plan.workload(workload, move |subjects| {
            ours(subjects, threads, Case::Closed, by_count);
            peers::count_windows(subjects, threads);
        });
        plan.workload(format!("floor, {threads}T"), move |subjects| {
            floors(subjects, threads);
        });
    }
    let name = "failures to open after 10 000 successes, window of 100 calls, 50 %";
    plan.workload(name, |subjects| {
        let ours = Caller::with_clock(breaker(by_count), COARSE.clone());
        subjects.fact("monitor-breaker", "failures", failures_to_open(ours));
        peers::failures_to_open(subjects);
    });
}

/// A clock that ticks each millisecond: one load to read.
static COARSE: LazyLock<TickClock> = LazyLock::new(|| {
    let clock = TickClock::start(Duration::from_millis(1));
    clock.expect("a thread can be started")
});

/// Ours with either clock.
fn ours(subjects: &mut Subjects, threads: usize, case: Case, settle: fn(Builder) -> Builder) {
    let coarse = Caller::with_clock(breaker(settle), COARSE.clone());
    case.measure(subjects, threads, "monitor-breaker, coarse clock", coarse);
    let exact = Caller::new(breaker(settle));
    case.measure(subjects, threads, "monitor-breaker, Instant", exact);
}

fn breaker(settle: fn(Builder) -> Builder) -> Arc<Breaker> {
    let config = settle(Config::builder().open_duration(OPEN_FOR)).build();
    Arc::new(Breaker::new(config.expect("a valid configuration")))
}

fn by_count(config: Builder) -> Builder {
    config
        .count_window(WINDOW)
        .failure_rate(RATE)
        .minimum_calls(WINDOW)
}

impl<C: Clock + Clone + Send + 'static> Calls for Caller<C> {
    #[inline(always)]
    fn call(&mut self, well: bool) -> bool {
        let result = Self::call(self, || outcome(well));
        !matches!(result, Err(CallError::Rejected(_)))
    }
}

/// The call alone.
#[derive(Clone)]
struct NoBreaker;

impl Calls for NoBreaker {
    #[inline(always)]
    fn call(&mut self, well: bool) -> bool {
        keep(outcome(well).is_ok());
        true
    }
}

/// The error of a failed call.
#[derive(Debug)]
struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed")
    }
}

impl std::error::Error for Failed {}

/// The call itself.
#[inline(always)]
fn outcome(well: bool) -> Result<u32, Failed> {
    if black_box(well) { Ok(1) } else { Err(Failed) }
}

/// How many failures it takes to open a breaker that has seen many successes; at most as many.
fn failures_to_open(mut breaker: impl Calls) -> f64 {
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
