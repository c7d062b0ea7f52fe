//! A store that forgets: for tests, and for embedding where history need not survive.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use monitor_operation::Epoch;

use crate::{
    Applied, Bucket, Commit, Defect, Delivery, HistoryRow, Incident, LastDue, Lifecycle, Loaded,
    Monitor, MonitorId, Outbox, Record, Refusal, Resolution, Settlement, Status, Store, StoreError,
    StoreErrorKind, Stored, Tally,
};

use outbox::Notices;

mod doctor;
mod outbox;

/// A [`Store`] in memory, bounded: of a monitor the last 1000 records and incidents, 48 hours by
/// minutes, 90 days by hours and two years by days.
///
/// It is also the plainest statement of what a store does: the conformance suite runs against it,
/// and durable stores are compared with it.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    closed: bool,
    sequence: u64,
    monitors: BTreeMap<MonitorId, Entry>,
    graves: BTreeMap<MonitorId, Epoch>,
    notices: Notices,
}

#[derive(Debug)]
struct Entry {
    monitor: Monitor,
    status: Status,
    due_from_unix_ms: Option<i64>,
    history: VecDeque<HistoryRow>,
    /// By start, one map for each [`Resolution`].
    buckets: [BTreeMap<i64, Bucket>; 3],
    /// By id. The last is the one that is open, if any.
    incidents: VecDeque<Incident>,
}

const HISTORY_MAX: usize = 1000;
const INCIDENTS_MAX: usize = 1000;

const fn buckets_max(resolution: Resolution) -> usize {
    match resolution {
        Resolution::Minute => 48 * 60,
        Resolution::Hour => 90 * 24,
        Resolution::Day => 2 * 365,
    }
}

impl Entry {
    fn new(monitor: Monitor, epoch: Epoch) -> Self {
        Self {
            status: Status::new(monitor.id.clone(), Lifecycle::Active, epoch),
            monitor,
            due_from_unix_ms: None,
            history: VecDeque::new(),
            buckets: Default::default(),
            incidents: VecDeque::new(),
        }
    }

    fn open_incident(&self) -> Option<&Incident> {
        self.incidents.back().filter(|last| last.closed.is_none())
    }

    /// Counts the record, in every resolution.
    fn count(&mut self, record: &Record) {
        for (resolution, buckets) in Resolution::ALL.into_iter().zip(&mut self.buckets) {
            let bucket = Bucket::of(record, resolution);
            buckets
                .entry(bucket.start_unix_ms)
                .and_modify(|known| known.merge(&bucket))
                .or_insert(bucket);
            while buckets.len() > buckets_max(resolution) {
                buckets.pop_first();
            }
        }
    }

    /// Replaces the open incident, or adds one.
    fn put(&mut self, incident: Incident) {
        self.incidents.pop_back_if(|last| last.id == incident.id);
        self.incidents.push_back(incident);
        while self.incidents.len() > INCIDENTS_MAX {
            self.incidents.pop_front();
        }
    }

    fn buckets(&self, resolution: Resolution, unix_ms: Range<i64>) -> Vec<Bucket> {
        let start = resolution.start_of(unix_ms.start);
        let range = start..unix_ms.end.max(start);
        let buckets = &self.buckets[resolution as usize];
        buckets.range(range).map(|(_, bucket)| *bucket).collect()
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn open(&self, action: &'static str) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(error(action, StoreErrorKind::Closed, "it is closed"));
        }
        Ok(state)
    }
}

fn error(action: &'static str, kind: StoreErrorKind, text: &str) -> StoreError {
    StoreError {
        action,
        kind,
        source: text.into(),
    }
}

