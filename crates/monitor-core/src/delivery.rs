//! Records on their way to the store. None is lost silently: what the store cannot take now is
//! tried again until it can, and what shutdown cuts off is counted and told.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Acquire;
use std::sync::{Arc, OnceLock, PoisonError, Weak};
use std::time::Duration;

use monitor_model::{
    Commit, EventKind, Held, LastDue, Lifecycle, MonitorId, Record, Refusal, Status, StoreError,
    StoreErrorKind, Stored, Trigger, Unobserved,
};
use monitor_operation::Cause;
use monitor_scheduler::{Missed, MissedReason, Observer, TriggerOutcome};

use crate::entry::{Entry, Row};
use crate::run;
use crate::shared::{Shared, unix_ms};

/// Between two attempts to write what the store did not take.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// How often the clock may be set back across the same time before its results are refused.
const CLOCK_SET_BACK: u32 = 16;

pub(crate) enum Delivery {
    /// Written and told.
    Applied,
    /// The right to write is gone.
    Refused(Cause),
    /// The store failed. Nothing was written.
    Failed,
}

/// Counts a record as undelivered, and its bytes as its monitor's, for as long as it lives.
pub(crate) struct OnItsWay {
    shared: Arc<Shared>,
    _bytes: Held,
}

impl OnItsWay {
    pub(crate) fn new(shared: &Arc<Shared>, entry: &Entry, record: &Record) -> Self {
        shared.undelivered.send_modify(|count| *count += 1);
        Self {
            shared: Arc::clone(shared),
            _bytes: entry.footprint.hold(bytes(record)),
        }
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.shared.undelivered.send_modify(|count| *count -= 1);
    }
}

/// What a record takes, with its texts.
fn bytes(record: &Record) -> usize {
    let detail = record.fault().and_then(|fault| fault.detail());
    let texts = record.note().into_iter().chain(detail);
    size_of_val(record) + texts.map(str::len).sum::<usize>()
}

/// Offers a record to the store once.
pub(crate) async fn offer(shared: &Shared, entry: &Entry, record: &Record) -> Delivery {
    let mut row = entry.row.lock().await;
    let written = match catch_up(shared, entry, &mut row).await {
        Ok(()) => write(shared, record.clone()).await,
        Err(error) => Err(error),
    };
    shared.note_store(written.as_ref().err());
    match written {
        Ok((record, Commit::Applied(applied))) => {
            // Who repairs it looks by hand, over and over: that is no coming and going.
            let is_active = applied.status.lifecycle == Lifecycle::Active;
            let flapping = is_active.then(|| entry.saw(record.outcome())).flatten();
            let changed = applied.status.outcome != applied.previous;
            entry.wrote(&mut row, applied.status.clone());
            shared.hub.publish(EventKind::Committed {
                record: Box::new(record),
                status: Box::new(applied.status),
                changed_from: changed.then_some(applied.previous),
            });
            if let Some(flapping) = flapping {
                shared.hub.publish(EventKind::Flapping {
                    monitor: entry.definition.monitor.id.clone(),
                    is_flapping: flapping.is_flapping(),
                    percent: flapping.percent(),
                });
            }
            Delivery::Applied
        }
        Ok((_, Commit::Refused(refusal))) => Delivery::Refused(match refusal {
            Refusal::Paused => Cause::Paused,
            Refusal::Gone => Cause::Deleted,
            _ => Cause::Superseded,
        }),
        Err(error) => {
            tracing::debug!(monitor = %record.monitor, %error, "a record waits for the store");
            Delivery::Failed
        }
    }
}

/// Commits a record, and returns it as it was written.
///
/// The due times of a process rise, so that one which has its record already means that the clock
/// was set back between two processes. What was seen is kept all the same, a millisecond beside
/// the record of the former time; that nobody looked is not worth a second one.
async fn write(shared: &Shared, mut record: Record) -> Result<(Record, Commit), StoreError> {
    for _ in 0..CLOCK_SET_BACK {
        let commit = shared.store.commit(record.clone()).await?;
        if commit != Commit::Refused(Refusal::Duplicate) || record.operation.is_none() {
            return Ok((record, commit));
        }
        record.due_unix_ms = record.due_unix_ms.saturating_add(1);
    }
    Ok((record, Commit::Refused(Refusal::Duplicate)))
}

