//! A call through a breaker: ours, recloser's and failsafe's, on one thread and on two.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use failsafe::CircuitBreaker;
use monitor_breaker::{Breaker, Config};
use recloser::Recloser;

use crate::harness::{Harness, keep};

const OPEN_FOR: Duration = Duration::from_secs(3600);

pub(crate) fn measure(harness: &mut Harness) {
    for threads in [1, 2] {
        let plural = if threads == 1 { "thread" } else { "threads" };
        closed(
            harness,
            threads,
            &format!("closed, success, {threads} {plural}"),
        );
        open(
            harness,
            threads,
            &format!("open, refused, {threads} {plural}"),
        );
        floors(harness, threads, &format!("floor, {threads} {plural}"));
    }
}

/// Every call is admitted and succeeds.
fn closed(harness: &mut Harness, threads: usize, workload: &str) {
    let breaker = Arc::new(ours());
    harness.cell_on(threads, workload, "monitor-breaker", || {
        let (breaker, now) = (Arc::clone(&breaker), Duration::from_secs(1));
        move |times| (0..times).for_each(|_| succeed(&breaker, black_box(now)))
    });
    let (breaker, origin) = (Arc::new(ours()), Instant::now());
    harness.cell_on(
        threads,
        workload,
        "monitor-breaker, reading the clock",
        || {
            let breaker = Arc::clone(&breaker);
            move |times| (0..times).for_each(|_| succeed(&breaker, origin.elapsed()))
        },
    );
    let breaker = Arc::new(recloser());
    harness.cell_on(threads, workload, "recloser 1.4", || {
        let breaker = Arc::clone(&breaker);
        move |times| {
            for _ in 0..times {
                let result = breaker.call(|| black_box(Ok::<u32, u32>(1)));
                assert!(black_box(result).is_ok());
            }
        }
    });
    let breaker = Arc::new(failsafe());
    harness.cell_on(threads, workload, "failsafe 1.3", || {
        let breaker = Arc::clone(&breaker);
        move |times| {
            for _ in 0..times {
                let result = breaker.call(|| black_box(Ok::<u32, u32>(1)));
                assert!(black_box(result).is_ok());
            }
        }
    });
}

/// Every call is refused.
fn open(harness: &mut Harness, threads: usize, workload: &str) {
    let breaker = Arc::new(ours());
    assert!(breaker.trip(Duration::ZERO), "it was closed");
    harness.cell_on(threads, workload, "monitor-breaker", || {
        let (breaker, now) = (Arc::clone(&breaker), Duration::from_secs(1));
        move |times| (0..times).for_each(|_| refuse(&breaker, black_box(now)))
    });
    let (breaker, origin) = (Arc::new(ours()), Instant::now());
    assert!(breaker.trip(Duration::ZERO), "it was closed");
    harness.cell_on(
        threads,
        workload,
        "monitor-breaker, reading the clock",
        || {
            let breaker = Arc::clone(&breaker);
            move |times| (0..times).for_each(|_| refuse(&breaker, origin.elapsed()))
        },
    );
    let breaker = Arc::new(recloser());
    (0..1000).for_each(|_| keep(breaker.call(|| Err::<u32, u32>(1))));
    harness.cell_on(threads, workload, "recloser 1.4", || {
        let breaker = Arc::clone(&breaker);
        move |times| {
            for _ in 0..times {
                let result = breaker.call(|| black_box(Ok::<u32, u32>(1)));
                assert!(black_box(result).is_err());
            }
        }
    });
    let breaker = Arc::new(failsafe());
    (0..1000).for_each(|_| keep(breaker.call(|| Err::<u32, u32>(1))));
    harness.cell_on(threads, workload, "failsafe 1.3", || {
        let breaker = Arc::clone(&breaker);
        move |times| {
            for _ in 0..times {
                let result = breaker.call(|| black_box(Ok::<u32, u32>(1)));
                assert!(black_box(result).is_err());
            }
        }
    });
}

fn floors(harness: &mut Harness, threads: usize, workload: &str) {
    let shared = Arc::new(AtomicU64::new(0));
    harness.cell_on(threads, workload, "one relaxed load", || {
        let shared = Arc::clone(&shared);
        move |times| (0..times).for_each(|_| keep(shared.load(Ordering::Relaxed)))
    });
    harness.cell_on(
        threads,
        workload,
        "one fetch_add on a shared counter",
        || {
            let shared = Arc::clone(&shared);
            move |times| (0..times).for_each(|_| keep(shared.fetch_add(1, Ordering::Relaxed)))
        },
    );
    harness.cell_on(threads, workload, "one Instant::now", || {
        |times| (0..times).for_each(|_| keep(Instant::now()))
    });
}

fn ours() -> Breaker {
    let config = Config::builder().open_duration(OPEN_FOR).build();
    Breaker::new(config.expect("a valid configuration"))
}

fn succeed(breaker: &Breaker, now: Duration) {
    let permit = breaker.try_acquire(now).expect("it is closed");
    black_box(());
    permit.success(now);
}

fn refuse(breaker: &Breaker, now: Duration) {
    assert!(black_box(breaker.try_acquire(now)).is_err());
}

/// A ring of 100 calls that opens at half of them.
fn recloser() -> Recloser {
    Recloser::custom()
        .error_rate(0.5)
        .closed_len(100)
        .open_wait(OPEN_FOR)
        .build()
}

/// Opens at five failures in a row, like ours.
fn failsafe() -> impl CircuitBreaker + Send + Sync {
    let policy =
        failsafe::failure_policy::consecutive_failures(5, failsafe::backoff::constant(OPEN_FOR));
    failsafe::Config::new().failure_policy(policy).build()
}
