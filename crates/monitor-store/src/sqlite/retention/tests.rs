//! Whatever is interrupted, counts are those of all that was ever committed.

use std::collections::BTreeMap;
use std::time::Duration;

use monitor_fault::{Fault, Layer, Reason};
use monitor_model::{
    Bucket, Commit, Monitor, Observation, Phases, Record, Resolution, Source, Tally,
};
use monitor_operation::Epoch;
use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::sqlite::command::Change;
use crate::sqlite::{change, commit, open, query};

const MINUTE: i64 = 60_000;
const BASE: i64 = 1_700_000_000_000;

struct Place {
    folder: TempDir,
    options: Options,
    connection: Option<Connection>,
    retention: Retention,
}

/// How many minutes lines, minutes, hours and days are kept.
type Kept = [u64; 4];

/// As one would have it, and the wrong way round.
const KEPT: [Kept; 2] = [[30, 90, 36 * 60, 4 * 1440], [2 * 1440, 60, 10, 30]];

impl Place {
    fn new(kept: Kept) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [lines, minutes, hours, days] = kept.map(|n| Duration::from_secs(n * 60));
        let options = Options {
            retain_history: lines,
            retain_minutes: minutes,
            retain_hours: hours,
            retain_days: days,
            ..Options::new(folder.path().join("a.sqlite"))
        };
        let retention = Retention::new(&options, None);
        let mut place = Self {
            folder,
            options,
            connection: None,
            retention,
        };
        place.reopen();
        let connection = place.connection();
        for id in ["a", "b"] {
            let (id, spec) = (id.parse().unwrap(), String::new());
            let monitor = Monitor {
                id,
                name: String::new(),
                source: Source::Api,
                spec,
            };
            change::define(connection, &monitor, Epoch::new(1)).unwrap();
        }
        place
    }

    /// As after the end of the process: nothing is left but the file.
    fn reopen(&mut self) {
        self.connection = None;
        let opened = open::open(&self.options).unwrap();
        self.retention = Retention::new(&self.options, opened.max_pages);
        self.connection = Some(opened.writer);
        assert!(self.folder.path().exists());
    }

    fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().unwrap()
    }

    /// Does `work`, and stops the database in the middle of it when it has taken so many steps.
    fn cut<T>(&mut self, steps: Option<i32>, work: impl FnOnce(&mut Self) -> T) -> T {
        let connection = self.connection();
        match steps {
            Some(steps) => connection.progress_handler(steps, Some(|| true)).unwrap(),
            None => connection
                .progress_handler(0, None::<fn() -> bool>)
                .unwrap(),
        }
        let result = work(self);
        let connection = self.connection();
        connection
            .progress_handler(0, None::<fn() -> bool>)
            .unwrap();
        // Stopped in the very statement that begins or ends a transaction, it may be open still;
        // the writer looks for that before its next one.
        if !connection.is_autocommit() {
            connection.execute_batch("ROLLBACK").unwrap();
        }
        result
    }

    /// True when it was written.
    fn commit(&mut self, record: &Record, steps: Option<i32>) -> bool {
        let applied = self.cut(steps, |place| {
            let transaction = place.connection().transaction()?;
            let change = commit::commit(&transaction, record)?;
            transaction.commit()?;
            Ok::<_, Failure>(matches!(change, Change::Keep(Commit::Applied(_))))
        });
        self.retention.record(record.due_unix_ms);
        applied.unwrap_or(false)
    }

    /// Does all that there is to do, while the clock says so.
    fn settle(&mut self, now_unix_ms: i64) {
        while self.retention.is_pending() {
            let connection = self.connection.as_mut().unwrap();
            self.retention.slice(connection, now_unix_ms).unwrap();
        }
    }

    fn count(&mut self, what: &str) -> i64 {
        let count = format!("SELECT count(*) FROM {what}");
        let connection = self.connection();
        connection.query_row(&count, [], |row| row.get(0)).unwrap()
    }

    fn slice(&mut self, steps: Option<i32>) {
        self.cut(steps, |place| {
            let Self {
                connection,
                retention,
                ..
            } = place;
            if retention
                .slice(connection.as_mut().unwrap(), i64::MAX)
                .is_err()
            {
                retention.abandon();
            }
        });
    }
}

/// All that was ever committed, by monitor.
type All = BTreeMap<&'static str, Vec<Record>>;

fn fold(records: &[Record], resolution: Resolution, from: i64) -> Vec<Bucket> {
    let mut buckets = BTreeMap::new();
    for record in records {
        let start = resolution.start_of(record.due_unix_ms);
        if start >= from {
            buckets
                .entry(start)
                .or_insert_with(|| Bucket::new(start))
                .add(record);
        }
    }
    buckets.into_values().collect()
}

fn tally(records: &[Record], from: i64) -> Tally {
    let mut sum = Bucket::new(0);
    let wanted = records.iter().filter(|record| record.due_unix_ms >= from);
    wanted.for_each(|record| sum.add(record));
    sum.tally
}