/// Brings the row of a monitor up to the epoch that memory has, if a write of it failed before.
pub(crate) async fn catch_up(
    shared: &Shared,
    entry: &Entry,
    row: &mut Row,
) -> Result<(), StoreError> {
    if row.is_behind {
        let Status {
            monitor,
            lifecycle,
            epoch,
            ..
        } = entry.status();
        match shared
            .store
            .set_lifecycle(&monitor, lifecycle, epoch, None)
            .await
        {
            // Somebody has written this epoch or a newer one: it is not behind.
            Err(error) if error.kind != StoreErrorKind::Conflict => return Err(error),
            _ => row.is_behind = false,
        }
    }
    Ok(())
}

/// Offers a record until the store has taken or refused it, or the core is over. Returns why it
/// was refused.
pub(crate) async fn insist(shared: &Shared, entry: &Entry, record: &Record) -> Option<Cause> {
    loop {
        match offer(shared, entry, record).await {
            Delivery::Applied => return None,
            Delivery::Refused(cause) => return Some(cause),
            Delivery::Failed if shared.is_over.load(Acquire) => return None,
            Delivery::Failed => tokio::time::sleep(RETRY_EVERY).await,
        }
    }
}

/// The due times of a monitor that nobody looked at, in the order in which they were told.
#[derive(Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<(Record, OnItsWay)>,
    /// A task empties it.
    is_emptied: bool,
}

impl Outbox {
    /// Adds a record; one that continues the last one is merged into it, so that a store that fails
    /// for hours does not fill the memory, and its own count comes back.
    fn push(&mut self, record: Record, on_its_way: OnItsWay) -> Option<OnItsWay> {
        if let Some((last, _)) = self.waiting.back_mut()
            && continues(&record, last)
        {
            last.slots = last.slots.saturating_add(record.slots);
            return Some(on_its_way);
        }
        self.waiting.push_back((record, on_its_way));
        None
    }
}

/// Whether the due times of `record` follow those of `last`, and the same became of them.
fn continues(record: &Record, last: &Record) -> bool {
    let end = LastDue::of(last).end_unix_ms();
    last.reason() == record.reason()
        && last.epoch == record.epoch
        && last.trigger == record.trigger
        && last.interval_ms == record.interval_ms
        && end.saturating_add(last.interval_ms) == record.due_unix_ms
}

fn send_out(shared: &Arc<Shared>, entry: &Arc<Entry>, record: Record) {
    let on_its_way = OnItsWay::new(shared, entry, &record);
    let mut outbox = entry.outbox.lock().unwrap_or_else(PoisonError::into_inner);
    let merged = outbox.push(record, on_its_way);
    let is_emptied = std::mem::replace(&mut outbox.is_emptied, true);
    drop(outbox);
    drop(merged); // under no lock: it wakes who waits for the count
    if is_emptied {
        return;
    }
    let (shared, entry) = (Arc::clone(shared), Arc::clone(entry));
    // The scheduler's driver, which tells what was missed, may have a runtime of its own that ends
    // with it.
    shared.runtime.clone().spawn(async move {
        while let Some((record, _on_its_way)) = next(&entry) {
            if let Some(cause) = insist(&shared, &entry, &record).await {
                tracing::debug!(monitor = %record.monitor, %cause, "missed due times are not recorded");
                run::fenced(&shared, &entry, cause);
            }
        }
    });
}

fn next(entry: &Entry) -> Option<(Record, OnItsWay)> {
    let mut outbox = entry.outbox.lock().unwrap_or_else(PoisonError::into_inner);
    let next = outbox.waiting.pop_front();
    outbox.is_emptied = next.is_some();
    next
}

/// Records the due times between the end of a monitor's history and now: the process was not
/// running. Returns the last due time that is accounted for, in unix milliseconds.
pub(crate) fn record_absence(
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    stored: &Stored,
) -> Option<i64> {
    let end = stored.last_due.map(|last| last.end_unix_ms());
    let now = shared.unix_ms(shared.scheduler.now());
    let absent = first_unseen(entry, stored)
        .filter(|(first, _)| *first <= now && stored.status.lifecycle == Lifecycle::Active);
    let Some((first, step)) = absent else {
        return end;
    };
    let slots = u32::try_from((now.saturating_sub(first)) / step + 1).unwrap_or(u32::MAX);
    let monitor = entry.definition.monitor.id.clone();
    let epoch = entry.status().epoch;
    let mut record = Record::unobserved(monitor, epoch, first, slots, Unobserved::NotRunning);
    record.interval_ms = step;
    send_out(shared, entry, record);
    Some(first.saturating_add(i64::from(slots - 1).saturating_mul(step)))
}

