//! What makes no sense, what never ends, what comes too late, what comes a million times.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{Gauge, schedule, scheduler, secs, spec};
use monitor_operation::Operations;
use monitor_scheduler::{
    Class, Config, Pace, Run, Saturation, ScheduleError, Scheduler, Spec, SpecError,
    TriggerOutcome, Verdict,
};
use tokio::time::sleep;

const QUEUE: Saturation = Saturation::Queue { bound: 100 };

async fn nothing(_run: Run<String>) -> Verdict {
    Verdict::Success
}

fn strings() -> Scheduler<String> {
    Scheduler::new(Config::default(), Operations::new(), Arc::new(()))
}

/// PRB-14: zero, less than nothing, no number, over a year: no such interval comes as far as a
/// schedule. What is no `Duration` fails where it is made into one.
#[test]
fn intervals_that_make_no_sense() {
    for seconds in [-5.0, f64::NAN, f64::INFINITY, 1e30] {
        assert!(Duration::try_from_secs_f64(seconds).is_err());
    }
    for interval in [Duration::ZERO, secs(366 * 86_400), Duration::MAX] {
        let refused = Spec::builder(interval).build();
        assert_eq!(refused, Err(SpecError::IntervalRange { interval }));
    }
}

/// An id may be empty, or a megabyte long: it is a key like any other.
#[tokio::test(start_paused = true)]
async fn ids_of_any_length() {
    let scheduler = strings();
    let huge = "x".repeat(1 << 20);
    for id in [String::new(), huge.clone(), "\0\n\u{202e}".to_owned()] {
        assert!(
            scheduler
                .schedule(id, spec(secs(1)), nothing)
                .unwrap()
                .is_created()
        );
    }
    sleep(secs(3)).await;
    let status = scheduler.status();
    assert_eq!(status.states.len(), 3);
    assert!(status.states.iter().all(|state| state.successes_total >= 2));
    assert!(
        scheduler
            .explain(&String::new())
            .unwrap()
            .to_string()
            .starts_with(" (normal): ")
    );
    assert!(scheduler.cancel(&huge).is_some() && scheduler.cancel(&huge).is_none());
}

/// PRB-14, PRB-15: the same key again is an update: one timer, one run, the later handler. And a
/// handler that looks at nothing says so: nothing it says makes its key healthy.
#[tokio::test(start_paused = true)]
async fn duplicates_are_updates() {
    let scheduler = strings();
    let ran = Arc::new(AtomicUsize::new(0));
    for turn in 0..1000 {
        let ran = Arc::clone(&ran);
        let handler = move |_run: Run<String>| {
            ran.fetch_add(usize::from(turn == 999), Ordering::SeqCst);
            async { Verdict::Ignore }
        };
        let placed = scheduler
            .schedule("a".to_owned(), spec(secs(10)), handler)
            .unwrap();
        assert_eq!(placed.is_created(), turn == 0);
    }
    sleep(secs(25)).await;
    assert_eq!(ran.load(Ordering::SeqCst), 2, "at 10 and 20 s");
    let status = scheduler.status();
    assert_eq!(
        (status.states.len(), status.states[0].successes_total),
        (1, 0)
    );
    assert_eq!(status.states[0].last_success_at, None);
}

/// A hundred thousand adds and removes leave nothing behind, and the numbers are used again.
#[tokio::test(start_paused = true)]
async fn adds_and_removes_leave_nothing() {
    let scheduler = strings();
    for turn in 0..100_000 {
        let key = (turn % 500).to_string();
        let spec = Spec::builder(secs(60))
            .class(Class::ALL[turn % 3])
            .build()
            .unwrap();
        scheduler.schedule(key.clone(), spec, nothing).unwrap();
        if turn % 500 == 499 {
            assert_eq!(scheduler.clear(), 500);
        }
    }
    assert!(scheduler.status().states.is_empty());
    scheduler
        .schedule("a".to_owned(), spec(secs(60)), nothing)
        .unwrap();
    assert_eq!(
        scheduler.page(0).next,
        None,
        "within one page: 500 places, not 100 000"
    );
}

/// PRB-19: pages show each key once, in a thousand at most, and what was seen later has the higher
/// number.
#[tokio::test(start_paused = true)]
async fn a_large_schedule_is_shown_in_pages() {
    let scheduler = strings();
    assert!(scheduler.reserve(2500) && !scheduler.reserve(usize::MAX));
    for key in 0..2500 {
        scheduler
            .schedule(key.to_string(), spec(secs(3600)), nothing)
            .unwrap();
    }
    let (mut from, mut keys, mut sequence, mut pages) = (Some(0), Vec::new(), 0, 0);
    while let Some(at) = from {
        let page = scheduler.page(at);
        assert!(page.states.len() <= 1024);
        for state in page.states {
            assert!(sequence <= state.sequence);
            sequence = state.sequence;
            keys.push(state.service);
        }
        (from, pages) = (page.next, pages + 1);
    }
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((keys.len(), pages), (2500, 3));
    let whole = scheduler.status();
    assert_eq!((whole.states.len(), whole.scheduled.len()), (2500, 2500));
    assert!(whole.sequence < whole.states[0].sequence);
    assert_eq!(whole.ongoing.len(), whole.current_concurrency);
}

/// Work that a handler spawns and forgets is its own affair: the key is free, the schedule goes on.
#[tokio::test(start_paused = true)]
async fn what_is_spawned_and_forgotten_holds_up_nobody() {
    let (scheduler, _ear) = scheduler(1, QUEUE);
    let ran = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ran);
    let handler = move |_run: Run<&'static str>| {
        count.fetch_add(1, Ordering::SeqCst);
        drop(tokio::spawn(std::future::pending::<()>()));
        async { Verdict::Success }
    };
    scheduler.schedule("a", spec(secs(1)), handler).unwrap();
    sleep(Duration::from_millis(9500)).await;
    assert_eq!(ran.load(Ordering::SeqCst), 10);
    assert_eq!(scheduler.status().current_concurrency, 0);
}

/// After a shutdown each call says so, or finds nothing; none panics, none waits.
#[tokio::test(start_paused = true)]
async fn calls_after_a_shutdown() {
    let (scheduler, _ear) = scheduler(1, QUEUE);
    let gauge = Gauge::default();
    schedule(
        &scheduler,
        &gauge,
        "a",
        spec(secs(1)),
        secs(0),
        Verdict::Success,
    );
    scheduler.shutdown(secs(1)).await;
    let handler = |_run: Run<&'static str>| async { Verdict::Success };
    let refused = scheduler.schedule("b", spec(secs(1)), handler);
    assert_eq!(refused.unwrap_err(), ScheduleError::ShutDown);
    assert_eq!(scheduler.trigger(&"a"), TriggerOutcome::ShutDown);
    assert!(scheduler.cancel(&"a").is_none() && scheduler.pause(&"a").is_none());
    assert!(!scheduler.resume(&"a") && !scheduler.reset_backoff(&"a"));
    assert!(!scheduler.cancel_and_wait(&"a").await);
    assert!(scheduler.explain(&"a").is_none() && scheduler.probe_status(&"a").is_none());
    scheduler.set_pace(Class::Normal, Pace::Suspended);
    scheduler.set_max_concurrent(std::num::NonZeroUsize::MAX);
    assert_eq!((scheduler.clear(), scheduler.status().states.len()), (0, 0));
    assert_eq!(scheduler.shutdown(secs(1)).await.finished, 0);
}
