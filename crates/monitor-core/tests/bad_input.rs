//! What makes no sense, comes too late or too often, and probes that do not keep to any rule.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use common::{Act, Puppet, core_on, definition, id, next, next_record};
use monitor_core::model::{
    EventKind, MemoryStore, MonitorId, Observation, Outcome, Probe, ProbeContext, Store,
};
use monitor_core::operation::Operations;
use monitor_core::scheduler::{Config, Run, Scheduler, Spec, SpecError, TriggerOutcome, Verdict};
use monitor_core::{CoreError, Defined};

/// OPS-38: settings that make no sense are refused by a typed error before anything is done: the
/// store hears nothing, nothing is told, nobody else notices, and a monitor that is edited so goes
/// on as it was.
#[tokio::test(start_paused = true)]
async fn settings_that_make_no_sense_change_nothing() {
    let store = Arc::new(MemoryStore::new());
    let core = core_on(Arc::clone(&store) as _).await;
    let probe = Puppet::new(Act::Up);
    core.define(definition("good", &probe)).await.unwrap();
    let before = core.view(&id("good")).unwrap().status;
    let day = Duration::from_secs(86_400);
    let (zero, fine) = (Duration::ZERO, Duration::from_secs(10));
    let fraction = Duration::from_micros(100_001);
    let refusals = [
        (zero, None, SpecError::IntervalRange { interval: zero }),
        (
            31 * day,
            None,
            SpecError::IntervalRange { interval: 31 * day },
        ),
        (
            366 * day,
            None,
            SpecError::IntervalRange {
                interval: 366 * day,
            },
        ),
        (
            Duration::MAX,
            None,
            SpecError::IntervalRange {
                interval: Duration::MAX,
            },
        ),
        (
            fraction,
            None,
            SpecError::IntervalFraction { interval: fraction },
        ),
        (fine, Some(zero), SpecError::TimeoutRange { timeout: zero }),
        (
            fine,
            Some(2 * day),
            SpecError::TimeoutRange { timeout: 2 * day },
        ),
    ];
    let mut events = core.subscribe();
    for name in ["new", "good"] {
        for (interval, timeout, refusal) in &refusals {
            let mut wrong = definition(name, &probe);
            wrong.monitor.spec = "{\"wrong\":true}".into();
            wrong.settings.interval = *interval;
            wrong.settings.timeout = *timeout;
            let refused = core.define(wrong).await.unwrap_err();
            let CoreError::Settings { monitor, source } = refused else {
                panic!("{refused}");
            };
            assert_eq!((monitor, &source), (id(name), refusal));
        }
    }
    assert!(core.view(&id("new")).is_none());
    assert_eq!(store.load().await.unwrap().monitors.len(), 1);
    assert_eq!(core.view(&id("good")).unwrap().status.epoch, before.epoch);
    let (record, _) = next_record(&mut events).await;
    assert_eq!(
        (record.monitor, record.epoch),
        (id("good"), before.epoch),
        "nothing before it"
    );
}

/// OPS-38: no text that is no id gets past the edge, and what is said about it is short.
#[test]
fn ids_that_make_no_sense() {
    let huge = "x".repeat(1 << 20);
    for text in [
        "",
        "A",
        "a b",
        ".a",
        "\0",
        "ä",
        "../a",
        "a\u{202e}b",
        &huge,
        &"a".repeat(65),
    ] {
        let refused = text.parse::<MonitorId>().unwrap_err();
        assert!(refused.to_string().len() < 600, "{refused}");
    }
    assert!("a".repeat(64).parse::<MonitorId>().is_ok());
}

/// OPS-38: after the end every change is refused by name, every question is answered, and nothing
/// waits.
#[tokio::test(start_paused = true)]
async fn calls_after_the_end() {
    let core = core_on(Arc::new(MemoryStore::new())).await;
    let probe = Puppet::new(Act::Up);
    core.define(definition("a", &probe)).await.unwrap();
    core.shutdown(Duration::from_secs(1)).await;
    let looks = probe.looks();
    let refusals = [
        core.define(definition("b", &probe)).await.err(),
        core.pause(&id("a")).await.err(),
        core.resume(&id("a")).await.err(),
        core.delete(&id("a")).await.err(),
    ];
    for refused in refusals {
        assert!(
            matches!(refused, Some(CoreError::ShuttingDown)),
            "{refused:?}"
        );
    }
    assert_eq!(core.trigger(&id("a")), TriggerOutcome::ShutDown);
    assert!(core.view(&id("b")).is_none() && core.view(&id("a")).is_some());
    assert!(core.explain(&id("a")).is_some() && core.health().total <= 1);
    let again = core.shutdown(Duration::from_secs(1)).await;
    assert_eq!(
        (again.finished, again.uncommitted),
        (0, 0),
        "a second time is no harm"
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(probe.looks(), looks, "nobody looks any more");
}

/// PRB-14: the same definition again, and again, is the same monitor: one schedule, one epoch.
#[tokio::test(start_paused = true)]
async fn the_same_again_is_the_same() {
    let core = core_on(Arc::new(MemoryStore::new())).await;
    let probe = Puppet::new(Act::Up);
    for turn in 0..1000 {
        let defined = core.define(definition("a", &probe)).await.unwrap();
        let expected = if turn == 0 {
            Defined::Added
        } else {
            Defined::Unchanged
        };
        assert_eq!(defined, expected);
    }
    assert_eq!(
        (core.views().len(), core.scheduler_status().states.len()),
        (1, 1)
    );
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(
        (10..=12).contains(&probe.looks()),
        "{} looks in ten slots",
        probe.looks()
    );
}

/// PRB-17, PRB-23: monitors that come and go by the thousand leave nothing behind: no entry, no
/// schedule, no result on its way.
#[tokio::test(start_paused = true)]
async fn coming_and_going_leaves_nothing() {
    let store = Arc::new(MemoryStore::new());
    let core = core_on(Arc::clone(&store) as _).await;
    let probe = Puppet::new(Act::Up);
    for turn in 0..2000 {
        let name = format!("m{}", turn % 7);
        core.define(definition(&name, &probe)).await.unwrap();
        if turn % 3 != 0 {
            let _ = core.trigger(&id(&name));
            tokio::task::yield_now().await;
        }
        assert!(core.delete(&id(&name)).await.unwrap());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(core.views().is_empty() && core.scheduler_status().states.is_empty());
    assert_eq!(
        (
            core.undelivered(),
            core.scheduler_status().current_concurrency
        ),
        (0, 0)
    );
    let loaded = store.load().await.unwrap();
    assert_eq!((loaded.monitors.len(), loaded.graves.len()), (0, 7));
    assert_eq!(Arc::strong_count(&probe), 1, "nobody holds the probe");
}

/// PRB-14: a million adds and removes take no more room than the keys that there are at once.
#[test]
fn a_million_adds_and_removes() {
    const KEYS: u32 = 500;
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let config = Config::default();
        let scheduler: Scheduler<u32> = Scheduler::new(config, Operations::new(), Arc::new(()));
        let spec = Spec::builder(Duration::from_secs(60)).build().unwrap();
        let nothing = |_: Run<u32>| async { Verdict::Success };
        for turn in 0..500_000_u32 {
            let key = turn % KEYS;
            assert!(
                scheduler
                    .schedule(key, spec.clone(), nothing)
                    .unwrap()
                    .is_created()
            );
            assert!(scheduler.cancel(&key).is_some());
        }
        assert!(scheduler.status().states.is_empty());
        for key in 0..KEYS {
            scheduler.schedule(key, spec.clone(), nothing).unwrap();
        }
        assert_eq!(scheduler.page(0).next, None, "the places were used again");
    });
}

