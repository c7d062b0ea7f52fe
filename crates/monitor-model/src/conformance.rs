//! The behaviour that every [`Store`] must show, as one suite to call from a test.
//!
//! ```
//! # async fn run() {
//! use std::sync::Arc;
//! use monitor_model::{MemoryStore, conformance};
//!
//! conformance::all(async || Arc::new(MemoryStore::new()) as _).await;
//! # }
//! ```
//!
//! Each behaviour gets an empty store of its own. A failed one panics with what was expected.

#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a test suite panics"
)]

use std::sync::Arc;
use std::time::Duration;

use monitor_fault::{Fault, Layer, Reason};
use monitor_operation::Epoch;

use crate::{
    Applied, Commit, Lifecycle, Monitor, MonitorId, Observation, Outcome, Phase, Phases, Record,
    Refusal, Source, Store, StoreErrorKind, Trigger, Unobserved,
};

mod faults;
mod incidents;

pub use self::faults::{Breakable, all_or_nothing};

const HOUR_MS: i64 = 3_600_000;

/// Runs every behaviour, each against a fresh, empty store from `open`.
pub async fn all(open: impl AsyncFn() -> Arc<dyn Store>) {
    an_empty_store_is_empty(&*open().await).await;
    what_is_committed_is_read_back(&*open().await).await;
    a_verdict_moves_the_status_and_nothing_else_does(&*open().await).await;
    inv_store_1_an_old_epoch_writes_nothing(&*open().await).await;
    a_paused_monitor_takes_only_what_was_checked_by_hand(&*open().await).await;
    a_resumed_monitor_remembers_from_when_its_due_times_count(&*open().await).await;
    a_deleted_monitor_is_gone_and_its_epoch_is_not_used_again(&*open().await).await;
    inv_store_2_a_due_time_has_one_record(&*open().await).await;
    an_edit_keeps_state_and_history(&*open().await).await;
    the_tally_counts_slots(&*open().await).await;
    history_is_bounded_and_oldest_first(&*open().await).await;
    history_is_in_order_of_due_times_not_of_arrival(&*open().await).await;
    monitors_do_not_touch_each_other(&*open().await).await;
    concurrent_commits_of_one_due_time_write_once(open().await).await;
    inv_store_1_nothing_older_is_written_after_a_stop_returns(open().await).await;
    incidents::inv_store_5_a_time_of_being_down_is_one_incident(&*open().await).await;
    incidents::an_incident_outlives_a_pause_and_ends_with_its_monitor(&*open().await).await;
    incidents::inv_store_6_a_notice_is_settled_by_its_holder(&*open().await).await;
    incidents::what_is_given_up_is_counted(&*open().await).await;
    incidents::counts_are_kept_by_minute_hour_and_day(&*open().await).await;
    a_closed_store_says_so(&*open().await).await;
}

/// An id for tests.
#[must_use]
pub fn id(text: &str) -> MonitorId {
    text.parse().unwrap()
}

