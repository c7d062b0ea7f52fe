//! What belongs to what: the operation behind a result, and that no result goes around it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use async_trait::async_trait;
use common::{Act, Moody, Puppet, core_on, definition, id, next, next_record};
use monitor_core::model::{
    EventKind, MemoryStore, Observation, Outcome, Probe, ProbeContext, Store,
};
use monitor_core::operation::{Cause, Operations};
use monitor_core::scheduler::{Config, Run, Scheduler, Spec, Verdict};
use monitor_core::{Core, Defined};
use tokio::sync::mpsc;

/// OPS-2: a run has an operation with id, key and epoch, says when it began and until when it has
/// time, and hears why it is called off.
#[tokio::test(start_paused = true)]
async fn a_run_carries_id_key_start_and_cancellation() {
    let operations = Operations::with_seed(7);
    let scheduler = Scheduler::new(Config::default(), operations.clone(), Arc::new(()));
    let (tell, mut told) = mpsc::unbounded_channel();
    let handler = move |run: Run<&'static str>| {
        let tell = tell.clone();
        async move {
            let operation = &run.operation;
            let began = (operation.id(), *operation.key(), operation.epoch());
            let left = run
                .deadline
                .saturating_duration_since(tokio::time::Instant::now());
            tell.send((began, run.started, left, None)).unwrap();
            let cause = operation.cancellation().cancelled().await;
            tell.send((began, run.started, left, Some(cause))).unwrap();
            Verdict::Ignore
        }
    };
    let spec = Spec::builder(Duration::from_secs(10)).timeout(Duration::from_secs(2));
    scheduler
        .schedule("a", spec.build().unwrap(), handler)
        .unwrap();
    let (began, started, left, cause) = told.recv().await.unwrap();
    assert_eq!((began.1, Some(began.2)), ("a", operations.epoch(&"a")));
    assert!(started <= scheduler.now() && cause.is_none());
    assert_eq!(left, Duration::from_secs(2));
    scheduler.pause(&"a");
    let called_off = told.recv().await.unwrap();
    assert_eq!(
        called_off,
        (began, started, left, Some(Cause::Paused)),
        "all else is as it was"
    );
}

/// OPS-2, OPS-3: the record of a result names its operation, when it began, and how long it took,
/// whatever the result; one that nobody saw has neither operation nor duration.
#[tokio::test(start_paused = true)]
async fn every_result_has_its_operation_and_its_duration() {
    let core = core_on(Arc::new(MemoryStore::new())).await;
    let probe = Puppet::new(Act::Up);
    let mut events = core.subscribe();
    core.define(definition("a", &probe)).await.unwrap();
    let (mut operations, mut before) = (Vec::new(), 1);
    for (act, outcome) in [
        (Act::Up, Outcome::Up),
        (Act::Down, Outcome::Down),
        (Act::Panic, Outcome::Unknown),
        (Act::Never, Outcome::Down),
    ] {
        if !operations.is_empty() {
            probe.will(act);
            let _ = core.trigger(&id("a"));
        }
        let (record, status) = next_record(&mut events).await;
        assert_eq!((record.outcome(), status.outcome), (outcome, Some(outcome)));
        let took = record.took.unwrap();
        let timeout = Duration::from_secs(2);
        assert_eq!(took == timeout, act == Act::Never, "{took:?}");
        assert_eq!(
            record.fault().is_some(),
            outcome != Outcome::Up,
            "the error of what failed"
        );
        assert!(record.reason().is_none(), "it was seen");
        assert!(record.started_unix_ms >= before, "when it began");
        before = record.started_unix_ms;
        operations.push(record.operation.unwrap());
    }
    operations.sort_unstable();
    operations.dedup();
    assert_eq!(operations.len(), 4, "each its own");

    // Its due times pass while it hangs.
    probe.will(Act::Wait);
    let _ = core.trigger(&id("a"));
    let mut hangs = definition("a", &probe);
    hangs.settings.timeout = Some(Duration::from_secs(60));
    hangs.monitor.spec = "{\"timeout\":\"60s\"}".into();
    core.define(hangs).await.unwrap();
    let missed = next(&mut events, |kind| match kind {
        EventKind::Committed { record, .. } if record.outcome() == Outcome::Missed => {
            Some(record.clone())
        }
        _ => None,
    });
    let missed = missed.await;
    assert_eq!(
        (missed.operation, missed.took, missed.fault()),
        (None, None, None)
    );
    assert!(missed.reason().is_some());
}

/// Says when it is given up.
struct Listens(mpsc::UnboundedSender<&'static str>);

struct GivenUp(mpsc::UnboundedSender<&'static str>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        let _ = self.0.send("given up");
    }
}

