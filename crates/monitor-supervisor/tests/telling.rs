//! What is told of tasks: status, counts, log and alerts, on a virtual clock.

#![allow(clippy::unwrap_used, reason = "tests panic")]

mod support;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
};

use monitor_supervisor::{FailureKind, Health, Outcome, Supervisor, TaskSpec};
use support::{Lines, alerts, secs};
use tokio::time::sleep;
use tracing_subscriber::filter::LevelFilter;

fn every(name: &str, interval: u64) -> TaskSpec {
    let spec = TaskSpec::builder(name).interval(secs(interval));
    spec.build().unwrap()
}

/// STB-3: what is shown is as old as it says, and stale after two intervals.
#[tokio::test(start_paused = true)]
async fn the_present_is_shown_with_its_age() {
    let supervisor = Supervisor::new();
    let gauge = Arc::new(AtomicU32::new(0));
    let read = Arc::clone(&gauge);
    let spec = TaskSpec::builder("gauge")
        .interval(secs(10))
        .timeout(secs(60));
    let task = supervisor
        .spawn(spec.build().unwrap(), move |_| {
            let value = read.load(SeqCst);
            async move {
                if value == 3 {
                    sleep(secs(50)).await;
                }
                Health::of([format!("gauge at {value}")])
            }
        })
        .unwrap();
    for value in 1..3 {
        gauge.store(value, SeqCst);
        sleep(secs(5)).await;
        let status = task.status();
        let failing = vec![format!("gauge at {value}")];
        assert_eq!(status.last, Some(Outcome::Unhealthy { failing }));
        assert_eq!(status.checked_at, Some(secs(10 * u64::from(value - 1))));
        assert_eq!((status.age, status.is_stale), (Some(secs(5)), false));
        sleep(secs(4)).await;
        gauge.store(value + 1, SeqCst);
        sleep(secs(1)).await;
    }
    // The tick that began at this moment takes long: what is known is ten seconds old.
    sleep(secs(10)).await;
    let status = task.status();
    assert_eq!((status.age, status.is_stale), (Some(secs(20)), false));
    sleep(secs(1)).await;
    assert!(task.status().is_stale);
    assert!(!task.status().is_healthy());
}

/// STB-8, STB-9: each tick is one line at debug level, with the uptime and the figures.
#[tokio::test(start_paused = true)]
async fn each_tick_is_a_line_for_those_who_look_closely() {
    let (lines, _guard) = Lines::collect(LevelFilter::DEBUG);
    let supervisor = Supervisor::new();
    let spec = TaskSpec::builder("health").interval(secs(3_661));
    supervisor
        .spawn(spec.build().unwrap(), |_| async {})
        .unwrap();
    sleep(secs(3_662)).await;
    assert_eq!(
        lines.lines(),
        [
            "DEBUG monitor_supervisor::runner: tick task=\"health\" tick=1 outcome=healthy \
             took_ms=0 uptime=0s healthy=1 failed=0 missed=0",
            "DEBUG monitor_supervisor::runner: tick task=\"health\" tick=2 outcome=healthy \
             took_ms=0 uptime=1h 1m 1s healthy=2 failed=0 missed=0",
        ]
    );
    assert_eq!(supervisor.uptime(), secs(3_662));
}

/// An error with a cause.
#[derive(Debug)]
struct Outer(io::Error);