/// A monitor for tests.
#[must_use]
pub fn monitor(text: &str) -> Monitor {
    Monitor {
        id: id(text),
        name: format!("Monitor {text}"),
        source: Source::Api,
        spec: format!(r#"{{"url":"http://{text}/"}}"#),
    }
}

/// An up record for tests.
#[must_use]
pub fn up(text: &str, epoch: u64, due_unix_ms: i64) -> Record {
    let observation = Observation::up().with_note("200 OK");
    Record::observed(
        id(text),
        Epoch::new(epoch),
        due_unix_ms,
        observation,
        Phases::default(),
    )
}

/// A down record for tests, with everything set that a record can carry.
#[must_use]
pub fn down(text: &str, epoch: u64, due_unix_ms: i64) -> Record {
    let fault = Fault::new(Layer::Connect, Reason::Refused).with_detail("127.0.0.1:1");
    let mut phases = Phases::default();
    phases.set(Phase::Resolve, Duration::from_micros(1_250));
    let observation = Observation::fault(fault);
    let mut record = Record::observed(
        id(text),
        Epoch::new(epoch),
        due_unix_ms,
        observation,
        phases,
    );
    record.interval_ms = 1000;
    record.started_unix_ms = due_unix_ms + 3;
    record.took = Some(Duration::from_micros(2_500));
    record
}

async fn applied(store: &dyn Store, record: Record) -> Applied {
    let commit = store.commit(record).await.unwrap();
    assert!(commit.is_applied(), "expected it to be applied: {commit:?}");
    match commit {
        Commit::Applied(applied) => applied,
        Commit::Refused(refusal) => {
            panic!("expected an applied commit, it was refused: {refusal:?}")
        }
    }
}

async fn refused(store: &dyn Store, record: Record) -> Refusal {
    let before = store.load().await.unwrap();
    let history = store.history(&record.monitor, 100).await.unwrap();
    let monitor = record.monitor.clone();
    let commit = store.commit(record).await.unwrap();
    assert!(!commit.is_applied(), "whatever the reason");
    match commit {
        Commit::Applied(applied) => panic!("expected a refusal, it was applied: {applied:?}"),
        Commit::Refused(refusal) => {
            assert_eq!(
                store.load().await.unwrap(),
                before,
                "a refused commit changed a status"
            );
            let after = store.history(&monitor, 100).await.unwrap();
            assert_eq!(after, history, "a refused commit changed the history");
            refusal
        }
    }
}

async fn an_empty_store_is_empty(store: &dyn Store) {
    assert_eq!(store.load().await.unwrap(), crate::Loaded::default());
    assert!(store.history(&id("a"), 10).await.unwrap().is_empty());
    assert_eq!(
        store.tally(&id("a"), 0).await.unwrap(),
        crate::Tally::default()
    );
    assert_eq!(refused(store, up("a", 1, 0)).await, Refusal::Gone);
    assert_eq!(
        store
            .set_lifecycle(&id("a"), Lifecycle::Paused, Epoch::new(2), None)
            .await
            .unwrap(),
        None
    );
    assert!(!store.delete(&id("a"), Epoch::new(2)).await.unwrap());
}

async fn what_is_committed_is_read_back(store: &dyn Store) {
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    let records = [
        up("a", 1, 1000),
        down("a", 1, 2000),
        Record::unobserved(id("a"), Epoch::new(1), 3000, 7, Unobserved::Stalled),
    ];
    let mut sequences = Vec::new();
    for record in &records {
        sequences.push(applied(store, record.clone()).await.sequence);
    }
    assert!(
        sequences.is_sorted_by(|a, b| a < b),
        "sequences rise: {sequences:?}"
    );
    let rows = store.history(&id("a"), 10).await.unwrap();
    assert_eq!(
        rows.iter().map(|row| row.sequence).collect::<Vec<_>>(),
        sequences
    );
    assert_eq!(
        rows.into_iter().map(|row| row.record).collect::<Vec<_>>(),
        records
    );
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.monitors[0].monitor, monitor("a"));
    let last = loaded.monitors[0].last_due.unwrap();
    assert_eq!((last.due_unix_ms, last.slots), (3000, 7));
}

async fn a_verdict_moves_the_status_and_nothing_else_does(store: &dyn Store) {
    let status = store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    assert_eq!(
        (status.outcome, status.lifecycle),
        (None, Lifecycle::Active)
    );
    let first = applied(store, up("a", 1, 1000)).await;
    assert_eq!(
        (first.previous, first.status.outcome),
        (None, Some(Outcome::Up))
    );
    let second = applied(store, up("a", 1, 2000)).await;
    assert_eq!(
        (second.previous, second.status.streak),
        (Some(Outcome::Up), 2)
    );
    assert_eq!(
        second.status.since_unix_ms,
        Some(1000),
        "since the first of the streak"
    );
    let third = applied(store, down("a", 1, 3000)).await;
    assert_eq!(
        (third.previous, third.status.streak),
        (Some(Outcome::Up), 1)
    );
    assert_eq!(
        third.status.fault.as_ref().map(Fault::reason),
        Some(Reason::Refused)
    );
    for (n, reason) in (0i64..).zip(Unobserved::ALL) {
        let record = Record::unobserved(id("a"), Epoch::new(1), 4000 + n, 1, reason);
        let after = applied(store, record).await;
        assert_eq!(
            after.status, third.status,
            "{reason} left the status as it was"
        );
    }
    assert_eq!(store.load().await.unwrap().monitors[0].status, third.status);
}

