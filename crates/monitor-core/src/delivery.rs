//! Records on their way to the store. None is lost silently: what the store cannot take now is
//! tried again until it can, and what shutdown cuts off is counted and told.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock, PoisonError, Weak};
use std::time::Duration;

use monitor_model::{
    Commit, EventKind, Lifecycle, MonitorId, Record, Refusal, StoreErrorKind, Stored, Unobserved,
};
use monitor_operation::Cause;
use monitor_scheduler::{Missed, MissedReason, Observer};

use crate::core::{Shared, unix_ms};
use crate::entry::Entry;
use crate::run::fenced;

/// Between two attempts to write what the store did not take.
const RETRY_EVERY: Duration = Duration::from_millis(250);

pub(crate) enum Delivery {
    /// Written and told.
    Applied,
    /// The right to write is gone.
    Refused(Cause),
    /// The store failed. Nothing was written.
    Failed,
}

/// Counts a record as undelivered for as long as it lives.
pub(crate) struct OnItsWay(Arc<Shared>);

impl OnItsWay {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        shared.undelivered.send_modify(|count| *count += 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.undelivered.send_modify(|count| *count -= 1);
    }
}

/// Offers a record to the store once.
pub(crate) async fn offer(shared: &Shared, entry: &Entry, record: &Record) -> Delivery {
    if !catch_up(shared, entry).await {
        return Delivery::Failed;
    }
    match shared.store.commit(record.clone()).await {
        Ok(Commit::Applied(applied)) => {
            shared.note_store_error(None);
            entry.applied(&applied);
            let changed = applied.status.outcome != applied.previous;
            shared.hub.publish(EventKind::Committed {
                record: Box::new(record.clone()),
                status: Box::new(applied.status),
                changed_from: changed.then_some(applied.previous),
            });
            Delivery::Applied
        }
        Ok(Commit::Refused(refusal)) => Delivery::Refused(match refusal {
            Refusal::Paused => Cause::Paused,
            Refusal::Gone => Cause::Deleted,
            _ => Cause::Superseded,
        }),
        Err(error) => {
            tracing::warn!(monitor = %record.monitor, %error, "a result waits for the store");
            shared.note_store_error(Some(error.to_string()));
            Delivery::Failed
        }
    }
}

/// Brings the row of a monitor up to the epoch that memory has, if a write of it failed before.
async fn catch_up(shared: &Shared, entry: &Entry) -> bool {
    if !entry.behind.load(Relaxed) {
        return true;
    }
    let status = entry.status();
    match shared
        .store
        .set_lifecycle(&status.monitor, status.lifecycle, status.epoch)
        .await
    {
        Ok(_) => {
            entry.behind.store(false, Relaxed);
            true
        }
        // Somebody has written this epoch or a newer one: it is not behind.
        Err(error) if error.kind == StoreErrorKind::Conflict => {
            entry.behind.store(false, Relaxed);
            true
        }
        Err(error) => {
            shared.note_store_error(Some(error.to_string()));
            false
        }
    }
}

/// Offers a record until the store has taken or refused it.
pub(crate) async fn insist(shared: &Shared, entry: &Entry, record: &Record) {
    loop {
        match offer(shared, entry, record).await {
            Delivery::Applied => return,
            Delivery::Refused(cause) => return fenced(shared, entry, cause),
            Delivery::Failed => tokio::time::sleep(RETRY_EVERY).await,
        }
    }
}

/// The due times of a monitor that nobody looked at, in the order in which they were told.
#[derive(Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<Record>,
    /// A task empties it.
    is_emptied: bool,
}

impl Outbox {
    /// Adds a record; one that continues the last one is merged into it, so that a store that fails
    /// for hours does not fill the memory.
    fn push(&mut self, record: Record) {
        if let Some(last) = self.waiting.back_mut() {
            let end = last.due_unix_ms + i64::from(last.slots) * last.interval_ms;
            if last.reason() == record.reason()
                && last.epoch == record.epoch
                && last.interval_ms == record.interval_ms
                && end == record.due_unix_ms
            {
                last.slots = last.slots.saturating_add(record.slots);
                return;
            }
        }
        self.waiting.push_back(record);
    }
}

fn send_out(shared: &Arc<Shared>, entry: &Arc<Entry>, record: Record) {
    let mut outbox = entry.outbox.lock().unwrap_or_else(PoisonError::into_inner);
    outbox.push(record);
    if std::mem::replace(&mut outbox.is_emptied, true) {
        return;
    }
    drop(outbox);
    let (shared, entry) = (Arc::clone(shared), Arc::clone(entry));
    tokio::spawn(async move {
        while let Some(record) = next(&entry) {
            let _on_its_way = OnItsWay::new(&shared);
            insist(&shared, &entry, &record).await;
        }
    });
}

fn next(entry: &Entry) -> Option<Record> {
    let mut outbox = entry.outbox.lock().unwrap_or_else(PoisonError::into_inner);
    let record = outbox.waiting.pop_front();
    outbox.is_emptied = record.is_some();
    record
}

/// Records the due times between the end of a monitor's history and now: the process was not
/// running. Returns the last due time that is accounted for, in unix milliseconds.
pub(crate) fn record_absence(
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    stored: &Stored,
) -> Option<i64> {
    let last = stored.last_due?;
    let step = last.interval_ms.max(1);
    let first = last.due_unix_ms + i64::from(last.slots) * step;
    let now = shared.unix_ms(shared.scheduler.now());
    if now < first || stored.status.lifecycle != Lifecycle::Active {
        return Some(first - step);
    }
    let slots = u32::try_from((now - first) / step + 1).unwrap_or(u32::MAX);
    let monitor = entry.definition.monitor.id.clone();
    let epoch = stored.status.epoch;
    let mut record = Record::unobserved(monitor, epoch, first, slots, Unobserved::NotRunning);
    record.interval_ms = step;
    send_out(shared, entry, record);
    Some(first + i64::from(slots - 1) * step)
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
            MissedReason::Shutdown => Unobserved::Shutdown,
            // Whoever paused, edited or deleted the monitor took its due times back with it.
            MissedReason::Withdrawn => return,
            _ => Unobserved::Stalled,
        };
        let due = unix_ms(missed.due.unix);
        let mut record = Record::unobserved(missed.key, missed.epoch, due, missed.slots, reason);
        record.interval_ms = unix_ms(missed.interval);
        send_out(&shared, &entry, record);
    }
}
