//! Periodic tasks, and what cannot happen to them, on a virtual clock.

#![allow(clippy::unwrap_used, reason = "tests panic")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use monitor_backoff::Policy;
use monitor_supervisor::{
    BoxError, FailureKind, Health, Outcome, SpawnError, Supervisor, TaskSpec, Tick, What,
};
use support::{Log, secs};
use tokio::time::{Instant, sleep};

fn every(name: &str, interval: u64) -> TaskSpec {
    let spec = TaskSpec::builder(name).interval(secs(interval));
    spec.build().unwrap()
}

/// STB-1, STB-2, STB-18: a check that fails, panics or never returns, at its first tick and later,
/// leaves the process, its own task and its neighbours alone.
#[tokio::test(start_paused = true)]
async fn nothing_a_check_does_ends_the_process() {
    let supervisor = Supervisor::new();
    let spawn = |name: &str, outcome: fn(Tick) -> Result<(), BoxError>| {
        supervisor.spawn(every(name, 300), move |tick| async move { outcome(tick) })
    };
    spawn("fails", |_| Err("no database".into())).unwrap();
    spawn("panics", |_| panic!("at the disco")).unwrap();
    spawn("is well", |_| Ok(())).unwrap();
    supervisor
        .spawn(every("hangs", 300), |_| std::future::pending::<()>())
        .unwrap();
    // A panic in the function itself, before there is a future.
    supervisor
        .spawn(every("panics early", 300), |tick| {
            assert!(tick.number > 1_000_000, "too early");
            std::future::ready(())
        })
        .unwrap();

    sleep(secs(3_000 + 10)).await;
    let status = supervisor.status();
    let seen: Vec<_> = status
        .iter()
        .map(|task| {
            (
                &*task.name,
                task.ticks,
                task.last.clone().unwrap().to_string(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("fails", 11, "error: no database".to_owned()),
            ("hangs", 11, "timeout".to_owned()),
            ("is well", 11, "healthy".to_owned()),
            ("panics", 11, "panic: at the disco".to_owned()),
            ("panics early", 11, "panic: too early".to_owned()),
        ]
    );
    assert_eq!(supervisor.live_tasks(), 5);
}

/// STB-1: what a failure at the start means is the caller's to say: required, or not waited for.
#[tokio::test(start_paused = true)]
async fn a_dependency_that_is_down_at_the_start() {
    let supervisor = Supervisor::new();
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let dependency = supervisor
        .spawn(every("database", 300), move |_| {
            let is_up = is_up.load(SeqCst);
            async move { Health::of((!is_up).then_some("database")) }
        })
        .unwrap();
    let first = dependency.first().await.unwrap();
    assert_eq!(
        first.failure(),
        Some(FailureKind::Unhealthy),
        "required: do not start"
    );
    up.store(true, SeqCst);
    sleep(secs(301)).await;
    assert!(
        dependency.status().is_healthy(),
        "in the background: it recovers by itself"
    );
    assert_eq!(
        dependency.first().await.unwrap(),
        first,
        "the first stays the first"
    );

    let never = every("never", 300);
    let never = supervisor
        .spawn(never, |_| std::future::pending::<()>())
        .unwrap();
    never.stop();
    assert_eq!(never.first().await, None);
}

/// STB-4, STB-19, ROB-79: after a stop there is no task left and nothing ticks.
#[tokio::test(start_paused = true)]
async fn inv_supervisor_5_nothing_is_left_after_a_stop() {
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let (supervisor, ticks) = (Supervisor::new(), Log::default());
    let before = alive();
    for (name, hangs) in [("a", false), ("b", false), ("in flight", true)] {
        let ticks = ticks.clone();
        supervisor
            .spawn(every(name, 5), move |_| {
                ticks.push(name);
                async move {
                    if hangs {
                        std::future::pending::<()>().await;
                    }
                }
            })
            .unwrap();
    }
    sleep(secs(12)).await;
    assert_eq!(supervisor.live_tasks(), 3);
    let begun = Instant::now();
    assert!(supervisor.stop(secs(30)).await.is_empty());
    assert_eq!(
        begun.elapsed(),
        Duration::ZERO,
        "what is in flight is dropped"
    );
    assert_eq!((supervisor.live_tasks(), alive()), (0, before));
    assert!(supervisor.status().is_empty());
    let seen = ticks.entries().len();
    sleep(secs(600)).await;
    assert_eq!(ticks.entries().len(), seen);

    let late = supervisor.spawn(every("late", 5), |_| async {});
    let name = "late".to_owned();
    assert_eq!(late.unwrap_err(), SpawnError::Stopped { name });
}

/// STB-2, STB-4: tasks that are started while everything is stopped are refused or stopped too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv_supervisor_5_starting_against_stopping() {
    for _ in 0..50 {
        let supervisor = Supervisor::new();
        let starts = (0..4).map(|number| {
            let supervisor = supervisor.clone();
            tokio::task::spawn_blocking(move || {
                let names = (0..20).map(|at| format!("{number} {at}"));
                let started = names.filter(|name| {
                    let task = supervisor.spawn(every(name, 1), |_| std::future::pending::<()>());
                    task.is_ok()
                });
                started.count()
            })
        });
        let starts: Vec<_> = starts.collect();
        tokio::task::yield_now().await;
        assert!(supervisor.stop(secs(60)).await.is_empty());
        for start in starts {
            assert!(start.await.unwrap() <= 20);
        }
        assert_eq!((supervisor.live_tasks(), supervisor.status().len()), (0, 0));
    }
}

/// STB-4: one task is stopped, its name is free, the others go on.
#[tokio::test(start_paused = true)]
async fn one_task_is_stopped() {
    let supervisor = Supervisor::new();
    let one = supervisor.spawn(every("one", 5), |_| async {}).unwrap();
    supervisor.spawn(every("two", 5), |_| async {}).unwrap();
    let again = supervisor.spawn(every("one", 5), |_| async {});
    assert_eq!(
        again.unwrap_err().to_string(),
        "task one is running already: give each task its own name"
    );
    one.stop();
    sleep(secs(1)).await;
    assert_eq!(supervisor.live_tasks(), 1);
    assert!(supervisor.spawn(every("one", 5), |_| async {}).is_ok());
}

/// STB-15: a check that hangs is a timeout at its fifth second; the others are not kept waiting.
#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_ends_by_its_timeout() {
    let supervisor = Supervisor::new();
    let hangs = supervisor.spawn(every("hangs", 60), |_| std::future::pending::<()>());
    let quick = supervisor.spawn(every("quick", 60), |_| async {}).unwrap();
    let hangs = hangs.unwrap();
    sleep(Duration::from_millis(4_999)).await;
    assert_eq!(
        (hangs.status().last, hangs.status().is_running),
        (None, true)
    );
    assert!(quick.status().is_healthy());
    sleep(Duration::from_millis(2)).await;
    let status = hangs.status();
    assert_eq!(
        (status.last, status.is_running),
        (Some(Outcome::TimedOut), false)
    );
    assert_eq!(status.last_took, secs(5));
    sleep(secs(60)).await;
    assert_eq!(hangs.status().counts.timeout, 2, "and it is asked again");
}

