//! Periodic tasks, on a virtual clock.

#![allow(clippy::unwrap_used, reason = "tests panic")]

mod support;

use std::{
    io,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use monitor_backoff::{Cap, Floor, Jitter, Policy};
use monitor_supervisor::{
    BoxError, Depth, FailureKind, Health, Outcome, SpawnError, Supervisor, TaskSpec, Tick,
};
use support::{Lines, Log, alerts, secs};
use tokio::time::{Instant, sleep};
use tracing_subscriber::filter::LevelFilter;

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

/// STB-4, STB-19, ROB-79: after a stop there is no task left and nothing ticks.
#[tokio::test(start_paused = true)]
async fn nothing_is_left_after_a_stop() {
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

/// Records when a task ticks, in seconds since now.
fn ticking(supervisor: &Supervisor, spec: TaskSpec, took: Duration) -> Log<u64> {
    let (ticks, begun) = (Log::default(), Instant::now());
    let log = ticks.clone();
    supervisor
        .spawn(spec, move |_| {
            log.push(begun.elapsed().as_secs());
            sleep(took)
        })
        .unwrap();
    ticks
}

/// STB-5: by default every five minutes, on the second, from the start.
#[tokio::test(start_paused = true)]
async fn five_minutes_by_default() {
    let supervisor = Supervisor::new();
    let spec = TaskSpec::builder("default").build().unwrap();
    let ticks = ticking(&supervisor, spec, secs(3));
    sleep(secs(1_000)).await;
    assert_eq!(ticks.entries(), [0, 300, 600, 900]);
}

/// STB-5: the hardened way: every thirty seconds, and a failure is looked at again at once.
#[tokio::test(start_paused = true)]
async fn a_failure_is_confirmed_quickly() {
    let confirm = Policy::builder()
        .floor(Floor::FastConfirm {
            count: 2,
            delay: secs(2),
        })
        .cap(Cap::IntervalOr(secs(1)))
        .jitter(Jitter::symmetric(0.0))
        .build()
        .unwrap();
    let (supervisor, begun) = (Supervisor::new(), Instant::now());
    let mut events = supervisor.subscribe();
    let spec = TaskSpec::builder("hardened")
        .interval(secs(30))
        .backoff(confirm);
    let ticks = Log::default();
    let log = ticks.clone();
    supervisor
        .spawn(spec.build().unwrap(), move |tick| {
            log.push(begun.elapsed().as_secs());
            async move { Health::of((tick.number > 2).then_some("database")) }
        })
        .unwrap();
    sleep(secs(65)).await;
    assert_eq!(ticks.entries(), [0, 30, 60, 62, 64]);
    assert_eq!(
        alerts(&mut events),
        ["hardened, tick 5: failed 3 times in a row: unhealthy: database"],
        "after four seconds instead of a quarter of an hour"
    );
}

/// STB-6: an interval of garbage is refused where it stands and never becomes a hot loop, which a
/// millisecond would be.
#[tokio::test(start_paused = true)]
async fn no_interval_is_a_hot_loop() {
    for (interval, shown) in [
        (Duration::ZERO, "0ns"),
        (Duration::from_millis(1), "1ms"),
        (Duration::from_millis(999), "999ms"),
        (Duration::from_millis(1_000_000_000_000), "1000000000s"),
        (Duration::MAX, "18446744073709551615.999999999s"),
    ] {
        let refused = TaskSpec::builder("health").interval(interval).build();
        assert_eq!(
            refused.unwrap_err().to_string(),
            format!("task health: interval is {shown}: allowed is 1 s to 24 h")
        );
    }
    let supervisor = Supervisor::new();
    let ticks = ticking(&supervisor, every("health", 300), Duration::ZERO);
    sleep(secs(1)).await;
    let handle = supervisor.spawn(every("other", 300), |_| async {}).unwrap();
    assert!(handle.set_interval(Duration::ZERO).is_err());
    sleep(secs(300)).await;
    assert_eq!(ticks.entries().len(), 2);
    assert_eq!(handle.status().interval, secs(300));
}

/// STB-6: other settings are refused as well, by name.
#[test]
fn settings_are_refused_by_name() {
    let builder = || TaskSpec::builder("t");
    for (builder, message) in [
        (
            TaskSpec::builder(""),
            "task : name is 0 bytes long: allowed is 1 to 128 bytes",
        ),
        (
            builder().timeout(Duration::ZERO),
            "task t: timeout is 0ns: allowed is 1 ms to 24 h",
        ),
        (
            builder().first_after(secs(90_000)),
            "task t: first_after is 90000s: allowed is at most 24 h",
        ),
        (
            builder().remind_every(Some(Duration::ZERO)),
            "task t: remind_every is 0ns: allowed is at least 1 s",
        ),
        (
            builder().max_share_percent(0),
            "task t: max_share_percent is 0 %: allowed is 1 % to 100 %",
        ),
    ] {
        assert_eq!(builder.build().unwrap_err().to_string(), message);
    }
}

/// STB-6: the interval changes while the task runs.
#[tokio::test(start_paused = true)]
async fn the_interval_changes_on_the_run() {
    let (supervisor, begun, ticks) = (Supervisor::new(), Instant::now(), Log::default());
    let log = ticks.clone();
    let task = supervisor.spawn(every("task", 300), move |_| {
        log.push(begun.elapsed().as_secs());
        sleep(secs(2))
    });
    let task = task.unwrap();
    sleep(secs(100)).await;
    task.set_interval(secs(150)).unwrap();
    sleep(secs(51)).await;
    // While a tick is under way.
    task.set_interval(secs(10)).unwrap();
    sleep(secs(24)).await;
    assert_eq!(ticks.entries(), [0, 150, 160, 170]);
}

/// STB-7: deep at the start, light afterwards; or deep every so often.
#[tokio::test(start_paused = true)]
async fn deep_at_the_start_and_light_afterwards() {
    let supervisor = Supervisor::new();
    let looks = |spec| {
        let looks = Log::default();
        let log = looks.clone();
        let look = move |tick: Tick| {
            log.push(tick.depth);
            async {}
        };
        supervisor.spawn(spec, look).unwrap();
        looks
    };
    let once = looks(every("once", 300));
    let spec = TaskSpec::builder("often").deep_every(NonZeroU32::new(3).unwrap());
    let often = looks(spec.build().unwrap());
    sleep(secs(1_300)).await;
    use Depth::{Deep, Light};
    assert_eq!(once.entries(), [Deep, Light, Light, Light, Light]);
    assert_eq!(often.entries(), [Deep, Light, Light, Deep, Light]);
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

/// STB-14: a tick of two and a half intervals: never two at once, what was due is missed and
/// counted, and the next one is on the grid.
#[tokio::test(start_paused = true)]
async fn ticks_never_overlap() {
    let (supervisor, begun) = (Supervisor::new(), Instant::now());
    let (inside, ticks) = (Arc::new(AtomicU32::new(0)), Log::default());
    let log = ticks.clone();
    let spec = TaskSpec::builder("slow")
        .interval(secs(10))
        .timeout(secs(60));
    let task = supervisor
        .spawn(spec.build().unwrap(), move |_| {
            log.push(begun.elapsed().as_secs());
            let inside = Arc::clone(&inside);
            async move {
                assert_eq!(inside.fetch_add(1, SeqCst), 0, "two at once");
                sleep(secs(25)).await;
                inside.fetch_sub(1, SeqCst);
            }
        })
        .unwrap();
    sleep(secs(100)).await;
    assert_eq!(ticks.entries(), [0, 30, 60, 90]);
    assert_eq!(
        (task.status().missed, task.status().counts.failures()),
        (6, 0)
    );
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

/// STB-22: what checks cost is measured, and a costly one is asked less often: five minutes become
/// ten.
#[tokio::test(start_paused = true)]
async fn a_costly_check_is_asked_less_often() {
    let supervisor = Supervisor::new();
    let spec = TaskSpec::builder("costly")
        .timeout(secs(10))
        .max_share_percent(1);
    let ticks = ticking(&supervisor, spec.build().unwrap(), secs(6));
    sleep(secs(1_807)).await;
    assert_eq!(ticks.entries(), [0, 600, 1_200, 1_800]);
    let status = &supervisor.status()[0];
    let took = (status.last_took, status.mean_took, status.longest_took);
    assert_eq!(took, (secs(6), secs(6), secs(6)));
}

/// STB-1, STB-19: a check that blocks its thread is shown as stuck, begins no second tick, and is
/// named when it does not stop. Everything else goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_check_that_blocks_its_thread_is_named() {
    let supervisor = Supervisor::new();
    let mut events = supervisor.subscribe();
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Arc::new(std::sync::Mutex::new(blocked));
    let spec = TaskSpec::builder("blocks").interval(secs(1));
    let spec = spec.timeout(Duration::from_millis(1)).build().unwrap();
    let task = supervisor
        .spawn(spec, move |_| {
            let blocked = Arc::clone(&blocked);
            async move { blocked.lock().unwrap().recv().unwrap_or_default() }
        })
        .unwrap();
    assert_eq!(task.first().await, Some(Outcome::TimedOut));
    while events.recv().await.unwrap().to_string()
        != "blocks, tick 1: stuck: it timed out and does not end"
    {}
    let status = task.status();
    assert!(status.is_stuck && status.is_running);
    assert_eq!(status.ticks, 1);
    let left = supervisor.stop(Duration::from_millis(10)).await;
    assert_eq!(
        left.iter().map(|name| &**name).collect::<Vec<_>>(),
        ["blocks"]
    );
    drop(release);
    assert!(supervisor.stop(secs(60)).await.is_empty());
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
