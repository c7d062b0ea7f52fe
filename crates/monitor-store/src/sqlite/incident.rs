//! Incidents, and the notices of them, as the writer makes them.

use monitor_model::{Incident, MonitorId};
use rusqlite::{Connection, params};

use super::failure::Failure;
use super::row::{Fields, fault_columns};

/// The open incident of a monitor.
pub(crate) fn open(
    connection: &Connection,
    number: i64,
    id: &MonitorId,
) -> Result<Option<Incident>, Failure> {
    let mut statement = connection
        .prepare_cached("SELECT * FROM incident WHERE monitor = ?1 AND closed_unix_ms IS NULL")?;
    let mut rows = statement.query([number])?;
    let row = rows.next()?;
    row.map(|row| Fields::of(row, "incident", "id").incident("id", id.clone()))
        .transpose()
}

/// Adds an incident, or replaces what can change of one.
pub(crate) fn put(
    connection: &Connection,
    number: i64,
    incident: &Incident,
) -> Result<(), Failure> {
    let (layer, reason, detail, retry_after) = fault_columns(Some(&incident.fault));
    connection
        .prepare_cached(
            "INSERT INTO incident (
                 id, monitor, opened_unix_ms, fault_layer, fault_reason, fault_detail,
                 fault_retry_after_us, paused, closed_unix_ms, closed_by
             ) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (id) DO UPDATE SET
                 paused = excluded.paused, closed_unix_ms = excluded.closed_unix_ms,
                 closed_by = excluded.closed_by",
        )?
        .execute(params![
            incident.id.cast_signed(),
            number,
            incident.opened_unix_ms,
            layer,
            reason,
            detail,
            retry_after,
            incident.paused,
            incident.closed.map(|closed| closed.unix_ms),
            incident.closed.map(|closed| closed.by.as_str()),
        ])?;
    Ok(())
}

/// Puts a notice into the outbox that says what the incident is now.
pub(crate) fn notify(connection: &Connection, incident: &Incident) -> Result<(), Failure> {
    let (layer, reason, detail, retry_after) = fault_columns(Some(&incident.fault));
    connection
        .prepare_cached(
            "INSERT INTO outbox (
                 incident, kind, monitor, opened_unix_ms, fault_layer, fault_reason, fault_detail,
                 fault_retry_after_us, paused, closed_unix_ms, closed_by
             ) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            incident.id.cast_signed(),
            incident.kind().as_str(),
            incident.monitor.as_str(),
            incident.opened_unix_ms,
            layer,
            reason,
            detail,
            retry_after,
            incident.paused,
            incident.closed.map(|closed| closed.unix_ms),
            incident.closed.map(|closed| closed.by.as_str()),
        ])?;
    Ok(())
}
