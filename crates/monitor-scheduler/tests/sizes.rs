//! What holds for a few has to hold for as many as there may be.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use common::{secs, spec};
use monitor_operation::Operations;
use monitor_scheduler::{
    Completion, Config, Phase, Run, Saturation, Scheduler, Spec, TriggerOutcome, Verdict,
};
use tokio::{runtime::Handle, time::sleep};

fn wide(limit: usize) -> Config {
    Config {
        max_concurrent: limit.try_into().unwrap(),
        saturation: Saturation::Queue { bound: 20_000 },
        ..Config::default()
    }
}

#[derive(Default)]
struct Seen {
    now: AtomicUsize,
    most: AtomicUsize,
    runs: AtomicUsize,
}

/// PRB-1, PRB-33: ten thousand keys are scheduled by one thread while two others trigger each of
/// them: no key runs twice at once, and each runs once, or once more where a trigger came while it
/// was running.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_schedules_and_triggers_on_threads() {
    const KEYS: usize = 10_000;
    let scheduler: Scheduler<usize> = Scheduler::new(wide(64), Operations::new(), Arc::new(()));
    let seen: Arc<Vec<Seen>> = Arc::new((0..KEYS).map(|_| Seen::default()).collect());
    let begun = Arc::new(AtomicUsize::new(0));
    let triggers: Vec<_> = (0..2)
        .map(|_| {
            let (scheduler, begun) = (scheduler.clone(), Arc::clone(&begun));
            std::thread::spawn(move || {
                let mut outcomes = Vec::new();
                for key in 0..KEYS {
                    while begun.load(SeqCst) <= key {
                        std::thread::yield_now();
                    }
                    outcomes.push(scheduler.trigger(&key));
                }
                outcomes
            })
        })
        .collect();
    for key in 0..KEYS {
        let seen = Arc::clone(&seen);
        let handler = move |_run: Run<usize>| {
            let seen = Arc::clone(&seen);
            async move {
                let seen = &seen[key];
                seen.runs.fetch_add(1, SeqCst);
                seen.most
                    .fetch_max(seen.now.fetch_add(1, SeqCst) + 1, SeqCst);
                tokio::task::yield_now().await;
                seen.now.fetch_sub(1, SeqCst);
                Verdict::Success
            }
        };
        // Its own slots are an hour away: all that runs was asked for.
        let rare = Spec::builder(secs(86_400)).phase(Phase::Offset(secs(0)));
        let rare = rare.build().unwrap();
        assert!(scheduler.schedule(key, rare, handler).unwrap().is_created());
        begun.store(key + 1, SeqCst);
    }
    let outcomes: Vec<_> = triggers
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    let promised: usize = outcomes.iter().flatten().filter(|o| o.will_run()).count();
    assert_eq!(promised, 2 * KEYS, "each trigger found its key");
    loop {
        let status = scheduler.status();
        let waits = status.states.iter().any(|state| state.successes_total == 0);
        if !waits && status.current_concurrency == 0 && status.queue_depth == 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    for (key, seen) in seen.iter().enumerate() {
        assert_eq!(seen.most.load(SeqCst), 1, "two runs of {key} at once");
        let started = outcomes
            .iter()
            .filter(|o| o[key] != TriggerOutcome::Coalesced)
            .count();
        let runs = seen.runs.load(SeqCst);
        assert!(
            (1..=2).contains(&runs) && runs >= started,
            "{key}: {runs} runs"
        );
    }
}

/// OPS-23, PRB-7, STB-4: a hundred thousand runs with timeouts of half a minute have ended: no task
/// and no operation is left of them, whether they were done at once, waited or failed.
#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_runs_leave_no_timer() {
    let scheduler: Scheduler<usize> = Scheduler::new(wide(1000), Operations::new(), Arc::new(()));
    let before = Handle::current().metrics().num_alive_tasks();
    let ran = Arc::new(AtomicUsize::new(0));
    for key in 0..1000_usize {
        let ran = Arc::clone(&ran);
        let handler = move |_run: Run<usize>| {
            ran.fetch_add(1, SeqCst);
            async move {
                if key % 2 == 0 {
                    sleep(Duration::from_millis(50)).await;
                }
                if key % 5 == 0 {
                    Verdict::Failure
                } else {
                    Verdict::Success
                }
            }
        };
        let spec = Spec::builder(secs(1)).timeout(secs(30));
        scheduler
            .schedule(key, spec.build().unwrap(), handler)
            .unwrap();
    }
    while ran.load(SeqCst) < 100_000 {
        sleep(secs(1)).await;
    }
    assert_eq!(scheduler.clear(), 1000);
    sleep(secs(1)).await;
    assert_eq!(scheduler.operations().open(), 0);
    let after = Handle::current().metrics().num_alive_tasks();
    assert!(after <= before, "{after} tasks, {before} before");
}

/// PRB-30: an error text of a megabyte is kept as half a kilobyte, in the status as well.
#[tokio::test(start_paused = true)]
async fn a_megabyte_of_error_is_cut() {
    let scheduler: Scheduler<&str> =
        Scheduler::new(Config::default(), Operations::new(), Arc::new(()));
    let handler = |_run: Run<&'static str>| async {
        Completion::new(Verdict::Failure).error("wrong ".repeat(1 << 18))
    };
    scheduler.schedule("a", spec(secs(1)), handler).unwrap();
    sleep(secs(2)).await;
    let status = scheduler.probe_status(&"a").unwrap();
    let error = status.last_error.unwrap();
    assert!(
        error.len() <= 512 && error.starts_with("wrong wrong"),
        "{error}"
    );
}
