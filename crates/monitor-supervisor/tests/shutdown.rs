//! Shutdown in phases under one deadline, on a virtual clock.

#![allow(clippy::unwrap_used, reason = "tests panic")]

mod support;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use monitor_supervisor::{
    BoxError, HandlerOutcome, Phase, RegisterError, Shutdown, ShutdownReport, Supervisor, TaskSpec,
};
use support::{Log, secs};
use tokio::time::{Instant, sleep};

/// Registers a handler that takes so long and writes its name down at its end.
fn takes(shutdown: &Shutdown, log: &Log<String>, name: &str, phase: Phase, time: Duration) {
    let (log, entry) = (log.clone(), name.to_owned());
    let handler = move |_| async move {
        sleep(time).await;
        log.push(entry);
        Ok(())
    };
    shutdown.register(name, phase, handler).unwrap();
}

fn outcomes(report: &ShutdownReport) -> Vec<(String, String)> {
    let handlers = report.handlers.iter();
    handlers
        .map(|handler| (handler.name.to_string(), handler.outcome.to_string()))
        .collect()
}

/// STB-16, STB-17, ROB-80: lower phases first, whatever the order of registration; those of one
/// phase at the same time.
#[tokio::test(start_paused = true)]
async fn phases_run_one_after_another() {
    let (shutdown, log) = (Shutdown::new(), Log::default());
    for (name, phase, time) in [
        ("close", Phase::CLOSE, 1),
        ("cancel", Phase::CANCEL, 1),
        ("slow drain", Phase::DRAIN, 3),
        ("quick drain", Phase::DRAIN, 2),
        ("before all", Phase(0), 1),
        ("intake", Phase::INTAKE, 1),
    ] {
        takes(&shutdown, &log, name, phase, secs(time));
    }
    let begun = Instant::now();
    let report = shutdown.run(secs(30)).await;
    let order = [
        "before all",
        "intake",
        "quick drain",
        "slow drain",
        "cancel",
        "close",
    ];
    assert_eq!(log.entries(), order);
    assert_eq!(begun.elapsed(), secs(1 + 1 + 3 + 1 + 1));
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.took, begun.elapsed());
    let took: Vec<_> = report
        .handlers
        .iter()
        .map(|one| one.took.as_secs())
        .collect();
    assert_eq!(
        took,
        [1, 1, 3, 2, 1, 1],
        "reported by phase, then as registered"
    );
}

/// STB-16: names are unique, a handler can be taken back, and its name is free again.
#[tokio::test(start_paused = true)]
async fn handlers_are_registered_and_taken_back() {
    let (shutdown, log) = (Shutdown::new(), Log::default());
    let nothing = |_| async { Ok(()) };
    let first = shutdown.register("store", Phase::CLOSE, nothing).unwrap();
    let again = shutdown.register("store", Phase::INTAKE, nothing);
    assert_eq!(
        again.unwrap_err().to_string(),
        "shutdown handler store is registered already: give each handler its own name"
    );
    assert!(first.deregister());
    takes(&shutdown, &log, "store", Phase::CLOSE, secs(0));
    let kept = shutdown.register("kept", Phase::CLOSE, nothing).unwrap();
    let report = shutdown.run(secs(1)).await;
    assert_eq!(outcomes(&report).len(), 2);
    assert_eq!(log.entries(), ["store"]);
    assert!(!kept.deregister(), "it ran");
    assert_eq!(shutdown.run(secs(1)).await.handlers.len(), 2);
}

