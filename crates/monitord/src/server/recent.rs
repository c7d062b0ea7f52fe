//! The last due times of every monitor, kept at hand so that a page costs no reading of history.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use monitor_model::{Event, EventKind, HistoryRow, MonitorId, Store, Tally};

use crate::view::{Point, SLOTS};

/// How old counts may become without a new record: what is older than a day leaves them slowly.
const TALLY_MAX_AGE_MS: i64 = 600_000;
const DAY_MS: i64 = 86_400_000;

/// What the page remembers of all monitors. Fed by every event, completed from the store when it is
/// first asked for.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<HashMap<MonitorId, Memory>>);

#[derive(Debug, Clone, Default)]
struct Memory {
    /// Ordered by due time, one for each.
    points: VecDeque<Point>,
    /// Whether the history from before this process is in `points`.
    is_loaded: bool,
    tally: Tally,
    /// When `tally` was counted; `None` when a record came since.
    counted_unix_ms: Option<i64>,
    /// Counts the records, so that one which comes while the store is read is noticed.
    records: u64,
}

impl Recent {
    /// Takes an event in. Never waits.
    pub(super) fn event(&self, event: &Event) {
        let mut memories = self.lock();
        match &event.kind {
            EventKind::Committed { record, .. } => {
                let memory = memories.entry(record.monitor.clone()).or_default();
                memory.insert(Point::from(&**record));
                memory.records += 1;
                memory.counted_unix_ms = None;
            }
            EventKind::Deleted { monitor } => {
                memories.remove(monitor);
            }
            _ => {}
        }
    }

    /// The last due times of a monitor and its counts of 24 hours, read from `store` as far as they
    /// are not at hand. A store that cannot be read leaves what is known.
    pub(super) async fn of(
        &self,
        id: &MonitorId,
        store: &dyn Store,
        now_unix_ms: i64,
    ) -> (Vec<Point>, Tally) {
        let (is_loaded, is_counted, records) = {
            let memories = self.lock();
            let memory = memories.get(id);
            let age = memory.and_then(|memory| Some(now_unix_ms - memory.counted_unix_ms?));
            let is_counted = age.is_some_and(|age| age < TALLY_MAX_AGE_MS);
            (
                memory.is_some_and(|m| m.is_loaded),
                is_counted,
                memory.map_or(0, |m| m.records),
            )
        };
        let history = if is_loaded {
            None
        } else {
            store.history(id, SLOTS as u32).await.ok()
        };
        let tally = if is_counted {
            None
        } else {
            store.tally(id, now_unix_ms - DAY_MS).await.ok()
        };
        let mut memories = self.lock();
        let memory = memories.entry(id.clone()).or_default();
        if let Some(rows) = history {
            memory.complete(&rows);
        }
        if let Some(tally) = tally {
            memory.tally = tally;
            memory.counted_unix_ms = (memory.records == records).then_some(now_unix_ms);
        }
        (memory.points.iter().copied().collect(), memory.tally)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MonitorId, Memory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn complete(&mut self, rows: &[HistoryRow]) {
        for row in rows {
            self.insert(Point::from(&row.record));
        }
        self.is_loaded = true;
    }

    fn insert(&mut self, point: Point) {
        let due = |known: &Point| known.due_unix_ms.cmp(&point.due_unix_ms);
        if let Err(place) = self.points.binary_search_by(due) {
            self.points.insert(place, point);
        }
        while self.points.len() > SLOTS {
            self.points.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_core::operation::Epoch;
    use monitor_model::{EventKind, MemoryStore, Monitor, Record, Source, Status};
    use monitor_model::{Lifecycle, Observation, Phases};

    fn id() -> MonitorId {
        "a".parse().unwrap()
    }

    fn record(due_unix_ms: i64) -> Record {
        Record::observed(
            id(),
            Epoch::new(1),
            due_unix_ms,
            Observation::up(),
            Phases::default(),
        )
    }

    fn committed(record: Record) -> Event {
        let status = Status::new(id(), Lifecycle::Active, Epoch::new(1));
        let (record, status) = (Box::new(record), Box::new(status));
        Event {
            sequence: 1,
            kind: EventKind::Committed {
                record,
                status,
                changed_from: None,
            },
        }
    }

    async fn store(records: &[i64]) -> MemoryStore {
        let store = MemoryStore::new();
        let (name, spec) = ("a".to_owned(), String::new());
        let monitor = Monitor {
            id: id(),
            name,
            source: Source::Api,
            spec,
        };
        store.define(monitor, Epoch::new(1)).await.unwrap();
        for due in records {
            store.commit(record(*due)).await.unwrap();
        }
        store
    }

    #[tokio::test]
    async fn events_and_history_become_one_strip_without_doubles() {
        let store = store(&[1000, 2000, 3000]).await;
        let recent = Recent::default();
        for due in [5000, 3000, 4000] {
            recent.event(&committed(record(due)));
        }
        let (points, tally) = recent.of(&id(), &store, 10_000).await;
        let dues: Vec<_> = points.iter().map(|point| point.due_unix_ms).collect();
        assert_eq!(dues, [1000, 2000, 3000, 4000, 5000]);
        assert_eq!(tally.up, 3, "counts come from the store");
    }

    #[tokio::test]
    async fn the_store_is_asked_again_only_after_a_record_or_a_while() {
        let store = store(&[1000]).await;
        let recent = Recent::default();
        assert_eq!(recent.of(&id(), &store, 10_000).await.1.up, 1);
        store.commit(record(2000)).await.unwrap();
        assert_eq!(
            recent.of(&id(), &store, 10_001).await.1.up,
            1,
            "nobody said it had changed"
        );
        recent.event(&committed(record(2000)));
        assert_eq!(recent.of(&id(), &store, 10_002).await.1.up, 2);
        store.commit(record(3000)).await.unwrap();
        let later = 10_002 + TALLY_MAX_AGE_MS;
        assert_eq!(recent.of(&id(), &store, later).await.1.up, 3);
        store.close().await.unwrap();
        let (points, tally) = recent.of(&id(), &store, later * 2).await;
        assert_eq!(
            (points.len(), tally.up),
            (2, 3),
            "a closed store leaves what is known"
        );
    }

    #[tokio::test]
    async fn it_keeps_a_strip_and_forgets_what_is_deleted() {
        let recent = Recent::default();
        for due in 0..200 {
            recent.event(&committed(record(due * 1000)));
        }
        let empty = MemoryStore::new();
        let (points, _) = recent.of(&id(), &empty, 0).await;
        assert_eq!(points.len(), SLOTS);
        assert_eq!(points.last().map(|point| point.due_unix_ms), Some(199_000));
        recent.event(&Event {
            sequence: 2,
            kind: EventKind::Deleted { monitor: id() },
        });
        assert!(recent.of(&id(), &empty, 0).await.0.is_empty());
    }
}