async fn inv_store_1_an_old_epoch_writes_nothing(store: &dyn Store) {
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    applied(store, up("a", 1, 1000)).await;
    store
        .set_lifecycle(&id("a"), Lifecycle::Paused, Epoch::new(2), None)
        .await
        .unwrap();
    store
        .set_lifecycle(&id("a"), Lifecycle::Active, Epoch::new(3), None)
        .await
        .unwrap();
    // Stopped and started again while the check ran: active, and yet not this check's turn.
    assert_eq!(refused(store, down("a", 1, 2000)).await, Refusal::Stale);
    assert_eq!(refused(store, down("a", 2, 2000)).await, Refusal::Stale);
    assert_eq!(refused(store, down("a", 4, 2000)).await, Refusal::Stale);
    applied(store, down("a", 3, 2000)).await;
    let before = store.load().await.unwrap();
    for old in [1, 3] {
        let error = store
            .define(monitor("a"), Epoch::new(old))
            .await
            .unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Conflict);
        let error = store
            .set_lifecycle(&id("a"), Lifecycle::Paused, Epoch::new(old), None)
            .await
            .unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Conflict);
        let error = store.delete(&id("a"), Epoch::new(old)).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Conflict);
    }
    let after = store.load().await.unwrap();
    assert_eq!(after, before, "who comes late ends nothing that is newer");
    applied(store, up("a", 3, 3000)).await;
}

async fn a_paused_monitor_takes_only_what_was_checked_by_hand(store: &dyn Store) {
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    let status = store
        .set_lifecycle(&id("a"), Lifecycle::Paused, Epoch::new(2), None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (status.lifecycle, status.epoch),
        (Lifecycle::Paused, Epoch::new(2))
    );
    assert_eq!(refused(store, up("a", 2, 1000)).await, Refusal::Paused);
    assert_eq!(refused(store, up("a", 1, 1000)).await, Refusal::Stale);
    let by_hand = |mut record: Record| {
        record.trigger = Trigger::Manual;
        record
    };
    let stale = by_hand(up("a", 1, 1000));
    assert_eq!(refused(store, stale).await, Refusal::Stale);
    let down = applied(store, by_hand(down("a", 2, 1000))).await;
    assert_eq!(
        (down.status.lifecycle, down.status.outcome, down.incident),
        (Lifecycle::Paused, Some(Outcome::Down), None),
        "it stays paused, and wakes nobody"
    );
    assert_eq!(store.history(&id("a"), 10).await.unwrap().len(), 1);
    assert!(store.incidents(&id("a"), 10).await.unwrap().is_empty());
    let again = by_hand(up("a", 2, 1000));
    assert_eq!(refused(store, again).await, Refusal::Duplicate);
}

async fn a_resumed_monitor_remembers_from_when_its_due_times_count(store: &dyn Store) {
    let known = async || store.load().await.unwrap().monitors[0].due_from_unix_ms;
    let set = async |lifecycle, epoch, due_from| {
        let (a, epoch) = (id("a"), Epoch::new(epoch));
        let changed = store.set_lifecycle(&a, lifecycle, epoch, due_from);
        changed.await.map(|status| status.unwrap().lifecycle)
    };
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    assert_eq!(known().await, None, "it was never resumed");
    set(Lifecycle::Paused, 2, None).await.unwrap();
    assert_eq!(known().await, None);
    set(Lifecycle::Active, 3, Some(5000)).await.unwrap();
    assert_eq!(known().await, Some(5000));
    let stale = set(Lifecycle::Active, 3, Some(1)).await.unwrap_err();
    assert_eq!(stale.kind, StoreErrorKind::Conflict);
    applied(store, up("a", 3, 6000)).await;
    set(Lifecycle::Paused, 4, None).await.unwrap();
    store.define(monitor("a"), Epoch::new(5)).await.unwrap();
    assert_eq!(known().await, Some(5000), "only who resumes changes it");
    set(Lifecycle::Active, 6, Some(-7)).await.unwrap();
    assert_eq!(known().await, Some(-7), "the clock was set back");
    store.delete(&id("a"), Epoch::new(7)).await.unwrap();
    store.define(monitor("a"), Epoch::new(8)).await.unwrap();
    assert_eq!(known().await, None, "a new life");
}

