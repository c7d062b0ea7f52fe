//! What the demonstration remembers of the events.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use monitor_model::{Event, EventKind, MonitorId, Outcome, Record, Store};

/// How many due times are remembered of each monitor.
const REMEMBERED: usize = 60;

/// What became of every due time.
#[derive(Debug, Default)]
pub(crate) struct Book {
    monitors: HashMap<MonitorId, Page>,
}

/// What became of the due times of one monitor.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Due times by outcome, in the order of [`Outcome::ALL`].
    totals: [u64; Outcome::ALL.len()],
    /// How many records they came in.
    records: u32,
    /// The first of them.
    first_unix_ms: Option<i64>,
    /// The last outcomes, oldest first.
    pub(crate) strip: VecDeque<Outcome>,
    /// How long the last check took that came to a verdict.
    pub(crate) took: Option<Duration>,
    /// What it said.
    pub(crate) note: Option<String>,
}

/// A monitor that is not what it was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) monitor: MonitorId,
    pub(crate) outcome: Outcome,
    pub(crate) why: String,
    pub(crate) took: Option<Duration>,
}

impl Book {
    /// Writes an event down. What it changed, if it did.
    pub(crate) fn write(&mut self, event: &Event) -> Option<Change> {
        match &event.kind {
            EventKind::Committed {
                record,
                changed_from,
                ..
            } => {
                self.record(record);
                changed_from.is_some().then(|| Change {
                    monitor: record.monitor.clone(),
                    outcome: record.outcome(),
                    why: why(record),
                    took: record.took,
                })
            }
            // Its history goes with it.
            EventKind::Deleted { monitor } => {
                self.monitors.remove(monitor);
                None
            }
            _ => None,
        }
    }

    fn record(&mut self, record: &Record) {
        let outcome = record.outcome();
        let page = self.monitors.entry(record.monitor.clone()).or_default();
        page.totals[outcome as usize] += u64::from(record.slots);
        page.records = page.records.saturating_add(1);
        page.first_unix_ms.get_or_insert(record.due_unix_ms);
        let slots = usize::try_from(record.slots)
            .unwrap_or(REMEMBERED)
            .min(REMEMBERED);
        page.strip.extend(std::iter::repeat_n(outcome, slots));
        let excess = page.strip.len().saturating_sub(REMEMBERED);
        page.strip.drain(..excess);
        if outcome.sets_status() {
            page.took = record.took;
            page.note = record.note().map(str::to_owned);
        }
    }

    pub(crate) fn page(&self, monitor: &MonitorId) -> Option<&Page> {
        self.monitors.get(monitor)
    }

    /// How many due times ended in `outcome`.
    fn total(&self, outcome: Outcome) -> u64 {
        let pages = self.monitors.values();
        pages.map(|page| page.totals[outcome as usize]).sum()
    }

    /// The totals in one line: `31 up, 4 degraded, 9 down`. Outcomes without any are left out.
    pub(crate) fn summary(&self) -> String {
        let parts: Vec<_> = Outcome::ALL
            .into_iter()
            .filter(|outcome| self.total(*outcome) > 0)
            .map(|outcome| {
                let name = match outcome {
                    Outcome::Suppressed => "held back by a breaker",
                    outcome => outcome.as_str(),
                };
                format!("{} {name}", self.total(outcome))
            })
            .collect();
        if parts.is_empty() {
            "nothing yet".to_owned()
        } else {
            parts.join(", ")
        }
    }

    /// How many due times ended, in whatever way.
    pub(crate) fn due(&self) -> u64 {
        Outcome::ALL
            .into_iter()
            .map(|outcome| self.total(outcome))
            .sum()
    }

    /// Whether `store` holds what is written here: of each monitor as many records, for as many
    /// due times of each outcome. What differs, in words.
    pub(crate) async fn compare(&self, store: &dyn Store) -> Result<(), String> {
        for (monitor, page) in &self.monitors {
            let rows = store.history(monitor, page.records).await;
            let rows = rows.map_err(|error| error.to_string())?;
            let mut stored = [0; Outcome::ALL.len()];
            for record in rows.iter().map(|row| &row.record) {
                // One from before stands in for none of these.
                if Some(record.due_unix_ms) >= page.first_unix_ms {
                    stored[record.outcome() as usize] += u64::from(record.slots);
                }
            }
            if stored != page.totals {
                let (told, held) = (page.totals.iter().sum::<u64>(), stored.iter().sum::<u64>());
                return Err(format!(
                    "of {monitor}, {told} due times were told and the history holds {held} of \
                     them, or with other outcomes"
                ));
            }
        }
        Ok(())
    }
}