#[async_trait]
impl Probe for Listens {
    fn kind(&self) -> &'static str {
        "listens"
    }

    fn target(&self) -> String {
        "nothing".into()
    }

    async fn check(&self, _: &ProbeContext) -> Observation {
        let _until_the_end = GivenUp(self.0.clone());
        let _ = self.0.send("begun");
        std::future::pending().await
    }
}

/// OPS-6: a monitor that is paused, edited or deleted has its work stopped, and not only its result
/// refused: before the change has come back, or in the same instant, the probe's future is dropped.
#[tokio::test(start_paused = true)]
async fn a_change_stops_the_work_itself() {
    for (name, change) in CHANGES {
        let core = core_on(Arc::new(MemoryStore::new())).await;
        let (tell, mut told) = mpsc::unbounded_channel();
        let mut listens = definition("a", &Puppet::new(Act::Up));
        listens.probe = Arc::new(Listens(tell));
        listens.settings.timeout = Some(Duration::from_secs(3600));
        core.define(listens).await.unwrap();
        assert_eq!(told.recv().await, Some("begun"));
        let before = tokio::time::Instant::now();
        change(core.clone()).await;
        assert_eq!(told.recv().await, Some("given up"), "{name}");
        assert_eq!(before.elapsed(), Duration::ZERO, "{name}");
    }
}

type Change = fn(Core) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Pause, edit and delete, whatever the store says to it.
const CHANGES: [(&str, Change); 3] = [
    ("pause", |core| {
        Box::pin(async move { drop(core.pause(&id("a")).await) })
    }),
    ("edit", |core| {
        Box::pin(async move {
            let mut edited = definition("a", &Puppet::new(Act::Wait));
            edited.monitor.spec = "{\"edited\":true}".into();
            drop(core.define(edited).await);
        })
    }),
    ("delete", |core| {
        Box::pin(async move { drop(core.delete(&id("a")).await) })
    }),
];

/// OPS-36: while the store fails, results wait in memory. That is no way around the fence: what
/// waits when its monitor is paused, edited or deleted is never written, whether the store fails
/// for the change as well or takes it.
#[tokio::test(start_paused = true)]
async fn what_waits_for_the_store_is_fenced_as_well() {
    for (name, change) in CHANGES {
        for store_is_back in [true, false] {
            let store = Arc::new(Moody::default());
            let core = core_on(Arc::clone(&store) as _).await;
            let probe = Puppet::new(Act::Up);
            let mut events = core.subscribe();
            let defined = core.define(definition("a", &probe)).await.unwrap();
            assert_eq!(defined, Defined::Added);
            next_record(&mut events).await;
            probe.will(Act::Down);
            store.refuses.store(true, SeqCst);
            let _ = core.trigger(&id("a"));
            while core.undelivered() == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            probe.will(Act::Wait);
            if store_is_back {
                // The next attempt is a quarter of a second away.
                store.refuses.store(false, SeqCst);
                change(core.clone()).await;
            } else {
                change(core.clone()).await;
                store.refuses.store(false, SeqCst);
            }
            while core.undelivered() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let rows = store.history(&id("a"), 10).await.unwrap();
            let downs = rows
                .iter()
                .filter(|row| row.record.outcome() == Outcome::Down);
            assert_eq!(downs.count(), 0, "{name}, {store_is_back}: {rows:#?}");
            let status = core.view(&id("a")).map(|view| view.status.outcome);
            assert_ne!(status, Some(Some(Outcome::Down)), "{name}, {store_is_back}");
        }
    }
}

/// OPS-39: two cores share nothing, not even the names of their monitors.
#[tokio::test(start_paused = true)]
async fn cores_share_no_state() {
    let (one, two) = (
        core_on(Arc::new(MemoryStore::new())).await,
        core_on(Arc::new(MemoryStore::new())).await,
    );
    let mut seen = Vec::new();
    for (core, act) in [(&one, Act::Up), (&two, Act::Down)] {
        let mut events = core.subscribe();
        core.define(definition("a", &Puppet::new(act)))
            .await
            .unwrap();
        let (record, _) = next_record(&mut events).await;
        seen.push(record.outcome());
    }
    assert_eq!(seen, [Outcome::Up, Outcome::Down]);
    one.delete(&id("a")).await.unwrap();
    assert!(one.view(&id("a")).is_none() && two.view(&id("a")).is_some());
    one.shutdown(Duration::from_secs(1)).await;
    assert!(two.pause(&id("a")).await.is_ok(), "it goes on");
}
