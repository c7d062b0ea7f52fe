//! Changes of monitors, each inside the writer's transaction. None writes before it knows that it
//! may.

use monitor_model::{LastDue, Lifecycle, Monitor, MonitorId, Status};
use monitor_operation::Epoch;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::command::Change;
use super::failure::Failure;
use super::incident;
use super::row::{Fields, epoch_number};

/// A living monitor as the writer finds it.
pub(crate) struct Living {
    pub(crate) number: i64,
    pub(crate) status: Status,
    pub(crate) last_due: Option<LastDue>,
    /// INV-STORE-11: what is due before it is counted in buckets.
    pub(crate) mark_unix_ms: i64,
}

pub(crate) fn living(connection: &Connection, id: &MonitorId) -> Result<Option<Living>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT monitor.number, monitor.id, status.* FROM monitor
         JOIN status ON status.monitor = monitor.number
         WHERE monitor.id = ?1 AND monitor.ended = 0",
    )?;
    let mut rows = statement.query([id.as_str()])?;
    let read = |row: &Row<'_>| {
        let fields = Fields::of(row, "status of monitor", "id");
        Ok(Living {
            number: fields.get("number")?,
            status: fields.status(id.clone())?,
            last_due: fields.last_due()?,
            mark_unix_ms: fields.get("mark_unix_ms")?,
        })
    };
    rows.next()?.map(read).transpose()
}

fn newer(standing: Epoch, epoch: Epoch) -> Result<(), Failure> {
    if epoch > standing {
        Ok(())
    } else {
        Err(Failure::Conflict { epoch, standing })
    }
}

/// Adds a monitor, or replaces its definition.
pub(crate) fn define(
    connection: &Connection,
    monitor: &Monitor,
    epoch: Epoch,
) -> Result<Change<Status>, Failure> {
    let (id, number) = (&monitor.id, epoch_number(epoch)?);
    let Some(standing) = living(connection, id)? else {
        return begin(connection, monitor, epoch).map(Change::Keep);
    };
    newer(standing.status.epoch, epoch)?;
    connection
        .prepare_cached("UPDATE monitor SET name = ?2, source = ?3, spec = ?4 WHERE number = ?1")?
        .execute(params![
            standing.number,
            monitor.name,
            monitor.source.as_str(),
            monitor.spec
        ])?;
    connection
        .prepare_cached("UPDATE status SET epoch = ?2 WHERE monitor = ?1")?
        .execute([standing.number, number])?;
    Ok(Change::Keep(Status {
        epoch,
        ..standing.status
    }))
}

/// A new monitor, or an old id with a new life.
fn begin(connection: &Connection, monitor: &Monitor, epoch: Epoch) -> Result<Status, Failure> {
    let id = monitor.id.as_str();
    let grave = connection
        .prepare_cached("SELECT id, epoch FROM grave WHERE id = ?1")?
        .query_row([id], |row| Ok(Fields::of(row, "grave of", "id").epoch()))
        .optional()?;
    if let Some(standing) = grave.transpose()? {
        newer(standing, epoch)?;
        connection
            .prepare_cached("DELETE FROM grave WHERE id = ?1")?
            .execute([id])?;
    }
    connection
        .prepare_cached("INSERT INTO monitor (id, name, source, spec) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            id,
            monitor.name,
            monitor.source.as_str(),
            monitor.spec
        ])?;
    connection
        .prepare_cached("INSERT INTO status (monitor, lifecycle, epoch) VALUES (?1, ?2, ?3)")?
        .execute(params![
            connection.last_insert_rowid(),
            Lifecycle::Active.as_str(),
            epoch_number(epoch)?
        ])?;
    Ok(Status::new(monitor.id.clone(), Lifecycle::Active, epoch))
}

/// Pauses or resumes.
pub(crate) fn set_lifecycle(
    connection: &Connection,
    id: &MonitorId,
    lifecycle: Lifecycle,
    epoch: Epoch,
    due_from_unix_ms: Option<i64>,
) -> Result<Change<Option<Status>>, Failure> {
    let Some(standing) = living(connection, id)? else {
        return Ok(Change::Undo(None));
    };
    newer(standing.status.epoch, epoch)?;
    connection
        .prepare_cached(
            "UPDATE status SET lifecycle = ?2, epoch = ?3,
                 due_from_unix_ms = coalesce(?4, due_from_unix_ms)
             WHERE monitor = ?1",
        )?
        .execute(params![
            standing.number,
            lifecycle.as_str(),
            epoch_number(epoch)?,
            due_from_unix_ms
        ])?;
    if let Some(open) = incident::open(connection, standing.number, id)? {
        incident::put(connection, standing.number, &open.under(lifecycle))?;
    }
    Ok(Change::Keep(Some(Status {
        lifecycle,
        epoch,
        ..standing.status
    })))
}

/// Ends a monitor's life. Its history is out of reach at once and removed in slices later, so that
/// deleting a large one holds nobody up.
pub(crate) fn delete(
    connection: &Connection,
    id: &MonitorId,
    epoch: Epoch,
) -> Result<Change<bool>, Failure> {
    let Some(standing) = living(connection, id)? else {
        return Ok(Change::Undo(false));
    };
    newer(standing.status.epoch, epoch)?;
    if let Some(open) = incident::open(connection, standing.number, id)? {
        let closed = open.deleted(&standing.status);
        incident::put(connection, standing.number, &closed)?;
        incident::notify(connection, &closed)?;
    }
    connection
        .prepare_cached("UPDATE monitor SET ended = 1 WHERE number = ?1")?
        .execute([standing.number])?;
    connection
        .prepare_cached("DELETE FROM status WHERE monitor = ?1")?
        .execute([standing.number])?;
    connection
        .prepare_cached("INSERT INTO grave (id, epoch) VALUES (?1, ?2)")?
        .execute(params![id.as_str(), epoch_number(epoch)?])?;
    Ok(Change::Keep(true))
}