fn check(place: &mut Place, kept: Kept, all: &All, newest: i64) -> Result<(), TestCaseError> {
    let connection = place.connection();
    let horizons = roll::horizons(connection).unwrap();
    for (name, records) in all {
        let id = name.parse().unwrap();
        for resolution in Resolution::ALL {
            let kept = query::buckets(connection, &id, resolution, i64::MIN..i64::MAX).unwrap();
            prop_assert_eq!(kept, fold(records, resolution, horizons.of(resolution)));
        }
        for since in [
            newest - 20 * MINUTE,
            newest - 300 * MINUTE,
            newest - 2 * 1440 * MINUTE,
            i64::MIN,
        ] {
            let hour = Resolution::Hour.start_of(since);
            let day = Resolution::Day.start_of(since).max(horizons.days);
            let from = if hour >= horizons.hours { hour } else { day };
            let counted = query::tally(connection, &id, since).unwrap();
            prop_assert_eq!(counted, tally(records, from), "since {}", since);
        }
        // No line is gone before its time, nor one at which the verdict changed.
        let lines = query::history(connection, &id, u32::MAX).unwrap();
        let young = records
            .iter()
            .filter(|record| record.due_unix_ms >= horizons.history.max(horizons.hours));
        for record in young {
            prop_assert!(
                lines.iter().any(|line| line.record == *record),
                "{:?}",
                record
            );
        }
    }
    // Nothing that is young enough is given up.
    let of = [
        horizons.history,
        horizons.minutes,
        horizons.hours,
        horizons.days,
    ];
    for (horizon, minutes) in of.into_iter().zip(kept) {
        prop_assert!(horizon <= newest - minutes.cast_signed() * MINUTE);
    }
    Ok(())
}

