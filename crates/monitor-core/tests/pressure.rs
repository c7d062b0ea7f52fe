//! How hard-pressed the process is: looked at, told and shown.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use common::next;
use monitor_core::Core;
use monitor_core::model::{EventKind, MemoryStore};
use monitor_core::pool::{Manager, Pool};
use monitor_core::pressure::{Config, Level, SourceStatus};

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

/// ROB-74, ROB-77: the pool for whose connections somebody waits too long is named as the cause, by
/// the looks of the interval that is set, and is let off in steps when nobody waits any more. That
/// all its connections are out is no pressure by itself.
#[tokio::test(start_paused = true)]
async fn a_pool_that_is_exhausted_presses_the_process() {
    let interval = Duration::from_secs(2);
    let core = core(Config::builder().resource_check_interval(interval)).await;
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