async fn a_deleted_monitor_is_gone_and_its_epoch_is_not_used_again(store: &dyn Store) {
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    applied(store, up("a", 1, 1000)).await;
    assert!(store.delete(&id("a"), Epoch::new(5)).await.unwrap());
    assert!(
        !store.delete(&id("a"), Epoch::new(6)).await.unwrap(),
        "deleted once"
    );
    assert_eq!(refused(store, up("a", 1, 2000)).await, Refusal::Gone);
    assert_eq!(refused(store, up("a", 5, 2000)).await, Refusal::Gone);
    let loaded = store.load().await.unwrap();
    assert!(loaded.monitors.is_empty());
    assert_eq!(loaded.graves, [(id("a"), Epoch::new(5))]);
    let error = store.define(monitor("a"), Epoch::new(5)).await.unwrap_err();
    assert_eq!(
        error.kind,
        StoreErrorKind::Conflict,
        "no epoch of the former life"
    );
    let status = store.define(monitor("a"), Epoch::new(6)).await.unwrap();
    assert_eq!(
        (status.outcome, status.lifecycle),
        (None, Lifecycle::Active),
        "a new life"
    );
    assert!(store.history(&id("a"), 10).await.unwrap().is_empty());
    assert_eq!(
        store.tally(&id("a"), 0).await.unwrap(),
        crate::Tally::default()
    );
    assert_eq!(refused(store, up("a", 1, 2000)).await, Refusal::Stale);
    assert!(store.load().await.unwrap().graves.is_empty());
}

async fn inv_store_2_a_due_time_has_one_record(store: &dyn Store) {
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    applied(store, up("a", 1, 1000)).await;
    assert_eq!(refused(store, down("a", 1, 1000)).await, Refusal::Duplicate);
    store
        .set_lifecycle(&id("a"), Lifecycle::Active, Epoch::new(2), None)
        .await
        .unwrap();
    assert_eq!(refused(store, down("a", 2, 1000)).await, Refusal::Duplicate);
    applied(store, up("a", 2, 1001)).await;
}

async fn an_edit_keeps_state_and_history(store: &dyn Store) {
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    applied(store, down("a", 1, 1000)).await;
    store
        .set_lifecycle(&id("a"), Lifecycle::Paused, Epoch::new(2), None)
        .await
        .unwrap();
    let edited = Monitor {
        name: "Ünïcode \u{1F600}".into(),
        spec: "{}".into(),
        ..monitor("a")
    };
    let status = store.define(edited.clone(), Epoch::new(3)).await.unwrap();
    assert_eq!(
        status.lifecycle,
        Lifecycle::Paused,
        "an edit does not resume"
    );
    assert_eq!(
        (status.outcome, status.epoch),
        (Some(Outcome::Down), Epoch::new(3))
    );
    let loaded = store.load().await.unwrap();
    assert_eq!(
        (&loaded.monitors[0].monitor, &loaded.monitors[0].status),
        (&edited, &status)
    );
    assert_eq!(store.history(&id("a"), 10).await.unwrap().len(), 1);
}

async fn the_tally_counts_slots(store: &dyn Store) {
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    applied(store, up("a", 1, 1000)).await;
    applied(store, up("a", 1, HOUR_MS + 1000)).await;
    applied(store, down("a", 1, HOUR_MS + 2000)).await;
    let missed = Record::unobserved(
        id("a"),
        Epoch::new(1),
        HOUR_MS + 3000,
        6,
        Unobserved::Overload,
    );
    applied(store, missed).await;
    let all = store.tally(&id("a"), 0).await.unwrap();
    assert_eq!((all.up, all.degraded, all.down, all.due), (2, 0, 1, 9));
    let late = store.tally(&id("a"), HOUR_MS + 1500).await.unwrap();
    assert_eq!((late.up, late.down, late.due), (1, 1, 8), "whole hours");
    assert_eq!(store.tally(&id("a"), 2 * HOUR_MS).await.unwrap().due, 0);
}

async fn history_is_bounded_and_oldest_first(store: &dyn Store) {
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    for due in 0..20 {
        applied(store, up("a", 1, due * 1000)).await;
    }
    let rows = store.history(&id("a"), 5).await.unwrap();
    let dues: Vec<_> = rows
        .iter()
        .map(|row| row.record.due_unix_ms / 1000)
        .collect();
    assert_eq!(dues, [15, 16, 17, 18, 19]);
    assert!(store.history(&id("a"), 0).await.unwrap().is_empty());
}

