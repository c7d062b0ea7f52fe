//! What becomes of a check, and that nothing of it is lost.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Act, Moody, Puppet, core_on, definition, id, next_record};
use monitor_core::fault::{Blame, Layer, Reason};
use monitor_core::model::{MemoryStore, Observation, Outcome, Phases, Record, Store, Unobserved};
use monitor_core::operation::Epoch;
use monitor_core::{Core, Defined, Definition};

async fn checked(act: Act) -> (Core, Arc<MemoryStore>, Arc<Puppet>) {
    let store = Arc::new(MemoryStore::new());
    let core = core_on(Arc::clone(&store) as _).await;
    let probe = Puppet::new(act);
    core.define(definition("a", &probe)).await.unwrap();
    (core, store, probe)
}

/// OPS-21, PRB-8: a target that never answers is down for timeout, at the layer it hung at.
#[tokio::test(start_paused = true)]
async fn never_answering_is_down_not_cancelled() {
    let (core, _, _) = checked(Act::Never).await;
    let mut events = core.subscribe();
    let (record, status) = next_record(&mut events).await;
    assert_eq!(record.outcome(), Outcome::Down);
    let fault = record.fault().unwrap();
    assert_eq!(
        (fault.reason(), fault.layer()),
        (Reason::Timeout, Layer::Response)
    );
    assert_eq!(
        record.took,
        Some(Duration::from_secs(2)),
        "exactly its timeout"
    );
    assert_eq!(status.outcome, Some(Outcome::Down));
    let (record, status) = next_record(&mut events).await;
    assert_eq!(
        (record.outcome(), status.streak),
        (Outcome::Down, 2),
        "and it is checked again"
    );
}

/// PRB-7, PRB-36: a panic in a probe is the prober's fault, frees everything and stops nothing.
#[tokio::test(start_paused = true)]
async fn a_panicking_probe_is_unknown_and_checked_again() {
    let (core, _, probe) = checked(Act::Panic).await;
    let mut events = core.subscribe();
    let (record, _) = next_record(&mut events).await;
    assert_eq!(record.outcome(), Outcome::Unknown);
    let fault = record.fault().unwrap();
    assert_eq!(
        (fault.reason(), fault.blame()),
        (Reason::Panicked, Blame::Prober)
    );
    probe.will(Act::Up);
    let (record, status) = next_record(&mut events).await;
    assert_eq!((record.outcome(), status.streak), (Outcome::Up, 1));
}

/// ROB-16, ROB-19: an open breaker slows down and writes no failure that nobody saw.
#[tokio::test(start_paused = true)]
async fn inv_core_2_an_open_breaker_writes_no_failure() {
    let core = core_on(Arc::new(MemoryStore::new())).await;
    let probe = Puppet::new(Act::Down);
    let mut definition = definition("a", &probe);
    definition.settings.breaker = Some(
        monitor_core::breaker::Config::builder()
            .failure_threshold(2)
            .open_duration(Duration::from_secs(300))
            .build()
            .unwrap(),
    );
    let mut events = core.subscribe();
    core.define(definition).await.unwrap();
    next_record(&mut events).await;
    let (_, opened) = next_record(&mut events).await;
    assert_eq!(opened.streak, 2);
    assert!(
        core.view(&id("a"))
            .unwrap()
            .breaker
            .unwrap()
            .retry_after
            .is_some()
    );
    // Whoever asks by hand while it is open is told so, and nothing is counted as down.
    let _ = core.trigger(&id("a"));
    let (record, status) = next_record(&mut events).await;
    assert_eq!(record.outcome(), Outcome::Suppressed);
    assert_eq!(record.reason(), Some(Unobserved::BreakerOpen));
    assert_eq!((status.streak, probe.looks()), (2, 2));
    // By its timer it is next looked at when the breaker lets it.
    let (record, _) = next_record(&mut events).await;
    assert_eq!((record.outcome(), probe.looks()), (Outcome::Down, 3));
    assert!(record.started_unix_ms - opened.checked_unix_ms.unwrap() >= 240_000);
}

