//! How hard-pressed the process is: looked at, told and shown.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use common::{Act, Puppet, definition, next, next_record};
use monitor_core::Core;
use monitor_core::backoff::{Jitter, Policy};
use monitor_core::model::{EventKind, MemoryStore, Unobserved};
use monitor_core::pool::{Manager, Pool};
use monitor_core::pressure::{Config, Level, Rule, Source, SourceStatus, Thresholds};
use monitor_core::scheduler::Class;

struct Numbers;

impl Manager for Numbers {
    type Connection = usize;
    type Error = Infallible;

    async fn connect(&self) -> Result<usize, Infallible> {
        Ok(0)
    }
}

async fn core(config: monitor_core::pressure::Builder) -> Core {
    Core::builder(Arc::new(MemoryStore::new()))
        .seed(7)
        .pressure(config.build().unwrap())
        .start()
        .await
        .unwrap()
}

fn source(core: &Core, name: &str) -> SourceStatus {
    let snapshot = core.pressure().unwrap();
    let mut sources = snapshot.sources.into_iter();
    sources
        .find(|status| status.source.as_str() == name)
        .unwrap_or_else(|| panic!("{name} is not looked at"))
}

/// A look every `interval`, whatever else goes on on this machine.
fn on_a_calm_machine(interval: Duration) -> monitor_core::pressure::Builder {
    let builder = Config::builder().resource_check_interval(interval);
    let thresholds = Thresholds {
        elevated: 1000,
        degraded: 1000,
        critical: 1000,
        margin: 5,
    };
    let rule = Rule {
        thresholds,
        ..Rule::default()
    };
    let of_the_machine = [
        Source::CGROUP_MEMORY,
        Source::CGROUP_TASKS,
        Source::MEMORY_STALL,
        Source::MACHINE_MEMORY_STALL,
    ];
    let sources = of_the_machine.into_iter();
    sources.fold(builder, |builder, source| builder.rule_of(source, rule))
}

/// ROB-74, ROB-77: the pool for whose connections somebody waits too long is named as the cause, by
/// the looks of the interval that is set, and is let off in steps when nobody waits any more. That
/// all its connections are out is no pressure by itself.
#[tokio::test(start_paused = true)]
async fn a_pool_that_is_exhausted_presses_the_process() {
    let core = core(on_a_calm_machine(Duration::from_secs(2))).await;
    let mut events = core.subscribe();
    let builder = Pool::builder(Numbers).max_size(1);
    let pool = core.pools().open("numbers", builder).unwrap();
    let held = pool.acquire().await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let status = source(&core, "pool:numbers");
    assert_eq!(status.level, Level::Normal, "in use, as it should be");

    let waits = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire().await.map(drop) }
    });
    let of_pool = |kind: &EventKind| match kind {
        EventKind::Pressure {
            source,
            from,
            to,
            detail,
        } if source == "pool:numbers" => Some((*from, *to, detail.clone())),
        _ => None,
    };
    let mut reached = "normal";
    while reached != "critical" {
        let (from, to, detail) = next(&mut events, of_pool).await;
        assert_eq!(from, reached);
        assert!(detail.ends_with(" of 5s"), "{detail}");
        reached = to;
    }
    assert_eq!(core.pressure().unwrap().level, Level::Critical);
    drop(held);
    waits.await.unwrap().unwrap();
    while reached != "normal" {
        let (from, to, _) = next(&mut events, of_pool).await;
        assert_eq!(from, reached, "level by level");
        reached = to;
    }
    core.shutdown(Duration::from_secs(1)).await;
}

/// ROB-81, ROB-82: at critical, optional monitors are not checked, normal ones at every fourth due
/// time and critical ones as ever; what nobody looked at is recorded, due time by due time; and all
/// of it ends with the pressure.
#[tokio::test(start_paused = true)]
async fn under_pressure_what_matters_less_gives_way_and_comes_back() {
    let core = core(on_a_calm_machine(Duration::from_secs(1))).await;
    let mut events = core.subscribe();
    for class in Class::ALL {
        let mut monitor = definition(class.as_str(), &Puppet::new(Act::Up));
        monitor.settings.class = class;
        // On the grid, to the millisecond.
        monitor.settings.backoff = Policy::builder().jitter(Jitter::NONE).build().unwrap();
        core.define(monitor).await.unwrap();
    }
    let builder = Pool::builder(Numbers).max_size(1);
    let pool = core.pools().open("numbers", builder).unwrap();
    let held = pool.acquire().await.unwrap();
    let waits = tokio::spawn({
        let pool = pool.clone();
        let hour = Duration::from_secs(3600);
        async move { pool.acquire_timeout(hour).await.map(drop) }
    });
    next(&mut events, process_is("critical")).await;

    assert_eq!(
        next_due_times(&core, 40).await,
        [(0, 40), (10, 30), (40, 0)]
    );

    drop(held);
    waits.await.unwrap().unwrap();
    next(&mut events, process_is("normal")).await;
    assert_eq!(next_due_times(&core, 10).await, [(10, 0); 3]);
}

/// What becomes of the next `count` due times of the monitor of each class: at how many of them
/// somebody looked, and at how many nobody did.
async fn next_due_times(core: &Core, count: usize) -> [(usize, usize); 3] {
    // What is on its way to the store gets there first.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut events = core.subscribe();
    let mut found = [(0, 0); 3];
    while found.iter().any(|(looked, missed)| looked + missed < count) {
        let (record, _) = next_record(&mut events).await;
        let name = record.monitor.as_str();
        let class = Class::ALL.iter().position(|class| class.as_str() == name);
        let (looked, missed) = &mut found[class.unwrap()];
        assert_eq!(record.slots, 1, "each due time on its own");
        if *looked + *missed < count {
            match record.reason() {
                None => *looked += 1,
                Some(reason) => {
                    assert!(
                        matches!(reason, Unobserved::Stretched | Unobserved::Suspended),
                        "{reason}"
                    );
                    *missed += 1;
                }
            }
        }
    }
    found
}

fn process_is(level: &str) -> impl FnMut(&EventKind) -> Option<()> + use<'_> {
    move |kind| match kind {
        EventKind::Pressure { source, to, .. } => {
            (source == "process" && *to == level).then_some(())
        }
        _ => None,
    }
}

/// ROB-73, ROB-76: memory, threads and descriptors of the real process, before the first monitor is
/// defined; a limit that is exceeded is critical at the first look.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn the_first_look_is_at_the_start() {
    let core = core(Config::builder().memory_limit_mb(1)).await;
    let snapshot = core.pressure().unwrap();
    assert_eq!(snapshot.level, Level::Critical);
    let memory = source(&core, "memory");
    assert_eq!(memory.level, Level::Critical);
    assert!(memory.usage.unwrap().ratio() > 1.0);
    for name in ["threads", "descriptors", "event_loop_lag", "queue_age"] {
        assert_eq!(source(&core, name).level, Level::Normal, "{name}");
    }
    let status = &core.supervisor().status();
    let task = status
        .iter()
        .find(|task| &*task.name == "pressure")
        .unwrap();
    assert!(task.is_healthy() && task.ticks == 1, "{task:?}");
}

/// Nobody looks unless asked to.
#[tokio::test(start_paused = true)]
async fn without_a_configuration_nobody_looks() {
    let core = common::core_on(Arc::new(MemoryStore::new())).await;
    assert_eq!(core.pressure(), None);
}