/// STB-16: what comes too late is refused with its name, not forgotten.
#[tokio::test(start_paused = true)]
async fn registration_after_the_beginning_is_refused() {
    let (shutdown, log) = (Shutdown::new(), Log::default());
    let late = Log::default();
    let (inner, result) = (shutdown.clone(), late.clone());
    let registers = move |_| async move {
        let registered = inner.register("late", Phase::CLOSE, |_| async { Ok(()) });
        result.push(registered.map(drop));
        Ok(())
    };
    shutdown
        .register("registers", Phase::INTAKE, registers)
        .unwrap();
    takes(&shutdown, &log, "close", Phase::CLOSE, secs(1));
    assert!(!shutdown.has_begun());
    let report = shutdown.run(secs(5)).await;
    assert!(shutdown.has_begun());
    let name = "late".to_owned();
    assert_eq!(late.entries(), [Err(RegisterError::ShuttingDown { name })]);
    assert_eq!(report.to_string(), "2 of 2 finished");
}

#[derive(Debug)]
struct Outer(io::Error);

impl std::fmt::Display for Outer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot flush")
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// STB-17, L4: handlers that fail, panic or hang keep nobody else from running, and each is
/// reported, with the causes of its error.
#[tokio::test(start_paused = true)]
async fn every_handler_is_reported() {
    let (shutdown, log) = (Shutdown::new(), Log::default());
    let register = |name: &str, phase, outcome: fn() -> Result<(), BoxError>| {
        let handler = move |_| async move { outcome() };
        shutdown.register(name, phase, handler).unwrap();
    };
    register("fails", Phase::INTAKE, || {
        Err(Outer(io::Error::other("disk full")).into())
    });
    register("panics", Phase::INTAKE, || panic!("in the middle"));
    shutdown
        .register("panics early", Phase::INTAKE, |left| {
            assert!(left.is_zero(), "before it began");
            std::future::ready(Ok(()))
        })
        .unwrap();
    shutdown
        .register("hangs", Phase::DRAIN, |_| std::future::pending())
        .unwrap();
    takes(&shutdown, &log, "close", Phase::CLOSE, secs(1));
    let report = shutdown.run(secs(30)).await;
    let expected = [
        ("fails", "failed: cannot flush: disk full"),
        ("panics", "panicked: in the middle"),
        ("panics early", "panicked: before it began"),
        ("hangs", "timed out"),
        ("close", "finished"),
    ];
    let expected = expected.map(|(name, outcome)| (name.to_owned(), outcome.to_owned()));
    assert_eq!(outcomes(&report), expected);
    assert_eq!(log.entries(), ["close"]);
    assert_eq!(
        report.took,
        secs(5 + 1),
        "the one that hangs had five seconds"
    );
    assert!(!report.is_clean());
    assert!(report.handlers.iter().all(|handler| !handler.still_running));
}

/// STB-17, ROB-78, L4: one budget for all. Of old, each handler had its five seconds on top, and
/// thirty became thirty-five. Each is told how long it has, and what has no turn is skipped.
#[tokio::test(start_paused = true)]
async fn one_deadline_for_all() {
    let (shutdown, told) = (Shutdown::new(), Log::default());
    for number in 0..5 {
        let told = told.clone();
        let hangs = move |left: Duration| async move {
            told.push(left.as_secs());
            std::future::pending().await
        };
        let name = format!("hangs {number}");
        let phase = Phase(number);
        shutdown
            .register_within(&name, phase, secs(5), hangs)
            .unwrap();
    }
    let begun = Instant::now();
    let report = shutdown.run(secs(12)).await;
    assert_eq!(begun.elapsed(), secs(12));
    assert_eq!(told.entries(), [5, 5, 2]);
    let seen: Vec<_> = report
        .handlers
        .iter()
        .map(|one| one.outcome.clone())
        .collect();
    use HandlerOutcome::{Skipped, TimedOut};
    assert_eq!(seen, [TimedOut, TimedOut, TimedOut, Skipped, Skipped]);
    assert_eq!(
        report.to_string(),
        "0 of 5 finished; hangs 0 timed out; hangs 1 timed out; hangs 2 timed out; \
         hangs 3 skipped; hangs 4 skipped"
    );
}