/// Blocks the thread it is on until somebody lets it go.
struct Blocks {
    looks: AtomicUsize,
    go: Mutex<mpsc::Receiver<()>>,
}

#[async_trait]
impl Probe for Blocks {
    fn kind(&self) -> &'static str {
        "blocks"
    }

    fn target(&self) -> String {
        "a thread".into()
    }

    async fn check(&self, _: &ProbeContext) -> Observation {
        self.looks.fetch_add(1, SeqCst);
        // An error is the end of the test, and good enough.
        let _ = self.go.lock().unwrap().recv();
        Observation::up()
    }
}

/// PRB-8: a probe that blocks its thread gets its verdict while it does, is not asked a second time
/// before it has ended, and holds up nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_probe_that_blocks_its_thread() {
    let core = core_on(Arc::new(MemoryStore::new())).await;
    let (release, go) = mpsc::channel();
    let blocks = Arc::new(Blocks {
        looks: AtomicUsize::new(0),
        go: Mutex::new(go),
    });
    let mut events = core.subscribe();
    let mut blocking = definition("blocks", &Puppet::new(Act::Up));
    blocking.probe = Arc::clone(&blocks) as _;
    let quick = Duration::from_millis(100);
    (blocking.settings.interval, blocking.settings.timeout) = (quick, Some(quick));
    core.define(blocking).await.unwrap();
    let of = async |events: &mut _, name: &str| {
        next(events, |kind| match kind {
            EventKind::Committed { record, .. }
                if record.monitor == id(name) && record.took.is_some() =>
            {
                Some(record.outcome())
            }
            _ => None,
        })
        .await
    };
    let verdict = of(&mut events, "blocks").await;
    // Unknown where this machine itself was so slow that nothing can be said.
    assert!(
        matches!(verdict, Outcome::Down | Outcome::Unknown),
        "{verdict}"
    );
    let mut other = definition("other", &Puppet::new(Act::Up));
    (other.settings.interval, other.settings.timeout) = (quick, Some(Duration::from_secs(3600)));
    core.define(other).await.unwrap();
    for _ in 0..5 {
        assert_eq!(of(&mut events, "other").await, Outcome::Up);
    }
    assert_eq!(blocks.looks.load(SeqCst), 1, "one at a time");
    drop(release);
    while of(&mut events, "blocks").await != Outcome::Up {}
    assert!(blocks.looks.load(SeqCst) > 1, "it is asked again");
}

/// Leaves work behind with each look.
struct Forgets;

#[async_trait]
impl Probe for Forgets {
    fn kind(&self) -> &'static str {
        "forgets"
    }

    fn target(&self) -> String {
        "nothing".into()
    }

    async fn check(&self, context: &ProbeContext) -> Observation {
        let context = context.clone();
        tokio::spawn(async move {
            context.cancellation.cancelled().await;
            panic!("nobody is told");
        });
        tokio::spawn(std::future::pending::<()>());
        Observation::up()
    }
}

/// PRB-7: what a probe spawns and forgets is its own affair, also when it panics: the result is
/// written, the key is free, checks go on.
#[tokio::test(start_paused = true)]
async fn a_probe_that_spawns_and_forgets() {
    let core = core_on(Arc::new(MemoryStore::new())).await;
    let mut events = core.subscribe();
    let mut forgetful = definition("a", &Puppet::new(Act::Up));
    forgetful.probe = Arc::new(Forgets);
    core.define(forgetful).await.unwrap();
    for _ in 0..20 {
        assert_eq!(next_record(&mut events).await.0.outcome(), Outcome::Up);
    }
    core.delete(&id("a")).await.unwrap();
    assert_eq!(core.shutdown(Duration::from_secs(1)).await.abandoned, []);
}
