//! What can be wrong with a file.

use std::path::Path;
use std::time::Duration;

use std::collections::{BTreeMap, BTreeSet};

use monitor_model::{Bucket, Defect, DefectKind, MonitorId, Resolution};
use rusqlite::{Connection, OpenFlags};

use super::failure::Failure;
use super::incident;
use super::migrate::{self, Found, SUPPORTED};
use super::roll;
use super::row::Fields;

/// How long to wait for a writer, which holds readers up only while it tidies up its log.
const BUSY: Duration = Duration::from_secs(5);

/// Looks at a file that another process may have open.
pub(crate) fn examine_file(path: &Path) -> Result<Vec<Defect>, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    examine(&mut connection)
}

/// Looks at everything, as of one instant, and changes nothing.
pub(crate) fn examine(connection: &mut Connection) -> Result<Vec<Defect>, Failure> {
    let snapshot = connection.transaction()?;
    let mut defects = Vec::new();
    integrity(&snapshot, &mut defects)?;
    if let Some(other) = schema(&snapshot)? {
        // Whatever else is looked for has other names there.
        defects.push(other);
        return Ok(defects);
    }
    monitors(&snapshot, &mut defects)?;
    notices(&snapshot, &mut defects)?;
    Ok(defects)
}

fn integrity(connection: &Connection, defects: &mut Vec<Defect>) -> Result<(), Failure> {
    let mut statement = connection.prepare("PRAGMA integrity_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let detail: String = row.get(0)?;
        if detail != "ok" {
            defects.push(Defect {
                kind: DefectKind::Damaged,
                subject: "the file".into(),
                detail,
            });
        }
    }
    let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (table, row_id, parent): (String, Option<i64>, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        defects.push(Defect {
            kind: DefectKind::Orphan,
            subject: row_id.map_or_else(|| table.clone(), |row_id| format!("{table} {row_id}")),
            detail: format!("the row of {parent} that it belongs to does not exist"),
        });
    }
    Ok(())
}

fn schema(connection: &Connection) -> Result<Option<Defect>, Failure> {
    let found = match migrate::look(connection)? {
        Found::Version(SUPPORTED) => return Ok(None),
        Found::Version(found) => format!("its schema has version {found}"),
        Found::Empty => "it is empty".to_owned(),
        Found::Foreign => "it is a database of another program".to_owned(),
    };
    Ok(Some(Defect {
        kind: DefectKind::Schema,
        subject: "the file".into(),
        detail: format!("{found}; this program has version {SUPPORTED}"),
    }))
}

fn monitors(connection: &Connection, defects: &mut Vec<Defect>) -> Result<(), Failure> {
    let mut statement = connection.prepare(
        "SELECT monitor.id, monitor.number, status.*, grave.epoch AS grave,
             EXISTS (SELECT 1 FROM history WHERE history.monitor = number)
                 OR EXISTS (SELECT 1 FROM bucket_page WHERE bucket_page.monitor = number)
                 AS is_recorded
         FROM monitor LEFT JOIN status ON status.monitor = number
         LEFT JOIN grave ON grave.id = monitor.id
         WHERE ended = 0 ORDER BY monitor.id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let fields = Fields::of(row, "monitor", "id");
        if let Err(failure) = monitor(connection, &fields, defects) {
            defects.push(Defect {
                kind: DefectKind::Damaged,
                subject: "a row".into(),
                detail: failure.to_string(),
            });
        }
    }
    Ok(())
}

fn monitor(
    connection: &Connection,
    fields: &Fields<'_>,
    defects: &mut Vec<Defect>,
) -> Result<(), Failure> {
    let status = fields.status(fields.id()?)?;
    let open = incident::open(connection, fields.get("number")?, &status.monitor)?;
    defects.extend(counts(connection, fields.get("number")?, &status.monitor)?);
    defects.extend(Defect::of_status(&status, fields.get("is_recorded")?));
    defects.extend(Defect::of_incident(&status, open.as_ref()));
    if let Some(grave) = fields.get::<Option<i64>>("grave")? {
        let grave = monitor_operation::Epoch::new(grave.unsigned_abs());
        defects.extend(Defect::of_epoch(&status, grave));
    }
    Ok(())
}

/// Hours that are not the sum of their minutes, days that are not that of their hours.
fn counts(
    connection: &Connection,
    number: i64,
    monitor: &MonitorId,
) -> Result<Vec<Defect>, Failure> {
    let horizons = roll::horizons(connection)?;
    let mut defects = Vec::new();
    for (part, whole) in [
        (Resolution::Minute, Resolution::Hour),
        (Resolution::Hour, Resolution::Day),
    ] {
        let kept = horizons.of(part).max(horizons.of(whole));
        // The first that is kept with all its parts.
        let first = whole.start_of(kept.saturating_add(whole.length_ms() - 1));
        let mut sums: BTreeMap<i64, Bucket> = BTreeMap::new();
        for bucket in roll::buckets(connection, number, part, first..i64::MAX)? {
            let start = whole.start_of(bucket.start_unix_ms);
            let sum = sums.entry(start).or_insert_with(|| Bucket::new(start));
            sum.merge(&bucket);
        }
        let standing = roll::buckets(connection, number, whole, first..i64::MAX)?;
        let standing: BTreeMap<i64, Bucket> = standing
            .into_iter()
            .map(|bucket| (bucket.start_unix_ms, bucket))
            .collect();
        let starts: BTreeSet<i64> = sums.keys().chain(standing.keys()).copied().collect();
        for start in starts
            .into_iter()
            .filter(|start| sums.get(start) != standing.get(start))
        {
            let due = |of: &BTreeMap<i64, Bucket>| of.get(&start).map_or(0, |it| it.tally.due);
            defects.push(Defect {
                kind: DefectKind::Damaged,
                subject: format!("monitor \"{monitor}\""),
                detail: format!(
                    "its {whole} from {start} on counts {} due times, the {part}s of it {}",
                    due(&standing),
                    due(&sums)
                ),
            });
        }
    }
    Ok(defects)
}

fn notices(connection: &Connection, defects: &mut Vec<Defect>) -> Result<(), Failure> {
    let mut statement = connection.prepare(
        "SELECT sequence, incident || '-' || kind AS dedup_key, attempt,
             state = 'given_up' AS is_given_up
         FROM outbox ORDER BY sequence",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let fields = Fields::of(row, "notice", "sequence");
        let key: String = fields.get("dedup_key")?;
        let (attempt, given_up) = (fields.number("attempt")?, fields.get("is_given_up")?);
        defects.extend(Defect::of_notice(&key, attempt, given_up));
    }
    Ok(())
}
