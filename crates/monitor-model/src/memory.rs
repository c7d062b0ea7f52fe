//! A store that forgets: for tests, and for embedding where history need not survive.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use monitor_operation::Epoch;

use crate::{
    Applied, Commit, HistoryRow, LastDue, Lifecycle, Loaded, Monitor, MonitorId, Record, Refusal,
    Status, Store, StoreError, StoreErrorKind, Stored, Tally,
};

const HOUR_MS: i64 = 3_600_000;

/// A [`Store`] in memory, bounded: the last 1000 records of a monitor and counts of 31 days.
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
}

#[derive(Debug)]
struct Entry {
    monitor: Monitor,
    status: Status,
    history: VecDeque<HistoryRow>,
    hours: BTreeMap<i64, Tally>,
}

const HISTORY_MAX: usize = 1000;
const HOURS_MAX: usize = 31 * 24;

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
        let entry = state.monitors.entry(id.clone()).or_insert_with(|| Entry {
            monitor: monitor.clone(),
            status: Status::new(id, Lifecycle::Active, epoch),
            history: VecDeque::new(),
            hours: BTreeMap::new(),
        });
        entry.monitor = monitor;
        entry.status.epoch = epoch;
        Ok(entry.status.clone())
    }

    async fn set_lifecycle(
        &self,
        id: &MonitorId,
        lifecycle: Lifecycle,
        epoch: Epoch,
    ) -> Result<Option<Status>, StoreError> {
        let mut state = self.open("change a monitor")?;
        let Some(entry) = state.monitors.get_mut(id) else {
            return Ok(None);
        };
        newer("change a monitor", Some(entry.status.epoch), epoch)?;
        entry.status.epoch = epoch;
        entry.status.lifecycle = lifecycle;
        Ok(Some(entry.status.clone()))
    }

    async fn delete(&self, id: &MonitorId, epoch: Epoch) -> Result<bool, StoreError> {
        let mut state = self.open("delete a monitor")?;
        let Some(entry) = state.monitors.get(id) else {
            return Ok(false);
        };
        newer("delete a monitor", Some(entry.status.epoch), epoch)?;
        state.monitors.remove(id);
        state.graves.insert(id.clone(), epoch);
        Ok(true)
    }

    async fn commit(&self, record: Record) -> Result<Commit, StoreError> {
        let mut state = self.open("commit a record")?;
        let sequence = state.sequence + 1;
        let Some(entry) = state.monitors.get_mut(&record.monitor) else {
            return Ok(Commit::Refused(Refusal::Gone));
        };
        if entry.status.epoch != record.epoch {
            return Ok(Commit::Refused(Refusal::Stale));
        }
        if entry.status.lifecycle == Lifecycle::Paused {
            return Ok(Commit::Refused(Refusal::Paused));
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
        let hour = record.due_unix_ms.div_euclid(HOUR_MS);
        entry
            .hours
            .entry(hour)
            .or_default()
            .add(record.outcome(), record.slots);
        entry.history.insert(place, HistoryRow { sequence, record });
        while entry.history.len() > HISTORY_MAX {
            entry.history.pop_front();
        }
        while entry.hours.len() > HOURS_MAX {
            entry.hours.pop_first();
        }
        let status = entry.status.clone();
        state.sequence = sequence;
        Ok(Commit::Applied(Applied {
            sequence,
            previous,
            status,
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
            for tally in entry
                .hours
                .range(since_unix_ms.div_euclid(HOUR_MS)..)
                .map(|(_, t)| t)
            {
                sum.up += tally.up;
                sum.degraded += tally.degraded;
                sum.down += tally.down;
                sum.due += tally.due;
            }
        }
        Ok(sum)
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        Ok(())
    }
}
