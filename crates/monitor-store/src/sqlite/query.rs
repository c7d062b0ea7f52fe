//! The reads, each on the read connection.

use std::collections::BTreeMap;
use std::ops::Range;

use monitor_model::{Bucket, HistoryRow, Incident, Loaded, MonitorId, Resolution, Stored, Tally};
use monitor_operation::Epoch;
use rusqlite::{Connection, params};

use super::change::HOUR_MS;
use super::failure::Failure;
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
        "SELECT history.* FROM history
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

/// Counts of whole hours, from the one in which `since_unix_ms` lies.
pub(crate) fn tally(
    connection: &Connection,
    id: &MonitorId,
    since_unix_ms: i64,
) -> Result<Tally, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT hour, up, degraded, down, due FROM tally
         WHERE monitor = (SELECT number FROM monitor WHERE id = ?1 AND ended = 0) AND hour >= ?2",
    )?;
    let mut rows = statement.query(params![id.as_str(), since_unix_ms.div_euclid(HOUR_MS)])?;
    let mut sum = Tally::default();
    while let Some(row) = rows.next()? {
        let hour = Fields::of(row, &format!("tally of monitor \"{id}\", hour"), "hour").tally()?;
        sum.up = sum.up.saturating_add(hour.up);
        sum.degraded = sum.degraded.saturating_add(hour.degraded);
        sum.down = sum.down.saturating_add(hour.down);
        sum.due = sum.due.saturating_add(hour.due);
    }
    Ok(sum)
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

/// Counts and latencies, from the lines of history that are kept.
pub(crate) fn buckets(
    connection: &Connection,
    id: &MonitorId,
    resolution: Resolution,
    unix_ms: Range<i64>,
) -> Result<Vec<Bucket>, Failure> {
    let start = resolution.start_of(unix_ms.start);
    let mut statement = connection.prepare_cached(
        "SELECT history.* FROM history
         WHERE monitor = (SELECT number FROM monitor WHERE id = ?1 AND ended = 0)
             AND due_unix_ms >= ?2",
    )?;
    let mut rows = statement.query(params![id.as_str(), start])?;
    let mut buckets = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let line = Fields::of(row, "history row", "sequence").history(id.clone())?;
        let bucket = Bucket::of(&line.record, resolution);
        buckets
            .entry(bucket.start_unix_ms)
            .or_insert(Bucket::new(bucket.start_unix_ms))
            .merge(&bucket);
    }
    let range = start..unix_ms.end.max(start);
    Ok(buckets.range(range).map(|(_, bucket)| *bucket).collect())
}