async fn history_is_in_order_of_due_times_not_of_arrival(store: &dyn Store) {
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    // Slots that passed during a check are known, and written, before its result.
    let mut missed = Record::unobserved(id("a"), Epoch::new(1), 2000, 3, Unobserved::InFlight);
    missed.interval_ms = 1000;
    applied(store, missed).await;
    applied(store, up("a", 1, 1000)).await;
    let rows = store.history(&id("a"), 10).await.unwrap();
    assert_eq!(
        rows.iter()
            .map(|row| row.record.due_unix_ms)
            .collect::<Vec<_>>(),
        [1000, 2000]
    );
    assert_eq!(
        store.history(&id("a"), 1).await.unwrap()[0]
            .record
            .due_unix_ms,
        2000
    );
    // A check asked for by hand has a due time of its own, inside the missed ones.
    applied(store, up("a", 1, 3500)).await;
    let last = store.load().await.unwrap().monitors[0].last_due.unwrap();
    assert_eq!(
        (last.due_unix_ms, last.slots, last.end_unix_ms()),
        (2000, 3, 4000)
    );
}

async fn monitors_do_not_touch_each_other(store: &dyn Store) {
    for name in ["b", "a"] {
        store.define(monitor(name), Epoch::new(1)).await.unwrap();
    }
    applied(store, up("a", 1, 1000)).await;
    applied(store, down("b", 1, 1000)).await;
    store
        .set_lifecycle(&id("b"), Lifecycle::Paused, Epoch::new(2), None)
        .await
        .unwrap();
    store.delete(&id("b"), Epoch::new(3)).await.unwrap();
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.monitors.len(), 1);
    assert_eq!(loaded.monitors[0].status.outcome, Some(Outcome::Up));
    applied(store, up("a", 1, 2000)).await;
}

async fn concurrent_commits_of_one_due_time_write_once(store: Arc<dyn Store>) {
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            store.commit(up("a", 1, 1000)).await.unwrap()
        }));
    }
    let mut written = 0;
    for task in tasks {
        match task.await.unwrap() {
            Commit::Applied(_) => written += 1,
            Commit::Refused(refusal) => assert_eq!(refusal, Refusal::Duplicate),
        }
    }
    assert_eq!(written, 1);
    assert_eq!(store.tally(&id("a"), 0).await.unwrap().due, 1);
}

/// Thirty-two commits are under way when each of two stops comes.
async fn inv_store_1_nothing_older_is_written_after_a_stop_returns(store: Arc<dyn Store>) {
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    let a = id("a");
    for (epoch, lifecycle) in [(1, Lifecycle::Paused), (3, Lifecycle::Active)] {
        let first = i64::try_from(epoch).unwrap() * 1_000_000;
        let commits: Vec<_> = (0..32)
            .map(|n| {
                let store = Arc::clone(&store);
                let record = up("a", epoch, first + n * 1000);
                tokio::spawn(async move { store.commit(record).await.unwrap() })
            })
            .collect();
        tokio::task::yield_now().await;
        let stop = store.set_lifecycle(&a, lifecycle, Epoch::new(epoch + 1), None);
        stop.await.unwrap();
        let written = store.history(&a, 100).await.unwrap();
        let mut told = 0;
        for commit in commits {
            match commit.await.unwrap() {
                Commit::Applied(_) => told += 1,
                Commit::Refused(refusal) => assert_eq!(refusal, Refusal::Stale),
            }
        }
        let after = store.history(&a, 100).await.unwrap();
        assert_eq!(after, written, "written after the stop had returned");
        let before = written.iter().filter(|row| row.record.due_unix_ms >= first);
        assert_eq!(before.count(), told, "what was told is there");
        let start = store.set_lifecycle(&a, Lifecycle::Active, Epoch::new(epoch + 2), None);
        start.await.unwrap();
    }
}

async fn a_closed_store_says_so(store: &dyn Store) {
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    store.close().await.unwrap();
    store.close().await.unwrap();
    let error = store.commit(up("a", 1, 1000)).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Closed);
    assert_eq!(store.load().await.unwrap_err().kind, StoreErrorKind::Closed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    /// OPS-17, OPS-18, OPS-28, OPS-31, OPS-32: the plain store shows every behaviour.
    #[tokio::test]
    async fn inv_store_1_inv_store_2_the_memory_store_conforms() {
        all(async || Arc::new(MemoryStore::new()) as Arc<dyn Store>).await;
    }
}
