//! The reads, each on the read connection.

use std::collections::BTreeMap;
use std::ops::Range;

use monitor_model::{Bucket, HistoryRow, Incident, Loaded, MonitorId, Resolution, Stored, Tally};
use monitor_operation::Epoch;
use rusqlite::{Connection, OptionalExtension, params};

use super::failure::Failure;
use super::roll;
use super::row::Fields;

/// Everything needed to start, as of one instant.
pub(crate) fn load(connection: &mut Connection) -> Result<Loaded, Failure> {
    let snapshot = connection.transaction()?;
    let loaded = Loaded {
        monitors: monitors(&snapshot)?,
        graves: graves(&snapshot)?,
    };
    snapshot.commit()?;
    Ok(loaded)
}

fn monitors(connection: &Connection) -> Result<Vec<Stored>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT monitor.id, monitor.name, monitor.source, monitor.spec, status.* FROM monitor
         JOIN status ON status.monitor = monitor.number
         WHERE monitor.ended = 0 ORDER BY monitor.id",
    )?;
    let mut rows = statement.query([])?;
    let mut monitors = Vec::new();
    while let Some(row) = rows.next()? {
        let fields = Fields::of(row, "monitor", "id");
        let monitor = fields.monitor()?;
        monitors.push(Stored {
            status: fields.status(monitor.id.clone())?,
            last_due: fields.last_due()?,
            due_from_unix_ms: fields.get("due_from_unix_ms")?,
            monitor,
        });
    }
    Ok(monitors)
}

fn graves(connection: &Connection) -> Result<Vec<(MonitorId, Epoch)>, Failure> {
    let mut statement = connection.prepare_cached("SELECT id, epoch FROM grave ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut graves = Vec::new();
    while let Some(row) = rows.next()? {
        let fields = Fields::of(row, "grave of", "id");
        graves.push((fields.id()?, fields.epoch()?));
    }
    Ok(graves)
}

/// The `limit` lines with the latest due times, oldest first.
pub(crate) fn history(
    connection: &Connection,
    id: &MonitorId,
    limit: u32,
) -> Result<Vec<HistoryRow>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT line.* FROM line
         WHERE monitor = (SELECT number FROM monitor WHERE id = ?1 AND ended = 0)
         ORDER BY due_unix_ms DESC LIMIT ?2",
    )?;
    let mut rows = statement.query(params![id.as_str(), limit])?;
    let mut history = Vec::new();
    while let Some(row) = rows.next()? {
        history.push(Fields::of(row, "history row", "sequence").history(id.clone())?);
    }
    history.reverse();
    Ok(history)
}

/// Counts of whole hours, from the one in which `since_unix_ms` lies; of whole days where the hours
/// are kept no more.
pub(crate) fn tally(
    connection: &mut Connection,
    id: &MonitorId,
    since_unix_ms: i64,
) -> Result<Tally, Failure> {
    let snapshot = connection.transaction()?;
    let Some((monitor, mark)) = marked(&snapshot, id)? else {
        return Ok(Tally::ZERO);
    };
    let horizons = roll::horizons(&snapshot)?;
    let from = horizons.answer(since_unix_ms);
    let days = roll::buckets(&snapshot, monitor, Resolution::Day, from.days..from.hours)?;
    let hours = roll::buckets(&snapshot, monitor, Resolution::Hour, from.hours..i64::MAX)?;
    let mut sum = Bucket::new(0);
    days.iter()
        .chain(&hours)
        .for_each(|bucket| sum.merge(bucket));
    for line in roll::lines(&snapshot, monitor, from.days.max(mark)..=i64::MAX, i64::MAX)? {
        sum.merge(&line.share(0));
    }
    Ok(sum.tally)
}

/// The number of a living monitor, and its mark.
fn marked(connection: &Connection, id: &MonitorId) -> Result<Option<(i64, i64)>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT monitor.number, status.mark_unix_ms FROM monitor
         JOIN status ON status.monitor = monitor.number
         WHERE monitor.id = ?1 AND monitor.ended = 0",
    )?;
    let row = statement.query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)));
    Ok(row.optional()?)
}

/// The latest `limit` incidents, oldest first.
pub(crate) fn incidents(
    connection: &Connection,
    id: &MonitorId,
    limit: u32,
) -> Result<Vec<Incident>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT incident.* FROM incident
         WHERE monitor = (SELECT number FROM monitor WHERE id = ?1 AND ended = 0)
         ORDER BY incident.id DESC LIMIT ?2",
    )?;
    let mut rows = statement.query(params![id.as_str(), limit])?;
    let mut incidents = Vec::new();
    while let Some(row) = rows.next()? {
        incidents.push(Fields::of(row, "incident", "id").incident("id", id.clone())?);
    }
    incidents.reverse();
    Ok(incidents)
}

/// Counts and latencies: what is rolled up, and the lines that are not yet.
pub(crate) fn buckets(
    connection: &mut Connection,
    id: &MonitorId,
    resolution: Resolution,
    unix_ms: Range<i64>,
) -> Result<Vec<Bucket>, Failure> {
    let snapshot = connection.transaction()?;
    let Some((monitor, mark)) = marked(&snapshot, id)? else {
        return Ok(Vec::new());
    };
    let horizons = roll::horizons(&snapshot)?;
    let start = resolution
        .start_of(unix_ms.start)
        .max(horizons.of(resolution));
    let range = start..unix_ms.end.max(start);
    let rolled = roll::buckets(&snapshot, monitor, resolution, range.clone())?;
    let mut buckets: BTreeMap<i64, Bucket> = rolled
        .into_iter()
        .map(|bucket| (bucket.start_unix_ms, bucket))
        .collect();
    // The last bucket may hold lines from beyond the end of the range.
    let end = range.end.saturating_add(resolution.length_ms());
    for line in roll::lines(&snapshot, monitor, start.max(mark)..=end, i64::MAX)? {
        let share = line.share(resolution.start_of(line.due_unix_ms));
        buckets
            .entry(share.start_unix_ms)
            .or_insert_with(|| Bucket::new(share.start_unix_ms))
            .merge(&share);
    }
    Ok(buckets.range(range).map(|(_, bucket)| *bucket).collect())
}
