//! Late results: whoever changes a monitor ends the right of what is in flight to write.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Act, Puppet, core_on, definition, id, next, next_record};
use monitor_core::model::{EventKind, Lifecycle, MemoryStore, Outcome, Store};
use monitor_core::operation::Cause;
use monitor_core::{Core, Defined, Definition};
use tokio::sync::broadcast::error::TryRecvError;

/// Starts a monitor whose first check is in flight and cannot end before it is released.
async fn in_flight() -> (Core, Arc<MemoryStore>, Arc<Puppet>, Definition) {
    let store = Arc::new(MemoryStore::new());
    let core = core_on(Arc::clone(&store) as _).await;
    let probe = Puppet::new(Act::Wait);
    let definition = definition("a", &probe);
    assert_eq!(
        core.define(definition.clone()).await.unwrap(),
        Defined::Added
    );
    probe.begun.notified().await;
    (core, store, probe, definition)
}

async fn assert_fenced_once(core: &Core, store: &MemoryStore, wanted: Cause) {
    let mut events = core.subscribe();
    let cause = next(&mut events, |kind| match kind {
        EventKind::Fenced { cause, .. } => Some(*cause),
        EventKind::Committed { record, .. } => panic!("a late result was written: {record:?}"),
        _ => None,
    })
    .await;
    assert_eq!(cause, wanted);
    assert!(store.history(&id("a"), 10).await.unwrap().is_empty());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(
        matches!(events.try_recv(), Err(TryRecvError::Empty)),
        "fenced once, and no more"
    );
}

/// OPS-1, OPS-19, OPS-30, OPS-43, S2: a result in flight when its monitor is paused is not
/// written, and the status stays what it was.
#[tokio::test(start_paused = true)]
async fn inv_core_1_a_paused_monitor_keeps_its_status() {
    let (core, store, probe, _) = in_flight().await;
    let paused = tokio::spawn({
        let core = core.clone();
        async move { core.pause(&id("a")).await.unwrap().unwrap() }
    });
    assert_fenced_once(&core, &store, Cause::Paused).await;
    let status = paused.await.unwrap();
    assert_eq!(
        (status.lifecycle, status.outcome),
        (Lifecycle::Paused, None)
    );
    probe.release.notify_one();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let view = core.view(&id("a")).unwrap();
    assert_eq!((view.fenced, view.status.outcome), (1, None));
    assert_eq!(probe.looks(), 1, "a paused monitor is not checked");
    assert!(store.history(&id("a"), 10).await.unwrap().is_empty());
}

/// OPS-31, S2: stopped and started again while the check is alive; the old result is refused
/// although the monitor is active.
#[tokio::test(start_paused = true)]
async fn inv_core_1_a_result_of_a_former_life_is_refused() {
    let (core, store, probe, _) = in_flight().await;
    core.pause(&id("a")).await.unwrap();
    probe.will(Act::Down);
    let mut events = core.subscribe();
    core.resume(&id("a")).await.unwrap();
    probe.release.notify_one();
    let (record, status) = next_record(&mut events).await;
    assert_eq!(record.outcome(), Outcome::Down);
    assert_eq!(record.epoch, status.epoch);
    assert_eq!(store.history(&id("a"), 10).await.unwrap().len(), 1);
    assert_eq!(core.view(&id("a")).unwrap().fenced, 1);
}

/// OPS-1, S2: an edit while the check is in flight; the result of the old definition does not land
/// under the new one.
#[tokio::test(start_paused = true)]
async fn inv_core_1_an_edit_fences_the_old_definition() {
    let (core, store, probe, mut definition) = in_flight().await;
    definition.monitor.spec = "{\"edited\":true}".into();
    let other = Puppet::new(Act::Down);
    definition.probe = Arc::clone(&other) as _;
    let mut events = core.subscribe();
    assert_eq!(core.define(definition).await.unwrap(), Defined::Edited);
    probe.release.notify_one();
    let (record, _) = next_record(&mut events).await;
    assert_eq!(
        record.outcome(),
        Outcome::Down,
        "only the new definition's result"
    );
    assert_eq!(probe.looks(), 1);
    let view = core.view(&id("a")).unwrap();
    assert_eq!(
        (view.fenced, view.status.epoch),
        (0, record.epoch),
        "the new entry counts anew"
    );
    assert_eq!(store.history(&id("a"), 10).await.unwrap().len(), 1);
}

/// OPS-17, S2: deleted during the check: no row rises from the grave.
#[tokio::test(start_paused = true)]
async fn inv_core_1_a_deleted_monitor_stays_deleted() {
    let (core, store, probe, definition) = in_flight().await;
    let deleted = tokio::spawn({
        let core = core.clone();
        async move { core.delete(&id("a")).await.unwrap() }
    });
    assert_fenced_once(&core, &store, Cause::Deleted).await;
    assert!(deleted.await.unwrap());
    probe.release.notify_one();
    assert!(core.view(&id("a")).is_none());
    assert!(store.load().await.unwrap().monitors.is_empty());
    // Its id is used again, its epoch is not.
    let grave = store.load().await.unwrap().graves[0].1;
    assert_eq!(core.define(definition).await.unwrap(), Defined::Added);
    assert!(core.view(&id("a")).unwrap().status.epoch > grave);
}

/// OPS-10, OPS-41, PRB-6: a trigger while the check runs starts no second one beside it.
#[tokio::test(start_paused = true)]
async fn a_trigger_in_flight_coalesces() {
    let (core, _, probe, _) = in_flight().await;
    for _ in 0..5 {
        let _ = core.trigger(&id("a"));
    }
    assert_eq!(probe.looks(), 1);
    probe.will(Act::Up);
    let mut events = core.subscribe();
    probe.release.notify_one();
    next_record(&mut events).await;
    let (record, _) = next_record(&mut events).await;
    assert_eq!(record.trigger, monitor_core::model::Trigger::Manual);
    assert_eq!(probe.looks(), 2, "five triggers are one more check");
}

/// OPS-42: a check by hand of a paused monitor is made and recorded, and the monitor stays paused.
#[tokio::test(start_paused = true)]
async fn a_trigger_does_not_resume() {
    let (core, store, probe, _) = in_flight().await;
    core.pause(&id("a")).await.unwrap();
    probe.will(Act::Up);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(probe.looks(), 1);
    let mut events = core.subscribe();
    assert_eq!(
        core.trigger(&id("a")),
        monitor_core::scheduler::TriggerOutcome::Started
    );
    let (record, status) = next_record(&mut events).await;
    assert_eq!(
        (record.trigger, record.outcome(), status.lifecycle),
        (
            monitor_core::model::Trigger::Manual,
            Outcome::Up,
            Lifecycle::Paused
        )
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(probe.looks(), 2, "once");
    assert_eq!(store.history(&id("a"), 10).await.unwrap().len(), 1);
    assert_eq!(
        store.load().await.unwrap().monitors[0].status.lifecycle,
        Lifecycle::Paused
    );
}

#[tokio::test(start_paused = true)]
async fn changes_of_what_is_not_there_say_so() {
    let core = core_on(Arc::new(MemoryStore::new())).await;
    assert!(core.pause(&id("x")).await.unwrap().is_none());
    assert!(core.resume(&id("x")).await.unwrap().is_none());
    assert!(!core.delete(&id("x")).await.unwrap());
    assert!(!core.reset_backoff(&id("x")));
    assert_eq!(
        core.trigger(&id("x")),
        monitor_core::scheduler::TriggerOutcome::Unknown
    );
}