fn newer(action: &'static str, standing: Option<Epoch>, epoch: Epoch) -> Result<(), StoreError> {
    match standing {
        Some(standing) if standing >= epoch => {
            let text = format!("epoch {} is not newer than {}", epoch.get(), standing.get());
            Err(error(action, StoreErrorKind::Conflict, &text))
        }
        _ => Ok(()),
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self) -> Result<Loaded, StoreError> {
        let state = self.open("load")?;
        let stored = |entry: &Entry| Stored {
            monitor: entry.monitor.clone(),
            status: entry.status.clone(),
            last_due: entry
                .history
                .iter()
                .map(|row| LastDue::of(&row.record))
                .max_by_key(|last| (last.end_unix_ms(), last.due_unix_ms)),
            due_from_unix_ms: entry.due_from_unix_ms,
        };
        Ok(Loaded {
            monitors: state.monitors.values().map(stored).collect(),
            graves: state
                .graves
                .iter()
                .map(|(id, epoch)| (id.clone(), *epoch))
                .collect(),
        })
    }

    async fn define(&self, monitor: Monitor, epoch: Epoch) -> Result<Status, StoreError> {
        let mut state = self.open("define a monitor")?;
        let id = monitor.id.clone();
        let standing = state.monitors.get(&id).map(|entry| entry.status.epoch);
        newer(
            "define a monitor",
            standing.or(state.graves.get(&id).copied()),
            epoch,
        )?;
        state.graves.remove(&id);
        let new = || Entry::new(monitor.clone(), epoch);
        let entry = state.monitors.entry(id).or_insert_with(new);
        entry.monitor = monitor;
        entry.status.epoch = epoch;
        Ok(entry.status.clone())
    }

    async fn set_lifecycle(
        &self,
        id: &MonitorId,
        lifecycle: Lifecycle,
        epoch: Epoch,
        due_from_unix_ms: Option<i64>,
    ) -> Result<Option<Status>, StoreError> {
        let mut state = self.open("change a monitor")?;
        let Some(entry) = state.monitors.get_mut(id) else {
            return Ok(None);
        };
        newer("change a monitor", Some(entry.status.epoch), epoch)?;
        entry.status.epoch = epoch;
        entry.status.lifecycle = lifecycle;
        entry.due_from_unix_ms = due_from_unix_ms.or(entry.due_from_unix_ms);
        if let Some(open) = entry.open_incident() {
            entry.put(open.under(lifecycle));
        }
        Ok(Some(entry.status.clone()))
    }

    async fn delete(&self, id: &MonitorId, epoch: Epoch) -> Result<bool, StoreError> {
        let mut state = self.open("delete a monitor")?;
        let Some(entry) = state.monitors.get(id) else {
            return Ok(false);
        };
        newer("delete a monitor", Some(entry.status.epoch), epoch)?;
        let closed = entry
            .open_incident()
            .map(|open| open.deleted(&entry.status));
        state.monitors.remove(id);
        state.graves.insert(id.clone(), epoch);
        state.notices.extend(closed);
        Ok(true)
    }

    async fn commit(&self, record: Record) -> Result<Commit, StoreError> {
        let mut state = self.open("commit a record")?;
        let sequence = state.sequence + 1;
        let Some(entry) = state.monitors.get_mut(&record.monitor) else {
            return Ok(Commit::Refused(Refusal::Gone));
        };
        let Status {
            epoch, lifecycle, ..
        } = entry.status;
        if let Some(refusal) = Refusal::of((record.epoch, record.trigger), (epoch, lifecycle)) {
            return Ok(Commit::Refused(refusal));
        }
        // By due time, not by arrival: what was missed during a check is written before its result.
        let place = entry
            .history
            .partition_point(|row| row.record.due_unix_ms < record.due_unix_ms);
        let next = entry.history.get(place);
        if next.is_some_and(|row| row.record.due_unix_ms == record.due_unix_ms) {
            return Ok(Commit::Refused(Refusal::Duplicate));
        }
        let previous = entry.status.outcome;
        entry.status = entry.status.after(&record);
        entry.count(&record);
        let incident = Incident::after(entry.open_incident(), lifecycle, &record, sequence);
        incident.clone().into_iter().for_each(|it| entry.put(it));
        entry.history.insert(place, HistoryRow { sequence, record });
        while entry.history.len() > HISTORY_MAX {
            entry.history.pop_front();
        }
        let status = entry.status.clone();
        state.sequence = sequence;
        state.notices.extend(incident.clone());
        Ok(Commit::Applied(Applied {
            sequence,
            previous,
            status,
            incident: incident.map(Box::new),
        }))
    }

    async fn history(&self, id: &MonitorId, limit: u32) -> Result<Vec<HistoryRow>, StoreError> {
        let state = self.open("read the history")?;
        let Some(entry) = state.monitors.get(id) else {
            return Ok(Vec::new());
        };
        let skip = entry.history.len().saturating_sub(limit as usize);
        Ok(entry.history.iter().skip(skip).cloned().collect())
    }

    async fn tally(&self, id: &MonitorId, since_unix_ms: i64) -> Result<Tally, StoreError> {
        let state = self.open("count the history")?;
        let mut sum = Tally::default();
        if let Some(entry) = state.monitors.get(id) {
            let hours = entry.buckets(Resolution::Hour, since_unix_ms..i64::MAX);
            hours.iter().for_each(|hour| sum.merge(&hour.tally));
        }
        Ok(sum)
    }

    async fn incidents(&self, id: &MonitorId, limit: u32) -> Result<Vec<Incident>, StoreError> {
        let state = self.open("read the incidents")?;
        let Some(entry) = state.monitors.get(id) else {
            return Ok(Vec::new());
        };
        let skip = entry.incidents.len().saturating_sub(limit as usize);
        Ok(entry.incidents.iter().skip(skip).cloned().collect())
    }

    async fn buckets(
        &self,
        id: &MonitorId,
        resolution: Resolution,
        unix_ms: Range<i64>,
    ) -> Result<Vec<Bucket>, StoreError> {
        let state = self.open("read the counts")?;
        let entry = state.monitors.get(id);
        Ok(entry.map_or_else(Vec::new, |entry| entry.buckets(resolution, unix_ms)))
    }

    async fn take_notices(&self, limit: u32, lease: Duration) -> Result<Vec<Delivery>, StoreError> {
        let mut state = self.open("take notices")?;
        Ok(state.notices.take(limit, lease, outbox::now()))
    }

    async fn settle_notice(
        &self,
        delivery: &Delivery,
        settlement: Settlement,
    ) -> Result<bool, StoreError> {
        let mut state = self.open("settle a notice")?;
        Ok(state.notices.settle(delivery, settlement, outbox::now()))
    }

    async fn outbox(&self) -> Result<Outbox, StoreError> {
        Ok(self.open("count the notices")?.notices.counts())
    }

    async fn doctor(&self) -> Result<Vec<Defect>, StoreError> {
        Ok(doctor::examine(&*self.open("examine the store")?))
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        Ok(())
    }
}