impl std::fmt::Display for Outer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot ask the database")
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// STB-10, STB-11: what fails is named, an error keeps its causes, and it is said once, not with
/// every tick; recovery is said too.
#[tokio::test(start_paused = true)]
async fn changes_are_logged_with_their_causes() {
    let (lines, _guard) = Lines::collect(LevelFilter::INFO);
    let supervisor = Supervisor::new();
    supervisor
        .spawn(every("health", 300), |tick| async move {
            match tick.number {
                2..=4 => Ok(Health::of(["disk", "mail"])),
                5 => Err(Outer(io::Error::other("connection refused"))),
                _ => Ok(Health::Healthy),
            }
        })
        .unwrap();
    sleep(secs(2_000)).await;
    let said: Vec<_> = lines
        .lines()
        .into_iter()
        .map(|line| line.split(" task=").next().unwrap().to_owned())
        .collect();
    assert_eq!(
        said,
        [
            "WARN monitor_supervisor::runner: health, tick 2: unhealthy: disk, mail",
            "ERROR monitor_supervisor::runner: health, tick 4: failed 3 times in a row: \
             unhealthy: disk, mail",
            "ERROR monitor_supervisor::runner: health, tick 5: error: cannot ask the database: \
             connection refused",
            "INFO monitor_supervisor::runner: health, tick 6: well again after 4 failures in \
             20m 0s",
        ]
    );
}

/// STB-12: each kind of failure is counted by itself, and nothing is counted twice.
#[tokio::test(start_paused = true)]
async fn failures_are_counted_by_kind() {
    let supervisor = Supervisor::new();
    let task = supervisor
        .spawn(every("health", 60), |tick| async move {
            match tick.number % 5 {
                1 => Ok(Health::of(["disk"])),
                2 => Err("broken"),
                3 => panic!("worse"),
                4 => std::future::pending().await,
                _ => Ok(Health::Healthy),
            }
        })
        .unwrap();
    sleep(secs(60 * 10 - 1)).await;
    let counts = task.status().counts;
    for kind in FailureKind::ALL {
        assert_eq!(counts.of(kind), 2, "{}", kind.as_str());
    }
    assert_eq!(
        (counts.healthy, counts.failures(), counts.total()),
        (2, 8, 10)
    );
}

/// STB-13: the bug of old: unhealthy is a value, so a counter of errors never saw it and every
/// unhealthy tick even began it anew. Three in a row of any kind are one alert.
#[tokio::test(start_paused = true)]
async fn unhealthy_values_alert_as_errors_do() {
    let supervisor = Supervisor::new();
    let mut events = supervisor.subscribe();
    let task = supervisor
        .spawn(every("health", 300), |tick| async move {
            match tick.number {
                1 | 2 | 4 | 5 => Ok(Health::of(["database"])),
                6 => Err("refused"),
                7 => Ok(Health::of(["database"])),
                _ => Ok(Health::Healthy),
            }
        })
        .unwrap();
    sleep(secs(300 * 6 + 1)).await;
    assert!(task.status().is_alerting);
    assert_eq!(task.status().failures_in_a_row, 4);
    sleep(secs(300)).await;
    assert!(!task.status().is_alerting);
    assert_eq!(
        alerts(&mut events),
        [
            "health, tick 3: well again after 2 failures in 10m 0s",
            "health, tick 6: failed 3 times in a row: error: refused",
            "health, tick 8: well again after 4 failures in 20m 0s",
        ]
    );
}

/// STB-20: while a dependency is down the process says so and does the rest; it recovers by itself.
#[tokio::test(start_paused = true)]
async fn degraded_while_a_dependency_is_down() {
    let supervisor = Supervisor::new();
    let down = Arc::new(AtomicBool::new(true));
    let is_down = Arc::clone(&down);
    supervisor
        .spawn(every("dependency", 30), move |_| {
            let failing = is_down.load(SeqCst).then_some("dependency");
            async move { Health::of(failing) }
        })
        .unwrap();
    supervisor
        .spawn(every("own work", 30), |_| async {})
        .unwrap();
    let healthy = || {
        let status = supervisor.status();
        status
            .iter()
            .map(|task| task.is_healthy())
            .collect::<Vec<_>>()
    };
    sleep(secs(200)).await;
    assert_eq!(healthy(), [false, true]);
    down.store(false, SeqCst);
    sleep(secs(30)).await;
    assert_eq!(healthy(), [true, true]);
}