#[derive(Debug, Clone)]
enum Step {
    /// Milliseconds after the newest due time, or before it; what was found; interrupted when.
    Commit(&'static str, i64, u8, Option<i32>),
    Slice(Option<i32>),
    Reopen,
}

fn cut() -> impl Strategy<Value = Option<i32>> {
    prop_oneof![3 => Just(None), 1 => (1i32..3_000).prop_map(Some)]
}

fn step() -> impl Strategy<Value = Step> {
    let id = proptest::sample::select(&["a", "b"][..]);
    let after = prop_oneof![
        6 => 0..3 * MINUTE,
        2 => 0..200 * MINUTE,
        2 => -20 * MINUTE..0,
        1 => -6 * 1440 * MINUTE..0,
    ];
    prop_oneof![
        8 => (id, after, 0u8..6, cut()).prop_map(|(id, after, kind, cut)| Step::Commit(id, after, kind, cut)),
        6 => cut().prop_map(Step::Slice),
        1 => Just(Step::Reopen),
    ]
}

fn record(id: &str, due: i64, kind: u8) -> Record {
    let (id, epoch) = (id.parse().unwrap(), Epoch::new(1));
    let fault = Fault::new(Layer::Connect, Reason::Refused);
    let observation = match kind {
        0 => Observation::fault(fault),
        1 => {
            let reason = monitor_model::Unobserved::Overload;
            return Record::unobserved(id, epoch, due, 3, reason);
        }
        2 => Observation {
            finding: monitor_model::Finding::Degraded(fault),
            note: None,
        },
        _ => Observation::up(),
    };
    let mut record = Record::observed(id, epoch, due, observation, Phases::default());
    record.took = (kind != 5).then(|| Duration::from_micros(due.unsigned_abs() % 90_001));
    record
}

fn run(kept: Kept, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut place = Place::new(kept);
    let (mut all, mut newest) = (All::new(), BASE);
    for step in steps {
        match *step {
            Step::Commit(id, after, kind, cut) => {
                let record = record(id, newest + after, kind);
                newest = newest.max(record.due_unix_ms);
                if place.commit(&record, cut) {
                    all.entry(id).or_default().push(record);
                }
            }
            Step::Slice(cut) => place.slice(cut),
            Step::Reopen => place.reopen(),
        }
        check(&mut place, kept, &all, newest)?;
    }
    place.retention.request();
    while place.retention.is_pending() {
        place.slice(None);
    }
    let left = "SELECT count(*) FROM history JOIN head
        WHERE changed = 0 AND due_unix_ms < history_from_unix_ms";
    let left: i64 = place
        .connection()
        .query_row(left, [], |row| row.get(0))
        .unwrap();
    prop_assert_eq!(left, 0, "nothing that is too old is forgotten");
    check(&mut place, kept, &all, newest)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// OPS-18: buckets are a fold over all records ever committed, after each step: commits in any
    /// order, slices of removal, both cut off at any point, and a new start.
    #[test]
    fn inv_store_11_counts_are_those_of_all_that_was_ever_committed(
        kept in proptest::sample::select(&KEPT[..]),
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        run(kept, &steps)?;
    }
}

/// OPS-29: a clock that is years ahead for some minutes, with a new start meanwhile: what was counted
/// is there afterwards, and lines are rolled up and removed as before as soon as the clock is right.
#[test]
fn a_clock_that_leaps_for_a_moment_neither_empties_the_store_nor_stops_it() {
    const HOUR: i64 = 60 * MINUTE;
    const YEAR: i64 = 365 * 24 * HOUR;
    // Lines for an hour, minutes for two days, hours for ninety, days for two years.
    let mut place = Place::new([60, 2 * 1440, 90 * 1440, 730 * 1440]);
    let hours = 20 * 24;
    for hour in 0..hours {
        let due = BASE + hour * HOUR;
        assert!(place.commit(&record("a", due, 3), None));
        place.settle(due);
    }
    let last = BASE + hours * HOUR;
    for minute in 0..6 {
        let wrong = last + 24 * YEAR + minute * 5 * MINUTE;
        assert!(place.commit(&record("a", wrong, 3), None));
        place.settle(wrong);
        if minute == 3 {
            place.reopen();
        }
    }
    let id = "a".parse().unwrap();
    let count = |place: &mut Place| {
        let connection = place.connection();
        let tally = query::tally(connection, &id, BASE).unwrap();
        let days = query::buckets(connection, &id, Resolution::Day, BASE..last + YEAR).unwrap();
        let hours = query::buckets(connection, &id, Resolution::Hour, BASE..last).unwrap();
        (
            tally.due,
            days.iter().map(|day| day.tally.due).sum::<u64>(),
            hours.len() as i64,
        )
    };
    let (due, days, kept) = count(&mut place);
    assert_eq!(
        (due, days),
        (hours.unsigned_abs() + 6, hours.unsigned_abs())
    );
    assert_eq!(kept, hours);
    let lines = place.count("history");
    for hour in 0..5 * 24 {
        let due = last + hour * HOUR;
        assert!(place.commit(&record("a", due, 3), None));
        place.settle(due + 1000);
    }
    let (due, days, _) = count(&mut place);
    let all = (hours + 5 * 24).unsigned_abs();
    assert_eq!((due, days), (all + 6, all));
    assert!(place.count("history") <= lines + 2, "lines go as they did");
    let mark = "status WHERE mark_unix_ms BETWEEN 1 AND ";
    let soon = last + 20 * 24 * HOUR;
    assert_eq!(place.count(&format!("{mark} {soon}")), 1);
}

/// OPS-29: to remove lines they are counted first, and that takes pages. A file that is full to the
/// last one has them.
#[test]
fn a_full_file_has_room_for_what_makes_room() {
    const PAGES: u32 = 256;
    let mut place = Place::new([60, 30 * 1440, 90 * 1440, 730 * 1440]);
    place.retention = Retention::new(&place.options, Some(PAGES));
    let limit = |connection: &Connection| {
        connection
            .pragma_update(None, "max_page_count", PAGES)
            .unwrap();
    };
    limit(place.connection());
    let (mut due, mut committed) = (BASE, 0);
    let long = |due| {
        let observation = Observation::up().with_note("x".repeat(2000));
        let id = "a".parse().unwrap();
        Record::observed(id, Epoch::new(1), due, observation, Phases::default())
    };
    while place.commit(&long(due), None) {
        due += 60 * MINUTE;
        committed += 1;
    }
    assert!(committed > 100, "{committed}");
    place.settle(due);
    assert!(place.commit(&long(due), None), "there is room again");
    let connection = place.connection();
    let tally = query::tally(connection, &"a".parse().unwrap(), BASE).unwrap();
    assert_eq!(tally.due, committed + 1);
}

/// OPS-29: another program that writes at the same time does so before a slice or after it: between
/// what a slice reads and what it writes, it would end the round.
#[test]
fn another_writer_ends_no_round() {
    let mut place = Place::new([30, 90, 36 * 60, 4 * 1440]);
    for minute in 0..120 {
        let record = record("a", BASE + minute * MINUTE, 3);
        assert!(place.commit(&record, None));
    }
    let other = Connection::open(&place.options.path).unwrap();
    other.busy_timeout(Duration::ZERO).unwrap();
    let beside = "CREATE TABLE beside (n INTEGER); INSERT INTO beside VALUES (0)";
    other.execute_batch(beside).unwrap();
    // At each step of each statement of a slice it tries to write.
    let write = move || {
        let _ = other.execute("UPDATE beside SET n = n + 1", []);
        false
    };
    let handler = place.connection().progress_handler(1, Some(write));
    handler.unwrap();
    place.settle(BASE + 120 * MINUTE);
    let gone = "history WHERE due_unix_ms < ";
    let horizon = BASE + 80 * MINUTE;
    assert_eq!(
        place.count(&format!("{gone} {horizon}")),
        1,
        "the verdict's"
    );
    assert!(place.count("beside WHERE n > 0") == 1, "it wrote");
}
