//! Deadlines within deadlines: of a connection, of a check, of the end.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::{Act, Puppet, core_on, definition, id, next_record};
use monitor_core::Core;
use monitor_core::fault::{Fault, Layer, Reason};
use monitor_core::model::{MemoryStore, Observation, Outcome, Probe, ProbeContext};
use monitor_core::pool::{Manager, Pool};
use monitor_core::pressure::{Config, Level};
use tokio::time::Instant;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

struct Numbers;

impl Manager for Numbers {
    type Connection = usize;
    type Error = Infallible;

    async fn connect(&self) -> Result<usize, Infallible> {
        Ok(0)
    }
}

/// Wants a connection, for as long as its check may take.
struct Wants;

#[async_trait]
impl Probe for Wants {
    fn kind(&self) -> &'static str {
        "wants"
    }

    fn target(&self) -> String {
        "a connection".into()
    }

    async fn check(&self, context: &ProbeContext) -> Observation {
        let pool = context.resources.get::<Pool<Numbers>>("numbers").unwrap();
        match pool.acquire_timeout(context.timeout).await {
            Ok(_) => Observation::up(),
            Err(error) => {
                let fault = Fault::new(Layer::Local, Reason::Timeout);
                Observation::fault(fault.with_detail(error.to_string()))
            }
        }
    }
}

/// ROB-78: a wait for a connection ends with its check, a check with its timeout, and everything
/// with the deadline of the end, although all of them hang and would take an hour.
#[tokio::test(start_paused = true)]
async fn deadlines_nest() {
    let core = core_on(Arc::new(MemoryStore::new())).await;
    let builder = Pool::builder(Numbers)
        .max_size(1)
        .acquire_timeout(secs(3600));
    let pool = core.pools().open("numbers", builder).unwrap();
    let held = pool.acquire().await.unwrap();
    let mut events = core.subscribe();
    let mut wants = definition("wants", &Puppet::new(Act::Up));
    (wants.probe, wants.settings.timeout) = (Arc::new(Wants), Some(secs(3)));
    core.define(wants).await.unwrap();
    let (record, _) = next_record(&mut events).await;
    assert_eq!(record.took, Some(secs(3)), "the shorter one counts");
    assert_ne!(record.outcome(), Outcome::Up);
    drop(held);

    for number in 0..15 {
        let mut hangs = definition(&format!("hangs-{number}"), &Puppet::new(Act::Never));
        hangs.settings.timeout = Some(secs(3600));
        core.define(hangs).await.unwrap();
    }
    tokio::time::sleep(secs(1)).await;
    let before = Instant::now();
    let report = core.shutdown(secs(4)).await;
    assert!(before.elapsed() <= secs(4), "{:?}", before.elapsed());
    assert_eq!(
        (report.cancelled, report.uncommitted),
        (15, 0),
        "{report:?}"
    );
    assert!(report.abandoned.is_empty());
}

/// ROB-77: checks that wait too long for a permit press the process, and the queue is named as the
/// cause.
#[tokio::test(start_paused = true)]
async fn a_queue_that_does_not_move_presses_the_process() {
    let config = Config::builder().resource_check_interval(secs(5));
    let core = Core::builder(Arc::new(MemoryStore::new()))
        .max_concurrent(NonZeroUsize::MIN)
        .pressure(config.build().unwrap())
        .start()
        .await
        .unwrap();
    let hangs = Puppet::new(Act::Never);
    let mut first = definition("first", &hangs);
    first.settings.timeout = Some(secs(3600));
    core.define(first).await.unwrap();
    hangs.begun.notified().await;
    core.define(definition("second", &Puppet::new(Act::Up)))
        .await
        .unwrap();
    // From now on it is due.
    assert!(core.trigger(&id("second")).will_run());
    let level = || {
        let sources = core.pressure().unwrap().sources.into_iter();
        let mut queue = sources.filter(|seen| seen.source.as_str() == "queue_age");
        queue.next().unwrap().level
    };
    tokio::time::sleep(secs(10)).await;
    assert_eq!(level(), Level::Normal, "ten seconds of thirty");
    tokio::time::sleep(secs(25)).await;
    assert_eq!(level(), Level::Critical);
    let causes = core.pressure().unwrap();
    assert!(
        causes
            .causes()
            .any(|cause| cause.source.as_str() == "queue_age")
    );
    core.delete(&id("first")).await.unwrap();
    let mut events = core.subscribe();
    while next_record(&mut events).await.0.monitor != id("second") {}
    tokio::time::sleep(secs(600)).await;
    assert_eq!(level(), Level::Normal, "in steps, when it moves again");
}
