//! Paused monitors that are checked by hand, what a resume does to such a check, and what was due
//! while nobody was to look.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{Act, Moody, Puppet, core_on, definition, id, next, next_record};
use monitor_core::model::{
    EventKind, Lifecycle, MemoryStore, Observation, Outcome, Phases, Record, Store, Trigger,
    Unobserved,
};
use monitor_core::operation::{Cause, Epoch};
use monitor_core::scheduler::TriggerOutcome;
use monitor_core::{Core, Defined};
use tokio::time::sleep;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A monitor that was up, is paused, and whose next check goes on until it is released.
async fn paused(store: Arc<dyn Store>) -> (Core, Arc<Puppet>) {
    let core = Core::builder(store)
        .seed(7)
        .max_concurrent(NonZeroUsize::MIN)
        .start();
    let core = core.await.unwrap();
    let probe = Puppet::new(Act::Up);
    let mut events = core.subscribe();
    core.define(definition("a", &probe)).await.unwrap();
    next_record(&mut events).await;
    probe.begun.notified().await;
    core.pause(&id("a")).await.unwrap();
    probe.will(Act::Wait);
    (core, probe)
}

/// OPS-42: one more check that was promised and finds no room is on record, as one that was
/// asked for.
#[tokio::test(start_paused = true)]
async fn a_promised_check_that_finds_no_room_is_recorded() {
    let store = Arc::new(MemoryStore::new());
    let (core, probe) = paused(Arc::clone(&store) as _).await;
    assert_eq!(core.trigger(&id("a")), TriggerOutcome::Started);
    probe.begun.notified().await;
    assert_eq!(core.trigger(&id("a")), TriggerOutcome::Coalesced);
    let other = Puppet::new(Act::Wait);
    core.define(definition("b", &other)).await.unwrap();
    let mut events = core.subscribe();
    probe.release.notify_one();
    let (first, _) = next_record(&mut events).await;
    let (second, _) = next_record(&mut events).await;
    assert_eq!(
        (first.trigger, first.outcome()),
        (Trigger::Manual, Outcome::Up)
    );
    assert_eq!(
        (second.monitor.as_str(), second.trigger, second.reason()),
        ("a", Trigger::Manual, Some(Unobserved::Overload))
    );
    assert_eq!(probe.looks(), 2);
    assert_eq!(store.history(&id("a"), 10).await.unwrap().len(), 3);
    assert_eq!(core.view(&id("a")).unwrap().fenced, 0);
}

/// OPS-31, OPS-42: whoever resumes a monitor takes the right of a check by hand that goes on, under
/// another epoch; it is checked again, for he who asked was told that it is.
#[tokio::test(start_paused = true)]
async fn a_resume_checks_again_what_was_being_checked_by_hand() {
    let (core, probe) = paused(Arc::new(MemoryStore::new())).await;
    assert_eq!(core.trigger(&id("a")), TriggerOutcome::Started);
    probe.begun.notified().await;
    let mut events = core.subscribe();
    probe.will(Act::Down);
    core.resume(&id("a")).await.unwrap();
    let cause = next(&mut events, |kind| match kind {
        EventKind::Fenced { cause, .. } => Some(*cause),
        _ => None,
    });
    assert_eq!(cause.await, Cause::Superseded, "nobody has paused it");
    let (record, status) = next_record(&mut events).await;
    assert_eq!(
        (record.trigger, record.outcome(), record.epoch),
        (Trigger::Manual, Outcome::Down, status.epoch)
    );
    assert_eq!(status.lifecycle, Lifecycle::Active);
    let (record, _) = next_record(&mut events).await;
    assert_eq!(record.trigger, Trigger::Timer, "it goes on");
}

/// OPS-42: so it is where the store does not take the resume, and the monitor stays paused.
#[tokio::test(start_paused = true)]
async fn a_resume_that_fails_checks_again_all_the_same() {
    let store = Arc::new(Moody::default());
    let (core, probe) = paused(Arc::clone(&store) as _).await;
    assert_eq!(core.trigger(&id("a")), TriggerOutcome::Started);
    probe.begun.notified().await;
    assert_eq!(core.trigger(&id("a")), TriggerOutcome::Coalesced);
    let mut events = core.subscribe();
    probe.will(Act::Up);
    store.refuses.store(true, SeqCst);
    core.resume(&id("a")).await.unwrap_err();
    store.refuses.store(false, SeqCst);
    let (record, status) = next_record(&mut events).await;
    assert_eq!(
        (record.trigger, record.outcome()),
        (Trigger::Manual, Outcome::Up)
    );
    assert_eq!(status.lifecycle, Lifecycle::Paused);
    sleep(secs(60)).await;
    assert_eq!(probe.looks(), 3, "it stays paused");
}

