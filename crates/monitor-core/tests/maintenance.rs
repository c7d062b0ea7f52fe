//! Somebody works on the target, or it comes and goes: neither is a failure like others.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{Act, Puppet, core_on, definition, id, next, next_record};
use monitor_core::model::{EventKind, MemoryStore, Outcome, Rating, Store, Trigger, Unobserved};
use monitor_core::{Definition, Maintenance, Window};

/// Monday to Sunday, all day: there is a time of maintenance whenever this runs.
fn always() -> Maintenance {
    let window: Window = "daily 00:00-24:00".parse().unwrap();
    [window].into_iter().collect()
}

fn under_maintenance(name: &str, probe: &Arc<Puppet>) -> Definition {
    let mut definition = definition(name, probe);
    definition.settings.maintenance = always();
    definition
}

/// ROB-33: while somebody works on a target that is down nobody looks: each due time is suppressed
/// by maintenance, is no verdict, no failure and no part of the health of all.
#[tokio::test(start_paused = true)]
async fn maintenance_is_no_failure() {
    let store = Arc::new(MemoryStore::new());
    let core = core_on(Arc::clone(&store) as _).await;
    let (worked_on, well) = (Puppet::new(Act::Down), Puppet::new(Act::Up));
    let mut events = core.subscribe();
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    core.define(under_maintenance("a", &worked_on))
        .await
        .unwrap();
    for _ in 0..5 {
        let (record, status) = next_record(&mut events).await;
        let seen = (record.outcome(), record.reason(), record.took);
        let suppressed = Some(Unobserved::Maintenance);
        assert_eq!(seen, (Outcome::Suppressed, suppressed, None));
        assert_eq!((status.outcome, status.streak), (None, 0));
    }
    assert_eq!(worked_on.looks(), 0, "nobody looks");
    let view = core.view(&id("a")).unwrap();
    let until = view.maintenance_until.unwrap();
    assert!(wall < until && until - wall < Duration::from_secs(2 * 86_400));
    assert_eq!(view.schedule.unwrap().consecutive_failures, 0);
    let tally = store.tally(&id("a"), 0).await.unwrap();
    assert_eq!((tally.due, tally.observed()), (5, 0), "neither up nor down");
    assert_eq!(
        (core.health().total, core.health().rating),
        (0, Rating::Healthy)
    );
    core.define(definition("b", &well)).await.unwrap();
    while core.view(&id("b")).unwrap().status.outcome.is_none() {
        events.recv().await.unwrap();
    }
    assert_eq!((core.health().total, core.health().up), (1, 1));
}

/// ROB-33: who works there checks by hand whether he is done.
#[tokio::test(start_paused = true)]
async fn a_check_by_hand_is_made_during_maintenance() {
    let core = core_on(Arc::new(MemoryStore::new())).await;
    let probe = Puppet::new(Act::Up);
    let mut events = core.subscribe();
    core.define(under_maintenance("a", &probe)).await.unwrap();
    next_record(&mut events).await;
    let _ = core.trigger(&id("a"));
    let (record, status) = next_record(&mut events).await;
    assert_eq!(
        (record.trigger, record.outcome()),
        (Trigger::Manual, Outcome::Up)
    );
    assert_eq!((probe.looks(), status.outcome), (1, Some(Outcome::Up)));
}

/// ROB-33: when the time is over it is looked at again, and a failure is a failure.
#[tokio::test(start_paused = true)]
async fn after_maintenance_a_failure_counts() {
    let core = core_on(Arc::new(MemoryStore::new())).await;
    let probe = Puppet::new(Act::Down);
    let mut events = core.subscribe();
    core.define(under_maintenance("a", &probe)).await.unwrap();
    let (record, _) = next_record(&mut events).await;
    assert_eq!(record.outcome(), Outcome::Suppressed);
    let mut over = definition("a", &probe);
    over.monitor.spec = "{\"maintenance\":[]}".into();
    core.define(over).await.unwrap();
    let (record, status) = next_record(&mut events).await;
    assert_eq!(
        (record.outcome(), status.outcome),
        (Outcome::Down, Some(Outcome::Down))
    );
    assert_eq!(core.view(&id("a")).unwrap().maintenance_until, None);
}

/// ROB-33: a target that comes and goes is told to flap once, and to have ceased to once; one that
/// is down is not. The verdicts stay what they are.
#[tokio::test(start_paused = true)]
async fn flapping_is_told_apart_from_failure() {
    let core = core_on(Arc::new(MemoryStore::new())).await;
    let (flaps, is_down) = (Puppet::new(Act::Up), Puppet::new(Act::Down));
    let mut events = core.subscribe();
    core.define(definition("flaps", &flaps)).await.unwrap();
    core.define(definition("is-down", &is_down)).await.unwrap();
    let mut verdicts = 0;
    let begun = next(&mut events, |kind| match kind {
        EventKind::Committed { record, .. } if record.monitor == id("flaps") => {
            verdicts += 1;
            flaps.will(if verdicts % 2 == 1 {
                Act::Down
            } else {
                Act::Up
            });
            None
        }
        EventKind::Flapping {
            monitor,
            is_flapping,
            percent,
        } => Some((monitor.clone(), *is_flapping, *percent)),
        _ => None,
    });
    let (monitor, is_flapping, percent) = begun.await;
    assert_eq!((monitor, is_flapping, percent), (id("flaps"), true, 35));
    let view = core.view(&id("flaps")).unwrap();
    assert!(view.flapping.is_flapping() && view.status.outcome.is_some());
    flaps.will(Act::Up);
    let ended = next(&mut events, |kind| match kind {
        EventKind::Flapping {
            monitor,
            is_flapping,
            ..
        } => Some((monitor.clone(), *is_flapping)),
        _ => None,
    });
    assert_eq!(ended.await, (id("flaps"), false));
    assert!(!core.view(&id("flaps")).unwrap().flapping.is_flapping());
    let down = core.view(&id("is-down")).unwrap();
    assert!(!down.flapping.is_flapping() && down.flapping.percent() == 0);
    assert_eq!(down.status.outcome, Some(Outcome::Down));
}