/// STB-21: a check that fails in every way, as often as it may, takes no time from requests, and
/// is not asked more often for failing.
#[tokio::test(start_paused = true)]
async fn requests_do_not_wait_for_failing_checks() {
    let supervisor = Supervisor::new();
    let spec = TaskSpec::builder("fails")
        .interval(secs(1))
        .backoff(Policy::jobs_claim());
    let task = supervisor
        .spawn(spec.build().unwrap(), |tick| async move {
            match tick.number % 3 {
                0 => Err::<(), _>("broken"),
                1 => panic!("worse"),
                _ => std::future::pending().await,
            }
        })
        .unwrap();
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    while begun.elapsed() < secs(600) {
        let request = Instant::now();
        sleep(Duration::from_millis(10)).await;
        slowest = slowest.max(request.elapsed());
    }
    assert_eq!(slowest, Duration::from_millis(10));
    let status = task.status();
    assert!(status.ticks <= 600, "{} ticks in 600 s", status.ticks);
    assert_eq!(status.counts.healthy, 0);
}

/// STB-1, STB-19: a check that blocks its thread is shown as stuck, begins no second tick, and is
/// named when it does not stop. Everything else goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_check_that_blocks_its_thread_is_named() {
    let supervisor = Supervisor::new();
    let mut events = supervisor.subscribe();
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let (blocked, calls) = (Arc::new(std::sync::Mutex::new(blocked)), Log::default());
    let spec = TaskSpec::builder("blocks").interval(secs(1));
    let spec = spec.timeout(Duration::from_millis(1)).build().unwrap();
    let task = supervisor
        .spawn(spec, {
            let calls = calls.clone();
            move |tick| {
                calls.push(tick.number);
                let blocked = Arc::clone(&blocked);
                async move { blocked.lock().unwrap().recv().unwrap_or_default() }
            }
        })
        .unwrap();
    assert_eq!(task.first().await, Some(Outcome::TimedOut));
    // A tick whose time is over before a thread was free for it is dropped, and blocks none.
    let stuck = loop {
        let event = events.recv().await.unwrap();
        if event.what == What::Stuck {
            break event;
        }
    };
    let number = stuck.tick;
    assert_eq!(
        stuck.to_string(),
        format!("blocks, tick {number}: stuck: it timed out and does not end")
    );
    let status = task.status();
    assert!(status.is_stuck && status.is_running);
    assert_eq!((status.ticks, calls.entries()), (number, vec![number]));
    let left = supervisor.stop(Duration::from_millis(10)).await;
    assert_eq!(
        left.iter().map(|name| &**name).collect::<Vec<_>>(),
        ["blocks"]
    );
    drop(release);
    assert!(supervisor.stop(secs(60)).await.is_empty());
}

