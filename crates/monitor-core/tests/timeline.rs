//! What broke, one after another, in a monitor whose checks carry ids and are validated before they
//! are written: each defect as a test of the whole.
//!
//! | what broke there | here |
//! |---|---|
//! | rows of old had no list of what was in flight | `a_row_without_any_history_is_taken_as_it_is` |
//! | a timer that was set anew left the old one behind, which hit the wrong operation | `the_deadline_of_an_older_check_hits_nobody_else` |
//! | checks by hand had no timeout | `a_check_by_hand_has_its_timeout` |
//! | a check by hand during another was lost, or raced with it | `a_trigger_in_flight_coalesces` |
//! | a check that was called off counted as a failure | `a_check_that_was_called_off_is_no_failure` |
//! | blank ids; delays below zero and without end | `colliding_and_blank_ids_are_asked_for_again` of the operations, `settings_that_make_no_sense_change_nothing` |
//! | joined keys collided | `structured_keys_do_not_collide` of the operations |
//! | checks by hand went past the correlation | `one_check_at_a_time_whoever_asks` |
//! | a check that failed left its mark behind, and its monitor was blocked for ever | `whatever_a_check_did_the_next_one_comes` |
//! | history was written before the operation was validated; a deletion raced with a check | `history_and_status_never_disagree` |
//! | schedules of monitors that an import had replaced went on | `after_any_import_just_what_is_defined_is_checked` |
//! | transactions inside transactions | the suite of the stores: commits beside changes |

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use common::{Act, Puppet, core_on, definition, id, next_record};
use monitor_core::Defined;
use monitor_core::fault::Reason;
use monitor_core::model::{
    EventKind, MemoryStore, Observation, Outcome, Probe, ProbeContext, Store, Trigger,
};
use monitor_core::operation::Epoch;
use tokio::time::sleep;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// OPS-16: a monitor that was stored and never looked at has nothing that could be missing: it is
/// taken over and checked.
#[tokio::test(start_paused = true)]
async fn a_row_without_any_history_is_taken_as_it_is() {
    let store = Arc::new(MemoryStore::new());
    let probe = Puppet::new(Act::Up);
    let stored = definition("a", &probe).monitor;
    store.define(stored, Epoch::new(3)).await.unwrap();
    let core = core_on(Arc::clone(&store) as _).await;
    let mut events = core.subscribe();
    let defined = core.define(definition("a", &probe)).await.unwrap();
    assert_eq!(defined, Defined::Unchanged);
    let (record, status) = next_record(&mut events).await;
    assert_eq!(record.outcome(), Outcome::Up);
    assert_eq!((record.epoch, status.epoch), (Epoch::new(3), Epoch::new(3)));
}

/// OPS-20, OPS-22: a monitor is edited a second before the deadline of its check; the check that
/// follows has a deadline of its own, and passes that of the other unharmed.
#[tokio::test(start_paused = true)]
async fn the_deadline_of_an_older_check_hits_nobody_else() {
    let core = core_on(Arc::new(MemoryStore::new())).await;
    let probe = Puppet::new(Act::Wait);
    core.define(definition("a", &probe)).await.unwrap();
    probe.begun.notified().await;
    sleep(secs(1)).await;
    let mut patient = definition("a", &probe);
    patient.monitor.spec = "{\"patient\":true}".into();
    patient.settings.timeout = Some(secs(9));
    core.define(patient).await.unwrap();
    probe.begun.notified().await;
    let mut events = core.subscribe();
    sleep(secs(7)).await;
    probe.release.notify_one();
    let (record, _) = next_record(&mut events).await;
    assert_eq!(record.outcome(), Outcome::Up);
    assert!(record.took.unwrap() >= secs(7), "{record:?}");
    assert_eq!(probe.looks(), 2);
}