/// L4: each handler of a phase has its own time, not that of its neighbours.
#[tokio::test(start_paused = true)]
async fn a_short_time_is_short_beside_a_long_one() {
    let shutdown = Shutdown::new();
    let log = Log::default();
    for (name, time) in [("long", 20), ("short", 1)] {
        let log = log.clone();
        let begun = Instant::now();
        let hangs = move |_| async move {
            let _note = Noted(log, begun, name);
            std::future::pending().await
        };
        shutdown
            .register_within(name, Phase::DRAIN, secs(time), hangs)
            .unwrap();
    }
    shutdown.run(secs(30)).await;
    assert_eq!(log.entries(), [("short", secs(1)), ("long", secs(20))]);
}

/// Notes when it is dropped.
struct Noted(Log<(&'static str, Duration)>, Instant, &'static str);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.push((self.2, self.1.elapsed()));
    }
}

/// STB-17: called twice, it runs once, and both get the report; so does a third one afterwards.
#[tokio::test(start_paused = true)]
async fn two_shutdowns_are_one() {
    let (shutdown, log) = (Shutdown::new(), Log::default());
    takes(&shutdown, &log, "drain", Phase::DRAIN, secs(3));
    let (first, second) = tokio::join!(shutdown.run(secs(30)), shutdown.run(secs(60)));
    assert!(Arc::ptr_eq(&first, &second));
    assert!(Arc::ptr_eq(&first, &shutdown.run(secs(1)).await));
    assert_eq!(log.entries(), ["drain"]);
}

/// STB-17, ROB-80: a second call with less time takes the rest away: so a second signal forces it.
#[tokio::test(start_paused = true)]
async fn a_second_call_may_force_it() {
    let shutdown = Shutdown::new();
    let hangs = |_| std::future::pending();
    shutdown
        .register_within("drain", Phase::DRAIN, secs(20), hangs)
        .unwrap();
    shutdown.register("close", Phase::CLOSE, hangs).unwrap();
    let begun = Instant::now();
    let forces = async {
        sleep(secs(2)).await;
        shutdown.run(Duration::ZERO).await
    };
    let (report, _) = tokio::join!(shutdown.run(secs(30)), forces);
    assert_eq!(begun.elapsed(), secs(2));
    assert_eq!(
        report.to_string(),
        "0 of 2 finished; drain timed out; close skipped"
    );
}

/// STB-17: whoever asked for it may go away; it goes on.
#[tokio::test(start_paused = true)]
async fn it_goes_on_when_nobody_waits() {
    let (shutdown, log) = (Shutdown::new(), Log::default());
    takes(&shutdown, &log, "drain", Phase::DRAIN, secs(3));
    let gone = tokio::time::timeout(secs(1), shutdown.run(secs(30))).await;
    assert!(gone.is_err() && log.entries().is_empty());
    let report = shutdown.run(secs(30)).await;
    assert_eq!(
        (log.entries(), report.took),
        (vec!["drain".to_owned()], secs(3))
    );
}

/// STB-17: loops that end by themselves hear of it.
#[tokio::test(start_paused = true)]
async fn loops_hear_of_the_beginning() {
    let shutdown = Shutdown::new();
    let watcher = shutdown.clone();
    let loops = tokio::spawn(async move {
        watcher.begun().await;
        watcher.begun().await;
    });
    tokio::task::yield_now().await;
    assert!(!loops.is_finished());
    shutdown.run(secs(1)).await;
    loops.await.unwrap();
}

/// STB-17: nothing to do is done at once, and no time at all skips everything.
#[tokio::test(start_paused = true)]
async fn nothing_to_do_and_no_time_to_do_it() {
    let report = Shutdown::new().run(secs(30)).await;
    assert_eq!(
        (report.to_string(), report.took),
        ("0 of 0 finished".into(), secs(0))
    );
    let (shutdown, log) = (Shutdown::new(), Log::default());
    takes(&shutdown, &log, "drain", Phase::DRAIN, secs(0));
    let report = shutdown.run(Duration::ZERO).await;
    assert_eq!(report.to_string(), "0 of 1 finished; drain skipped");
    assert!(log.entries().is_empty());
    let (shutdown, log) = (Shutdown::new(), Log::default());
    takes(&shutdown, &log, "drain", Phase::DRAIN, secs(1));
    assert!(shutdown.run(Duration::MAX).await.is_clean(), "no overflow");
}