/// What a record says for people.
fn why(record: &Record) -> String {
    match (record.fault(), record.note()) {
        (Some(fault), _) => crate::view::words::fault(fault),
        (None, Some(note)) => note.to_owned(),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_core::operation::Epoch;
    use monitor_fault::{Fault, Layer, Reason};
    use monitor_model::Unobserved;
    use monitor_model::{Lifecycle, MemoryStore, Monitor, Observation, Phases, Source, Status};

    fn committed(record: Record, changed_from: Option<Option<Outcome>>) -> Event {
        let status = Status::new(record.monitor.clone(), Lifecycle::Active, record.epoch);
        let (record, status) = (Box::new(record), Box::new(status));
        Event {
            sequence: 1,
            kind: EventKind::Committed {
                record,
                status,
                changed_from,
            },
        }
    }

    fn observed(observation: Observation) -> Record {
        Record::observed(
            "a".parse().unwrap(),
            Epoch::new(1),
            0,
            observation,
            Phases::default(),
        )
    }

    /// What is said of the history at the end is read there: a row that is missing, or that says
    /// something else, is noticed.
    #[tokio::test]
    async fn the_book_is_compared_with_the_history() {
        let (store, mut book) = (MemoryStore::new(), Book::default());
        let monitor = |id: &str| Monitor {
            id: id.parse().unwrap(),
            name: id.to_owned(),
            source: Source::File,
            spec: String::new(),
        };
        store.define(monitor("a"), Epoch::new(1)).await.unwrap();
        let refused = Fault::new(Layer::Connect, Reason::Refused);
        let missed = |due, slots| {
            let id = "a".parse().unwrap();
            Record::unobserved(id, Epoch::new(1), due, slots, Unobserved::Stalled)
        };
        store.commit(missed(-9000, 1)).await.unwrap();
        for record in [observed(Observation::fault(refused)), missed(1000, 3)] {
            book.write(&committed(record.clone(), None));
            store.commit(record).await.unwrap();
        }
        assert_eq!(
            book.compare(&store).await,
            Ok(()),
            "an older row is none of it"
        );

        book.write(&committed(missed(9000, 1), None));
        let error = book.compare(&store).await.unwrap_err();
        assert!(error.starts_with("of a, 5 due times were told"), "{error}");
        store.commit(missed(9000, 1)).await.unwrap();
        assert_eq!(book.compare(&store).await, Ok(()));

        book.write(&committed(observed(Observation::up()), None));
        store.commit(missed(10_000, 1)).await.unwrap();
        let other = book.compare(&store).await;
        assert!(other.is_err(), "as many rows, another outcome");

        store
            .delete(&"a".parse().unwrap(), Epoch::new(2))
            .await
            .unwrap();
        assert!(book.compare(&store).await.is_err());
        let deleted = EventKind::Deleted {
            monitor: "a".parse().unwrap(),
        };
        book.write(&Event {
            sequence: 9,
            kind: deleted,
        });
        assert_eq!(
            (book.compare(&store).await, book.due()),
            (Ok(()), 0),
            "its history went with it"
        );
    }

    /// PRB-39: the book counts due times, not events, and tells a change from a repetition.
    #[test]
    fn due_times_are_counted_and_changes_are_told() {
        let mut book = Book::default();
        let up = committed(observed(Observation::up().with_note("200 OK")), Some(None));
        let change = book.write(&up).unwrap();
        assert_eq!(
            (change.outcome, change.why.as_str()),
            (Outcome::Up, "200 OK")
        );
        assert_eq!(
            book.write(&committed(observed(Observation::up()), None)),
            None
        );
        let refused = Fault::new(Layer::Connect, Reason::Refused);
        let down = committed(
            observed(Observation::fault(refused)),
            Some(Some(Outcome::Up)),
        );
        assert_eq!(
            book.write(&down).unwrap().why,
            "connection refused (connect · target)"
        );
        let id: MonitorId = "a".parse().unwrap();
        let missed = Record::unobserved(id.clone(), Epoch::new(1), 1, 200, Unobserved::Stalled);
        assert_eq!(book.write(&committed(missed, None)), None);
        assert_eq!(book.summary(), "2 up, 1 down, 200 missed");
        assert_eq!(book.due(), 203);
        let page = book.page(&id).unwrap();
        assert_eq!(page.strip.len(), REMEMBERED);
        assert!(page.strip.iter().all(|outcome| *outcome == Outcome::Missed));
    }
}
