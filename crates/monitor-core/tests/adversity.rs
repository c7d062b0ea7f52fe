//! Stores that fail at the worst step, clocks that go back, and ends in disorder.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::num::NonZeroUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{Act, Moody, Puppet, core_on, definition, id, next, next_record};
use monitor_core::model::{
    Event, EventKind, Lifecycle, MemoryStore, Observation, Outcome, Phases, Record, Store,
};
use monitor_core::operation::Epoch;
use monitor_core::{Core, Defined, Sink};

/// A monitor that has been checked once, on a store that can be told to fail.
async fn checked() -> (Core, Arc<Moody>, Arc<Puppet>) {
    let store = Arc::new(Moody::default());
    let core = core_on(Arc::clone(&store) as _).await;
    let probe = Puppet::new(Act::Up);
    let mut events = core.subscribe();
    core.define(definition("a", &probe)).await.unwrap();
    next_record(&mut events).await;
    (core, store, probe)
}

/// The driver of the scheduler has a runtime of its own here, which ends before the core does: what
/// it tells must not end with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv_core_3_what_is_missed_at_shutdown_is_counted() {
    let store = Arc::new(Moody::default());
    let core = Core::builder(Arc::clone(&store) as _)
        .max_concurrent(NonZeroUsize::MIN)
        .start()
        .await
        .unwrap();
    let (first, second) = (Puppet::new(Act::Wait), Puppet::new(Act::Up));
    let mut patient = definition("a", &first);
    patient.settings.timeout = Some(Duration::from_secs(3600));
    core.define(patient).await.unwrap();
    first.begun.notified().await;
    core.define(definition("b", &second)).await.unwrap();
    // From now on it is due.
    assert!(core.trigger(&id("b")).will_run());
    store.refuses.store(true, SeqCst);
    let report = core.shutdown(Duration::from_secs(2)).await;
    assert_eq!(second.looks(), 0);
    assert_eq!(
        report.uncommitted, 2,
        "one cancelled, one missed: {report:?}"
    );
}

/// What cannot be written any more is given up with the core: nobody asks a closed store for ever.
#[tokio::test(start_paused = true)]
async fn nothing_is_left_running_after_shutdown() {
    let (core, store, _) = checked().await;
    store.refuses.store(true, SeqCst);
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert!(
        core.undelivered() >= 2,
        "a result, and slots missed meanwhile"
    );
    let report = core.shutdown(Duration::from_secs(4)).await;
    assert!(report.uncommitted >= 2, "{report:?}");
    drop(core);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(Arc::strong_count(&store), 1);
}