/// ROB-79, L4: a handler that blocks its thread does not hold the end up, and is named as what is
/// left over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_blocks_its_thread_is_left_behind() {
    // One whose time is over before a thread is free for it is dropped, and blocks none.
    while !is_left_behind().await {}
}

/// Whether a handler that blocks its thread, once it has begun, is what is left over.
async fn is_left_behind() -> bool {
    let shutdown = Shutdown::new();
    let (release, blocked) = mpsc::channel::<()>();
    let begun = Arc::new(AtomicBool::new(false));
    let begins = Arc::clone(&begun);
    let blocks = move |_| async move {
        begins.store(true, SeqCst);
        blocked.recv()?;
        Ok(())
    };
    let short = Duration::from_millis(1);
    shutdown
        .register_within("blocks", Phase::DRAIN, short, blocks)
        .unwrap();
    shutdown
        .register("close", Phase::CLOSE, |_| async { Ok(()) })
        .unwrap();
    let report = shutdown.run(secs(600)).await.to_string();
    drop(release);
    let left = report.strip_prefix("1 of 2 finished; blocks timed out");
    match left.unwrap_or_else(|| panic!("{report}")) {
        "" => {
            assert!(!begun.load(SeqCst), "it had begun, and is not left over");
            false
        }
        goes_on => {
            assert_eq!(goes_on, " and goes on");
            true
        }
    }
}

/// STB-4, STB-19, ROB-79: periodic tasks end in their phase, and what does not end is said.
#[tokio::test(start_paused = true)]
async fn periodic_tasks_end_with_everything_else() {
    let (shutdown, supervisor) = (Shutdown::new(), Supervisor::new());
    let spec = TaskSpec::builder("health").build().unwrap();
    supervisor
        .spawn(spec, |_| std::future::pending::<()>())
        .unwrap();
    let stops = supervisor.clone();
    let handler = move |left| async move {
        match stops.stop(left).await {
            left if left.is_empty() => Ok(()),
            left => Err(format!("still running: {}", left.join(", ")).into()),
        }
    };
    shutdown.register("tasks", Phase::CANCEL, handler).unwrap();
    sleep(secs(1)).await;
    assert_eq!(supervisor.live_tasks(), 1);
    let report = shutdown.run(secs(30)).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(supervisor.live_tasks(), 0);
}

/// Panics when it is dropped, and when it is asked what it is.
#[derive(Debug)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

impl std::fmt::Display for Bomb {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("asked");
    }
}

impl std::error::Error for Bomb {}

/// STB-17, L4: whatever else a handler brings may panic too - its error, its destructor, what it
/// panics with - and everybody still gets the report.
#[tokio::test(start_paused = true)]
async fn what_a_handler_leaves_behind_may_panic_too() {
    let shutdown = Shutdown::new();
    shutdown
        .register("error", Phase::INTAKE, |_| async { Err(Bomb.into()) })
        .unwrap();
    shutdown
        .register("payload", Phase::INTAKE, |_| async {
            std::panic::panic_any(Bomb)
        })
        .unwrap();
    let given_up = |_| async {
        let _bomb = Bomb;
        std::future::pending().await
    };
    shutdown
        .register("given up", Phase::DRAIN, given_up)
        .unwrap();
    for name in ["skipped", "skipped too"] {
        let bomb = Bomb;
        let skipped = move |_| async move {
            drop(bomb);
            Ok(())
        };
        shutdown.register(name, Phase::CLOSE, skipped).unwrap();
    }
    let report = shutdown.run(secs(5)).await;
    assert_eq!(
        report.to_string(),
        "0 of 5 finished; error panicked: asked; payload panicked: a panic without a message; \
         given up timed out; skipped skipped; skipped too skipped"
    );
}