/// PRB-30: the schedule shows the last error in words, and keeps it after a success.
#[tokio::test(start_paused = true)]
async fn the_last_error_is_shown_in_words() {
    let (core, _, probe) = checked(Act::Down).await;
    let mut events = core.subscribe();
    next_record(&mut events).await;
    probe.will(Act::Up);
    next_record(&mut events).await;
    let schedule = core.view(&id("a")).unwrap().schedule.unwrap();
    let error = schedule.last_error.unwrap();
    assert!(error.contains("refused"), "{error}");
}

/// STB-20: while the store takes nothing, results wait; when it does again, none is missing.
#[tokio::test(start_paused = true)]
async fn inv_core_3_results_wait_for_a_store_that_is_full() {
    let store = Arc::new(Moody::default());
    let core = core_on(Arc::clone(&store) as _).await;
    let probe = Puppet::new(Act::Up);
    let mut events = core.subscribe();
    core.define(definition("a", &probe)).await.unwrap();
    next_record(&mut events).await; // the first at once, the next in their slots
    store.refuses.store(true, SeqCst);
    tokio::time::sleep(Duration::from_secs(45)).await;
    assert!(core.store_state().is_err(), "readiness can say so");
    assert!(core.undelivered() >= 1);
    assert_eq!(
        probe.looks(),
        2,
        "one result waits; its monitor waits with it"
    );
    store.refuses.store(false, SeqCst);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(core.store_state().is_ok());
    assert_eq!(core.undelivered(), 0);
    let rows = store.history(&id("a"), 100).await.unwrap();
    let mut expected = rows[1].record.due_unix_ms;
    for row in &rows[1..] {
        assert_eq!(
            row.record.due_unix_ms, expected,
            "no due time is without a record: {rows:#?}"
        );
        expected += 10_000 * i64::from(row.record.slots);
    }
    assert!(
        rows.iter()
            .any(|row| row.record.reason() == Some(Unobserved::InFlight))
    );
}

/// A store that hangs takes no result with it: the handler is given up, its record is not.
#[tokio::test(start_paused = true)]
async fn inv_core_3_a_hanging_store_loses_nothing_uncounted() {
    let store = Arc::new(Moody::default());
    let core = core_on(Arc::clone(&store) as _).await;
    let probe = Puppet::new(Act::Up);
    store.hangs.store(true, SeqCst);
    let defined = tokio::spawn({
        let (core, definition) = (core.clone(), definition("a", &probe));
        async move { core.define(definition).await }
    });
    defined.await.unwrap().unwrap();
    probe.begun.notified().await;
    let report = core.shutdown(Duration::from_secs(20)).await;
    assert_eq!(report.uncommitted, 1, "{report:?}");
}

/// A pause that the store cannot take holds in memory, and is made durable by a second.
#[tokio::test(start_paused = true)]
async fn a_pause_during_a_store_outage_holds() {
    let store = Arc::new(Moody::default());
    let core = core_on(Arc::clone(&store) as _).await;
    let probe = Puppet::new(Act::Up);
    let mut events = core.subscribe();
    core.define(definition("a", &probe)).await.unwrap();
    next_record(&mut events).await;
    store.refuses.store(true, SeqCst);
    core.pause(&id("a")).await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(probe.looks(), 1, "it rests");
    store.refuses.store(false, SeqCst);
    core.pause(&id("a")).await.unwrap().unwrap();
    core.resume(&id("a")).await.unwrap().unwrap();
    let (record, status) = next_record(&mut events).await;
    assert_eq!(
        (record.outcome(), record.epoch),
        (Outcome::Up, status.epoch)
    );
}

/// An edit that the store cannot take leaves the monitor as it was, and at work.
#[tokio::test(start_paused = true)]
async fn an_edit_during_a_store_outage_changes_nothing() {
    let store = Arc::new(Moody::default());
    let core = core_on(Arc::clone(&store) as _).await;
    let probe = Puppet::new(Act::Up);
    let mut events = core.subscribe();
    core.define(definition("a", &probe)).await.unwrap();
    next_record(&mut events).await;
    store.refuses.store(true, SeqCst);
    let mut edited = definition("a", &Puppet::new(Act::Down));
    edited.monitor.spec = "{}".into();
    core.define(edited).await.unwrap_err();
    store.refuses.store(false, SeqCst);
    let (record, _) = next_record(&mut events).await;
    assert_eq!(record.outcome(), Outcome::Up, "the old probe looks");
    assert_eq!(
        core.view(&id("a")).unwrap().monitor,
        definition("a", &probe).monitor
    );
}