/// OPS-21, OPS-26, OPS-41: a check that somebody asked for ends at the timeout like any other.
#[tokio::test(start_paused = true)]
async fn a_check_by_hand_has_its_timeout() {
    let core = core_on(Arc::new(MemoryStore::new())).await;
    let probe = Puppet::new(Act::Up);
    let mut rare = definition("a", &probe);
    rare.settings.interval = secs(3600);
    let mut events = core.subscribe();
    core.define(rare).await.unwrap();
    next_record(&mut events).await;
    probe.will(Act::Never);
    assert!(core.trigger(&id("a")).will_run());
    let (record, _) = next_record(&mut events).await;
    assert_eq!(
        (record.trigger, record.outcome()),
        (Trigger::Manual, Outcome::Down)
    );
    assert_eq!(record.fault().unwrap().reason(), Reason::Timeout);
    assert_eq!(record.took, Some(secs(2)));
}

/// OPS-43: ten checks in flight, each called off by a pause: no result, no failure for backoff or
/// breaker, and after the last one the monitor is checked as if it were new.
#[tokio::test(start_paused = true)]
async fn a_check_that_was_called_off_is_no_failure() {
    let store = Arc::new(MemoryStore::new());
    let core = core_on(Arc::clone(&store) as _).await;
    let probe = Puppet::new(Act::Wait);
    let mut guarded = definition("a", &probe);
    guarded.settings.breaker = Some(monitor_core::breaker::Config::hardened());
    core.define(guarded).await.unwrap();
    for turn in 0..10 {
        probe.begun.notified().await;
        core.pause(&id("a")).await.unwrap();
        assert!(store.history(&id("a"), 10).await.unwrap().is_empty());
        if turn == 9 {
            probe.will(Act::Up);
        }
        core.resume(&id("a")).await.unwrap();
    }
    let mut events = core.subscribe();
    let (record, status) = next_record(&mut events).await;
    assert_eq!((record.outcome(), status.streak), (Outcome::Up, 1));
    let view = core.view(&id("a")).unwrap();
    let schedule = view.schedule.unwrap();
    assert_eq!((schedule.consecutive_failures, view.fenced), (0, 10));
    let breaker = view.breaker.unwrap();
    assert_eq!((breaker.consecutive_failures, breaker.epoch), (0, 0));
}

/// Counts who looks at the same time.
#[derive(Default)]
struct Alone {
    now: AtomicUsize,
    most: AtomicUsize,
    looks: AtomicUsize,
}

#[async_trait]
impl Probe for Alone {
    fn kind(&self) -> &'static str {
        "alone"
    }

    fn target(&self) -> String {
        "nobody".into()
    }

    async fn check(&self, _: &ProbeContext) -> Observation {
        self.looks.fetch_add(1, SeqCst);
        self.most
            .fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        self.now.fetch_sub(1, SeqCst);
        Observation::up()
    }
}