/// OPS-42, ROB-33: who repairs a target and looks after each step sees it come and go; nobody is
/// told that it flaps.
#[tokio::test(start_paused = true)]
async fn checks_by_hand_of_a_paused_monitor_are_no_flapping() {
    let (core, probe) = paused(Arc::new(MemoryStore::new())).await;
    let mut events = core.subscribe();
    for turn in 0..20 {
        probe.will(if turn % 2 == 0 { Act::Down } else { Act::Up });
        assert_eq!(core.trigger(&id("a")), TriggerOutcome::Started);
        next(&mut events, |kind| match kind {
            EventKind::Committed { .. } => Some(()),
            EventKind::Flapping { .. } => panic!("it flaps after {turn} checks by hand"),
            _ => None,
        })
        .await;
        // Its permit comes back after the record.
        sleep(secs(1)).await;
    }
    assert_eq!(core.view(&id("a")).unwrap().flapping.percent(), 0);
}

/// OPS-1: a pause takes back the slots that passed during the check in flight. They are in
/// no history, and counted beside the result.
#[tokio::test(start_paused = true)]
async fn slots_that_a_pause_takes_back_are_counted() {
    let store = Arc::new(MemoryStore::new());
    let core = core_on(Arc::clone(&store) as _).await;
    let probe = Puppet::new(Act::Wait);
    let mut slow = definition("a", &probe);
    slow.settings.timeout = Some(secs(60));
    core.define(slow).await.unwrap();
    probe.begun.notified().await;
    sleep(secs(35)).await;
    let mut events = core.subscribe();
    core.pause(&id("a")).await.unwrap();
    let mut causes = Vec::new();
    for _ in 0..2 {
        let cause = next(&mut events, |kind| match kind {
            EventKind::Fenced { cause, .. } => Some(*cause),
            EventKind::Committed { record, .. } => panic!("it was written: {record:?}"),
            _ => None,
        });
        causes.push(cause.await.as_str());
    }
    causes.sort_unstable();
    assert_eq!(causes, ["paused", "superseded"], "the result and the slots");
    assert_eq!(core.view(&id("a")).unwrap().fenced, 2);
    assert!(store.history(&id("a"), 10).await.unwrap().is_empty());
}

/// A resumed monitor's due times count from then on, by the core's own time.
#[tokio::test(start_paused = true)]
async fn a_resume_says_from_when_due_times_count() {
    let store = Arc::new(MemoryStore::new());
    let (core, _) = paused(Arc::clone(&store) as _).await;
    let due_from = async || store.load().await.unwrap().monitors[0].due_from_unix_ms;
    assert_eq!(due_from().await, None);
    let last = store.history(&id("a"), 1).await.unwrap()[0]
        .record
        .due_unix_ms;
    sleep(secs(3600)).await;
    core.resume(&id("a")).await.unwrap();
    let after = due_from().await.unwrap() - last;
    assert_eq!(after / 3_600_000, 1, "{after} ms after its last due time");
}

/// OPS-16: paused for three weeks, resumed, and the process ended before the next check: the
/// next one records what was due since the resume, on the slots of the monitor, and not the pause.
#[tokio::test(start_paused = true)]
async fn a_restart_after_a_resume_does_not_record_the_pause() {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let wall = i64::try_from(wall.as_millis()).unwrap();
    for was_checked in [true, false] {
        let store = Arc::new(MemoryStore::new());
        let probe = Puppet::new(Act::Up);
        let definition = definition("a", &probe);
        let monitor = definition.monitor.clone();
        store.define(monitor, Epoch::new(1)).await.unwrap();
        if was_checked {
            let (due, seen) = (wall - 21 * 86_400_000 - 1234, Observation::up());
            let mut last = Record::observed(id("a"), Epoch::new(1), due, seen, Phases::default());
            last.interval_ms = 10_000;
            assert!(store.commit(last).await.unwrap().is_applied());
        }
        let resumed = wall - 95_000;
        for (lifecycle, epoch, due_from) in [
            (Lifecycle::Paused, 2, None),
            (Lifecycle::Active, 3, Some(resumed)),
        ] {
            let epoch = Epoch::new(epoch);
            let a = id("a");
            let set = store.set_lifecycle(&a, lifecycle, epoch, due_from);
            set.await.unwrap();
        }

        let core = core_on(Arc::clone(&store) as _).await;
        let mut events = core.subscribe();
        assert_eq!(core.define(definition).await.unwrap(), Defined::Unchanged);
        let (absent, _) = next_record(&mut events).await;
        assert_eq!(absent.reason(), Some(Unobserved::NotRunning));
        let first = absent.due_unix_ms - resumed;
        assert!(
            (0..10_000).contains(&first),
            "{first} ms after it was resumed"
        );
        assert!((9..=10).contains(&absent.slots), "{absent:?}");
        let (next, _) = next_record(&mut events).await;
        let slots = i64::from(absent.slots);
        assert_eq!(
            next.due_unix_ms,
            absent.due_unix_ms + slots * 10_000,
            "the next slot"
        );
    }
}