/// At shutdown what is in flight is recorded as cancelled, never as down.
#[tokio::test(start_paused = true)]
async fn inv_core_4_shutdown_records_cancelled_never_down() {
    let (core, store, probe) = checked(Act::Up).await;
    let mut events = core.subscribe();
    next_record(&mut events).await;
    probe.will(Act::Wait);
    let _ = core.trigger(&id("a"));
    probe.begun.notified().await;
    probe.begun.notified().await;
    let report = core.shutdown(Duration::from_secs(2)).await;
    assert_eq!((report.cancelled, report.uncommitted), (1, 0));
    assert!(report.abandoned.is_empty(), "{report:?}");
    let (record, status) = next_record(&mut events).await;
    assert_eq!(record.outcome(), Outcome::Cancelled);
    assert_eq!(record.reason(), Some(Unobserved::Shutdown));
    assert_eq!(status.outcome, Some(Outcome::Up), "the last verdict stands");
    assert!(store.load().await.is_err(), "the store is closed");
    assert!(matches!(
        core.pause(&id("a")).await,
        Err(monitor_core::CoreError::ShuttingDown)
    ));
}

/// The next process takes up where this one ended; the gap is on record.
#[tokio::test(start_paused = true)]
async fn the_time_between_two_processes_is_missed_not_lost() {
    let store = Arc::new(MemoryStore::new());
    let probe = Puppet::new(Act::Up);
    let wall = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let last = i64::try_from(wall.as_millis()).unwrap() - 95_000;
    let definition = definition("a", &probe);
    store
        .define(definition.monitor.clone(), Epoch::new(1))
        .await
        .unwrap();
    let seen = Observation::up();
    let mut record = Record::observed(id("a"), Epoch::new(1), last, seen, Phases::default());
    record.interval_ms = 10_000;
    store.commit(record).await.unwrap();
    let core = core_on(Arc::clone(&store) as _).await;
    let mut events = core.subscribe();
    assert_eq!(core.stored().len(), 1);
    assert_eq!(core.define(definition).await.unwrap(), Defined::Unchanged);
    let (record, status) = next_record(&mut events).await;
    assert_eq!(record.reason(), Some(Unobserved::NotRunning));
    assert_eq!((record.due_unix_ms, record.slots), (last + 10_000, 9));
    assert_eq!(status.outcome, Some(Outcome::Up), "the last verdict stands");
    assert_eq!(probe.looks(), 0);
    let (next, _) = next_record(&mut events).await;
    assert!(next.due_unix_ms > last + 90_000, "no due time twice");
}

/// PRB-39: a plain function is a probe: what it returns is the verdict, an error by its type.
#[tokio::test(start_paused = true)]
async fn a_function_is_a_probe() {
    let core = core_on(Arc::new(MemoryStore::new())).await;
    let mut events = core.subscribe();
    let answers = Arc::new(Mutex::new(vec![
        Err(std::io::ErrorKind::ConnectionRefused.into()),
        Ok(()),
    ]));
    let look = move || {
        let answer = answers.lock().unwrap().pop().unwrap_or(Ok(()));
        async { answer as Result<(), std::io::Error> }
    };
    let every = Duration::from_secs(10);
    let function = Definition::check("a", every, look).unwrap();
    core.define(function.clone()).await.unwrap();
    let (first, _) = next_record(&mut events).await;
    assert_eq!(first.outcome(), Outcome::Up);
    let (second, _) = next_record(&mut events).await;
    assert_eq!(second.outcome(), Outcome::Down);
    assert_eq!(second.fault().unwrap().reason(), Reason::Refused);
    assert_eq!(core.define(function).await.unwrap(), Defined::Unchanged);
    let slower = Definition::check("a", 2 * every, || async { Ok::<(), std::io::Error>(()) });
    assert_eq!(core.define(slower.unwrap()).await.unwrap(), Defined::Edited);
}