/// OPS-10, OPS-41, PRB-1: the timer, and a hundred who ask by hand from several threads: one check
/// at a time, and each that was promised is made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_check_at_a_time_whoever_asks() {
    let core = core_on(Arc::new(MemoryStore::new())).await;
    let probe = Arc::new(Alone::default());
    let mut alone = definition("a", &Puppet::new(Act::Up));
    alone.probe = Arc::clone(&probe) as _;
    alone.settings.interval = Duration::from_millis(100);
    core.define(alone).await.unwrap();
    let mut events = core.subscribe();
    let asks: Vec<_> = (0..100)
        .map(|_| {
            let core = core.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    assert!(core.trigger(&id("a")).will_run());
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for ask in asks {
        ask.await.unwrap();
    }
    assert!(core.trigger(&id("a")).will_run());
    let before = probe.looks.load(SeqCst);
    while probe.looks.load(SeqCst) <= before {
        next_record(&mut events).await;
    }
    assert_eq!(
        probe.most.load(SeqCst),
        1,
        "two checks of one target at once"
    );
}

/// PRB-36, OPS-29: whatever the last check did, the next one comes; and what was in flight when the
/// process was gone leaves no mark that would bar it afterwards.
#[tokio::test(start_paused = true)]
async fn whatever_a_check_did_the_next_one_comes() {
    let store = Arc::new(MemoryStore::new());
    let core = core_on(Arc::clone(&store) as _).await;
    let probe = Puppet::new(Act::Up);
    let mut events = core.subscribe();
    core.define(definition("a", &probe)).await.unwrap();
    for act in [Act::Panic, Act::Never, Act::Down, Act::Panic, Act::Up] {
        next_record(&mut events).await;
        probe.will(act);
        let looks = probe.looks();
        while probe.looks() == looks {
            sleep(Duration::from_millis(100)).await;
        }
    }
    next_record(&mut events).await;
    probe.will(Act::Never);
    assert!(core.trigger(&id("a")).will_run());
    sleep(Duration::from_millis(100)).await;
    drop((core, events)); // in the middle of a check, and nobody cleans up
    probe.will(Act::Up);
    let core = core_on(Arc::clone(&store) as _).await;
    let mut events = core.subscribe();
    let looks = probe.looks();
    core.define(definition("a", &probe)).await.unwrap();
    while next_record(&mut events).await.0.outcome() != Outcome::Up {}
    assert!(probe.looks() > looks);
}

/// OPS-17, OPS-43, S2: a check ends just as its monitor is paused, or deleted, at every step of
/// either: if the row was written the status shows it and it was told, and if not nobody did.
#[tokio::test(start_paused = true)]
async fn history_and_status_never_disagree() {
    let (mut written, mut refused) = (0, 0);
    for step in 0..40 {
        for deletes in [false, true] {
            let store = Arc::new(MemoryStore::new());
            let core = core_on(Arc::clone(&store) as _).await;
            let probe = Puppet::new(Act::Wait);
            let mut events = core.subscribe();
            core.define(definition("a", &probe)).await.unwrap();
            probe.begun.notified().await;
            probe.release.notify_one();
            for _ in 0..step {
                tokio::task::yield_now().await;
            }
            if deletes {
                assert!(core.delete(&id("a")).await.unwrap());
            } else {
                core.pause(&id("a")).await.unwrap();
            }
            sleep(secs(30)).await;
            let rows = store.history(&id("a"), 10).await.unwrap().len();
            let mut told = 0;
            while let Ok(event) = events.try_recv() {
                told += usize::from(matches!(event.kind, EventKind::Committed { .. }));
            }
            let stored = store.load().await.unwrap().monitors;
            if deletes {
                assert!(stored.is_empty() && rows == 0, "no row without its monitor");
                assert!(told <= 1);
            } else {
                let outcome = stored[0].status.outcome;
                assert_eq!((rows, outcome), (told, (rows == 1).then_some(Outcome::Up)));
                assert_eq!(core.view(&id("a")).unwrap().status.outcome, outcome);
            }
            written += told;
            refused += 1 - told;
        }
    }
    assert!(
        written > 0 && refused > 0,
        "{written} and {refused}: both orders were met"
    );
}

/// PRB-17, PRB-42: a set of monitors is replaced by another, again and again: what is scheduled,
/// and looked at, is what is defined.
#[tokio::test(start_paused = true)]
async fn after_any_import_just_what_is_defined_is_checked() {
    let core = core_on(Arc::new(MemoryStore::new())).await;
    let probes: Vec<_> = (0..60).map(|_| Puppet::new(Act::Up)).collect();
    let mut defined = BTreeSet::new();
    for import in 1..=6_usize {
        let wanted: BTreeSet<_> = (0..60).filter(|n| n * import % 7 < 3).collect();
        for gone in defined.difference(&wanted) {
            assert!(core.delete(&id(&format!("m{gone}"))).await.unwrap());
        }
        for number in &wanted {
            let mut kept = definition(&format!("m{number}"), &probes[*number]);
            kept.monitor.spec = format!("{{\"import\":{}}}", import / 2);
            core.define(kept).await.unwrap();
        }
        defined = wanted;
        let before: Vec<_> = probes.iter().map(|probe| probe.looks()).collect();
        sleep(secs(35)).await;
        for (number, probe) in probes.iter().enumerate() {
            let looks = probe.looks() - before[number];
            let expected = if defined.contains(&number) {
                2..=5 // the first at once, which may stand for a slot on its heels
            } else {
                0..=0
            };
            assert!(
                expected.contains(&looks),
                "m{number}: {looks} looks in import {import}"
            );
        }
        let scheduled: BTreeSet<_> = core.scheduler_status().scheduled.into_iter().collect();
        let wanted = defined
            .iter()
            .map(|number| id(&format!("m{number}")))
            .collect();
        assert_eq!(scheduled, wanted);
    }
}