/// STB-1: a check that blocks the only thread of its runtime holds up the loop that would time it
/// out, too. It is told and shown as stuck all the same, and goes on when it ends.
#[test]
fn a_check_that_blocks_every_thread_is_named() {
    let supervisor = Supervisor::new();
    let mut events = supervisor.subscribe();
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Arc::new(std::sync::Mutex::new(blocked));
    let spec = TaskSpec::builder("blocks").interval(secs(1));
    let spec = spec.timeout(Duration::from_millis(1)).build().unwrap();
    let (tell, started) = std::sync::mpsc::channel();
    let runtime = {
        let supervisor = supervisor.clone();
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_time().build().unwrap().block_on(async move {
                let check = move |_| {
                    let blocked = Arc::clone(&blocked);
                    // Fails from then on, as is meant, when there is nobody to release it.
                    async move { blocked.lock().unwrap().recv().unwrap_or_default() }
                };
                let task = supervisor.spawn(spec, check).unwrap();
                tell.send(task.clone()).unwrap();
                task.first().await
            })
        })
    };
    let task = started.recv().unwrap();
    let event = events.blocking_recv().unwrap();
    assert_eq!(
        event.to_string(),
        "blocks, tick 1: stuck: it timed out and does not end"
    );
    let status = task.status();
    assert!(status.is_stuck && status.is_running && status.last.is_none());
    drop(release);
    let ended = runtime.join().unwrap();
    assert_eq!(ended, Some(Outcome::Healthy));
    assert!(!task.status().is_stuck);
}

/// A future, and a panic, that panic again when they are dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

/// STB-1: what panics as it is dropped takes nothing down.
#[tokio::test(start_paused = true)]
async fn a_panic_in_a_destructor_is_contained() {
    let supervisor = Supervisor::new();
    let hangs = supervisor
        .spawn(every("hangs", 10), |_| async {
            let _bomb = Bomb;
            std::future::pending::<()>().await;
        })
        .unwrap();
    let payload = supervisor
        .spawn(every("payload", 10), |tick| async move {
            if tick.number == 1 {
                std::panic::panic_any(Bomb);
            }
        })
        .unwrap();
    sleep(secs(17)).await;
    assert_eq!(
        (hangs.status().ticks, hangs.status().counts.timeout),
        (2, 2)
    );
    assert_eq!(
        (
            payload.status().counts.panic,
            payload.status().counts.healthy
        ),
        (1, 1)
    );
    assert!(supervisor.stop(secs(1)).await.is_empty());
}
