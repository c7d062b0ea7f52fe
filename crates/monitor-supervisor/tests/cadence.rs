//! When tasks tick, on a virtual clock.

#![allow(clippy::unwrap_used, reason = "tests panic")]

mod support;

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use monitor_backoff::{Cap, Floor, Jitter, Policy};
use monitor_supervisor::{Depth, Health, Supervisor, TaskSpec, Tick};
use support::{Log, alerts, secs};
use tokio::time::{Instant, sleep};

fn every(name: &str, interval: u64) -> TaskSpec {
    let spec = TaskSpec::builder(name).interval(secs(interval));
    spec.build().unwrap()
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