#[tokio::test(start_paused = true)]
async fn any_grace_will_do() {
    let (core, _, _) = checked().await;
    let report = core.shutdown(Duration::MAX).await;
    assert_eq!((report.uncommitted, report.store_error), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_failed_can_be_taken_back() {
    let (core, store, probe) = checked().await;
    store.refuses.store(true, SeqCst);
    core.delete(&id("a")).await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(probe.looks(), 1, "it no longer runs");
    store.refuses.store(false, SeqCst);
    let mut events = core.subscribe();
    let status = core.resume(&id("a")).await.unwrap().unwrap();
    assert_eq!(status.lifecycle, Lifecycle::Active);
    let (record, _) = next_record(&mut events).await;
    assert_eq!((record.outcome(), probe.looks()), (Outcome::Up, 2));
}

/// A monitor of a former process, which somebody fails to delete before it is defined again.
#[tokio::test(start_paused = true)]
async fn a_change_that_failed_before_the_definition_bars_no_result() {
    let store = Arc::new(Moody::default());
    let probe = Puppet::new(Act::Up);
    let definition = definition("a", &probe);
    let (monitor, epoch) = (definition.monitor.clone(), Epoch::new(4));
    store.define(monitor, epoch).await.unwrap();
    let core = core_on(Arc::clone(&store) as _).await;
    store.refuses.store(true, SeqCst);
    core.delete(&id("a")).await.unwrap_err();
    store.refuses.store(false, SeqCst);
    let mut events = core.subscribe();
    assert_eq!(core.define(definition).await.unwrap(), Defined::Unchanged);
    let record = next(&mut events, |kind| match kind {
        EventKind::Committed { record, .. } => Some(record.clone()),
        other => panic!("expected a result, got {other:?}"),
    });
    assert_eq!(record.await.outcome(), Outcome::Up);
}

/// A pause that was not durable holds through an edit as well.
#[tokio::test(start_paused = true)]
async fn an_edit_does_not_resume_what_a_failed_pause_has_stopped() {
    let (core, store, probe) = checked().await;
    store.refuses.store(true, SeqCst);
    core.pause(&id("a")).await.unwrap_err();
    store.refuses.store(false, SeqCst);
    let mut edited = definition("a", &probe);
    edited.monitor.spec = "{}".into();
    assert_eq!(core.define(edited).await.unwrap(), Defined::Edited);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(probe.looks(), 1, "it rests");
    let row = store.load().await.unwrap().monitors[0].status.lifecycle;
    assert_eq!(row, Lifecycle::Paused);
}

/// The row is brought up to date for one failed edit while the next one fails.
#[tokio::test(start_paused = true)]
async fn a_row_that_falls_behind_twice_catches_up_twice() {
    let (core, store, probe) = checked().await;
    let edit = |spec: &str| {
        let mut edited = definition("a", &probe);
        edited.monitor.spec = spec.into();
        core.define(edited)
    };
    store.refuses.store(true, SeqCst);
    edit("1").await.unwrap_err();
    store.refuses.store(false, SeqCst);
    store.lingers.store(true, SeqCst);
    store.made.notified().await;
    store.refuses.store(true, SeqCst);
    let mut second = std::pin::pin!(edit("2"));
    let in_time = tokio::time::timeout(Duration::from_secs(1), &mut second).await;
    store.go.notify_one();
    let second = match in_time {
        Ok(result) => result,
        Err(_) => second.await,
    };
    second.unwrap_err();
    store.refuses.store(false, SeqCst);
    let mut events = core.subscribe();
    let (record, _) = next_record(&mut events).await;
    assert_eq!(record.outcome(), Outcome::Up);
    tokio::time::sleep(Duration::from_secs(25)).await;
    let looks = probe.looks();
    let rows = store.history(&id("a"), 100).await.unwrap();
    assert!(rows.len() + 1 >= looks, "{looks} checks, rows: {rows:#?}");
}

/// OPS-32: a result is written while a pause is on its way, and told after it: the state that is
/// shown is the one in the store, and events are in the order of the store.
#[tokio::test(start_paused = true)]
async fn inv_core_5_status_and_events_follow_the_order_of_the_store() {
    let store = Arc::new(Moody::default());
    let core = core_on(Arc::clone(&store) as _).await;
    let probe = Puppet::new(Act::Up);
    let mut events = core.subscribe();
    store.lingers.store(true, SeqCst);
    core.define(definition("a", &probe)).await.unwrap();
    store.made.notified().await; // the first result is written, and not answered yet
    let paused = tokio::spawn({
        let core = core.clone();
        async move { core.pause(&id("a")).await.unwrap().unwrap() }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    store.go.notify_one();
    let paused = paused.await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(core.view(&id("a")).unwrap().status, paused);
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        seen.push(match &event.kind {
            EventKind::Defined { .. } => "defined",
            EventKind::Committed { .. } => "committed",
            EventKind::Lifecycle { .. } => "paused",
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(seen, ["defined", "committed", "paused"]);
}

/// A sink is somebody else's code.
#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_stops_no_event() {
    struct Fussy(Mutex<Vec<u64>>);
    impl Sink for Fussy {
        fn event(&self, event: &Event) {
            self.0.lock().unwrap().push(event.sequence);
            assert_ne!(event.sequence, 1, "as told");
        }
    }
    let sink = Arc::new(Fussy(Mutex::default()));
    let core = Core::builder(Arc::new(MemoryStore::new()))
        .sink(Arc::clone(&sink) as _)
        .start()
        .await
        .unwrap();
    let mut events = core.subscribe();
    let probe = Puppet::new(Act::Up);
    core.define(definition("a", &probe)).await.unwrap();
    next_record(&mut events).await;
    drop(core.shutdown(Duration::from_secs(1)).await);
    let seen = sink
        .0
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    assert_eq!(*seen, [1, 2]);
}

/// PRB-29: the wall clock was an hour ahead in the process before: its history covers the due times
/// to come. What is seen now is shown all the same.
#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_blinds_no_monitor() {
    let store = Arc::new(MemoryStore::new());
    let probe = Puppet::new(Act::Up);
    // The same slots in each process: a first one tells where they lie.
    let scout = core_on(Arc::clone(&store) as _).await;
    let mut events = scout.subscribe();
    scout.define(definition("a", &probe)).await.unwrap();
    next_record(&mut events).await;
    let (slot, _) = next_record(&mut events).await;
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let wall = i64::try_from(wall.as_millis()).unwrap();
    let first = slot.due_unix_ms - (slot.due_unix_ms - wall) / 10_000 * 10_000;
    for slot in 0..360 {
        let seen = Observation::up();
        let due = first + 10_000 * slot;
        let mut record = Record::observed(id("a"), Epoch::new(1), due, seen, Phases::default());
        record.interval_ms = 10_000;
        let _ = store.commit(record).await.unwrap(); // two of them are there already
    }
    let core = core_on(Arc::clone(&store) as _).await;
    probe.will(Act::Down);
    let mut events = core.subscribe();
    let before = probe.looks();
    let defined = core.define(definition("a", &probe)).await.unwrap();
    assert_eq!(defined, Defined::Unchanged);
    let shown = tokio::time::timeout(Duration::from_secs(60), next_record(&mut events)).await;
    assert!(probe.looks() > before, "it is checked");
    let (record, status) = shown.expect("what it saw is written");
    assert_eq!(record.outcome(), Outcome::Down);
    assert_eq!(status.outcome, Some(Outcome::Down));
}