/// The first due time after the end of a monitor's history, and the distance of those that follow.
/// What was due before it was last resumed was promised to nobody: then its slots count from there.
fn first_unseen(entry: &Entry, stored: &Stored) -> Option<(i64, i64)> {
    let end = stored.last_due.map(|last| last.end_unix_ms());
    if let Some(from) = stored.due_from_unix_ms.filter(|from| end < Some(*from)) {
        let spec = entry.definition.settings.spec().build().ok()?;
        let from = Duration::from_millis(u64::try_from(from).unwrap_or(0));
        let slot = spec.slot_at_or_after(&entry.definition.monitor.id, from);
        return Some((unix_ms(slot), unix_ms(spec.interval())));
    }
    let step = stored.last_due?.interval_ms.max(1);
    Some((end?.saturating_add(step), step))
}

/// Checks a monitor again whose check by hand a change has called off: it was promised. Where it
/// comes to nothing after all, that is recorded.
pub(crate) fn check_again(shared: &Arc<Shared>, entry: &Arc<Entry>) {
    let monitor = entry.definition.monitor.id.clone();
    let reason = match shared.scheduler.trigger(&monitor) {
        TriggerOutcome::Skipped => Unobserved::Overload,
        TriggerOutcome::ShutDown => Unobserved::Shutdown,
        _ => return,
    };
    let (epoch, due) = (entry.status().epoch, shared.unix_ms(shared.scheduler.now()));
    let mut record = Record::unobserved(monitor, epoch, due, 1, reason);
    record.interval_ms = unix_ms(entry.definition.settings.interval);
    record.trigger = Trigger::Manual;
    send_out(shared, entry, record);
}

/// Hears from the scheduler what was due and did not run.
pub(crate) struct Misses(OnceLock<Weak<Shared>>);

impl Misses {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Once, when the core stands; before that nothing is scheduled.
    pub(crate) fn attach(&self, shared: &Arc<Shared>) {
        let _ = self.0.set(Arc::downgrade(shared));
    }
}

impl Observer<MonitorId> for Misses {
    fn missed(&self, missed: Missed<MonitorId>) {
        let Some(shared) = self.0.get().and_then(Weak::upgrade) else {
            return;
        };
        let Some(entry) = shared.entry(&missed.key) else {
            return;
        };
        let reason = match missed.reason {
            MissedReason::InFlight => Unobserved::InFlight,
            MissedReason::Overload | MissedReason::Refused => Unobserved::Overload,
            MissedReason::Shed => Unobserved::Shed,
            MissedReason::Stretched => Unobserved::Stretched,
            MissedReason::Suspended => Unobserved::Suspended,
            MissedReason::Shutdown => Unobserved::Shutdown,
            // Whoever paused, edited or deleted the monitor took its due times back with it.
            MissedReason::Withdrawn => return,
            _ => Unobserved::Stalled,
        };
        let due = unix_ms(missed.due.unix);
        let mut record = Record::unobserved(missed.key, missed.epoch, due, missed.slots, reason);
        record.interval_ms = unix_ms(missed.interval);
        record.trigger = run::trigger(missed.trigger);
        send_out(&shared, &entry, record);
    }
}

#[cfg(test)]
mod unit {
    use monitor_operation::Epoch;

    use super::*;

    /// OPS-42: a due time that somebody asked for is a line of its own, though it came to nothing for
    /// the same reason as the slot before it: a paused monitor takes the one and not the other.
    #[test]
    fn only_what_was_set_off_alike_is_one_record() -> Result<(), monitor_model::InvalidId> {
        let id: MonitorId = "a".parse()?;
        let of = |epoch, due, trigger| {
            let epoch = Epoch::new(epoch);
            let mut record = Record::unobserved(id.clone(), epoch, due, 2, Unobserved::Overload);
            record.interval_ms = 1000;
            record.trigger = trigger;
            record
        };
        let last = of(1, 5000, Trigger::Timer);
        assert!(continues(&of(1, 7000, Trigger::Timer), &last));
        assert!(!continues(&of(1, 7000, Trigger::Manual), &last));
        assert!(!continues(&of(2, 7000, Trigger::Timer), &last));
        assert!(!continues(&of(1, 7001, Trigger::Timer), &last));
        let by_hand = of(1, 5000, Trigger::Manual);
        assert!(!continues(&of(1, 7000, Trigger::Timer), &by_hand));
        Ok(())
    }
}
