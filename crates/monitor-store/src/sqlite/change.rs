//! The changes, each to be run inside a savepoint of the writer's transaction.

use monitor_model::{
    Applied, Commit, Incident, LastDue, Lifecycle, Monitor, MonitorId, Phase, Record, Refusal,
    Status,
};
use monitor_operation::Epoch;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::command::Change;
use super::failure::Failure;
use super::incident;
use super::row::{Fields, epoch_number, fault_columns, micros, trigger_name};

pub(crate) const HOUR_MS: i64 = 3_600_000;

/// A living monitor as the writer finds it.
struct Living {
    number: i64,
    status: Status,
    last_due: Option<LastDue>,
}

fn living(connection: &Connection, id: &MonitorId) -> Result<Option<Living>, Failure> {
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
) -> Result<Change<Option<Status>>, Failure> {
    let Some(standing) = living(connection, id)? else {
        return Ok(Change::Undo(None));
    };
    newer(standing.status.epoch, epoch)?;
    connection
        .prepare_cached("UPDATE status SET lifecycle = ?2, epoch = ?3 WHERE monitor = ?1")?
        .execute(params![
            standing.number,
            lifecycle.as_str(),
            epoch_number(epoch)?
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

/// Writes status, history, counts, incident and notice under the record's epoch, or nothing.
pub(crate) fn commit(connection: &Connection, record: &Record) -> Result<Change<Commit>, Failure> {
    let refused = |refusal| Ok(Change::Undo(Commit::Refused(refusal)));
    let Some(living) = living(connection, &record.monitor)? else {
        return refused(Refusal::Gone);
    };
    let status = living.status.after(record);
    if !update_status(connection, &living, &status, record)? {
        let stale = living.status.epoch != record.epoch;
        return refused(if stale {
            Refusal::Stale
        } else {
            Refusal::Paused
        });
    }
    let Some(sequence) = insert_history(connection, living.number, record)? else {
        return refused(Refusal::Duplicate);
    };
    count(connection, living.number, record)?;
    let open = incident::open(connection, living.number, &record.monitor)?;
    let incident = Incident::after(open.as_ref(), record, sequence);
    if let Some(incident) = &incident {
        incident::put(connection, living.number, incident)?;
        incident::notify(connection, incident)?;
    }
    Ok(Change::Keep(Commit::Applied(Applied {
        sequence,
        previous: living.status.outcome,
        status,
        incident: incident.map(Box::new),
    })))
}

/// INV-STORE-1: the fence is part of the statement that writes. False when it held.
fn update_status(
    connection: &Connection,
    before: &Living,
    after: &Status,
    record: &Record,
) -> Result<bool, Failure> {
    let this = LastDue::of(record);
    let reach = |last: &LastDue| (last.end_unix_ms(), last.due_unix_ms);
    let last = match before.last_due {
        Some(last) if reach(&last) > reach(&this) => last,
        _ => this,
    };
    let (layer, reason, detail, retry_after) = fault_columns(after.fault.as_ref());
    let changed = connection
        .prepare_cached(
            "UPDATE status SET
                 outcome = :outcome, since_unix_ms = :since, checked_unix_ms = :checked,
                 streak = :streak, fault_layer = :layer, fault_reason = :reason,
                 fault_detail = :detail, fault_retry_after_us = :retry_after,
                 last_due_unix_ms = :due, last_slots = :slots, last_interval_ms = :interval
             WHERE monitor = :monitor AND epoch = :epoch AND lifecycle = 'active'",
        )?
        .execute(named_params! {
            ":monitor": before.number,
            ":epoch": epoch_number(record.epoch)?,
            ":outcome": after.outcome.map(|outcome| outcome.as_str()),
            ":since": after.since_unix_ms,
            ":checked": after.checked_unix_ms,
            ":streak": after.streak,
            ":layer": layer,
            ":reason": reason,
            ":detail": detail,
            ":retry_after": retry_after,
            ":due": last.due_unix_ms,
            ":slots": last.slots,
            ":interval": last.interval_ms,
        })?;
    Ok(changed == 1)
}

/// INV-STORE-2: the unique key of due times decides. `None` when the due time has its row.
fn insert_history(
    connection: &Connection,
    monitor: i64,
    record: &Record,
) -> Result<Option<u64>, Failure> {
    let (layer, reason, detail, retry_after) = fault_columns(record.fault());
    let phase = |phase| record.phases().get(phase).map(micros);
    let inserted = connection
        .prepare_cached(
            r#"INSERT INTO history (
                 monitor, due_unix_ms, slots, interval_ms, epoch, outcome, reason, "trigger",
                 started_unix_ms, took_us, fault_layer, fault_reason, fault_detail,
                 fault_retry_after_us, note, operation,
                 resolve_us, connect_us, tls_us, first_byte_us, transfer_us
             ) VALUES (
                 :monitor, :due, :slots, :interval, :epoch, :outcome, :unobserved, :trigger,
                 :started, :took, :layer, :reason, :detail,
                 :retry_after, :note, :operation,
                 :resolve, :connect, :tls, :first_byte, :transfer
             ) ON CONFLICT (monitor, due_unix_ms) DO NOTHING"#,
        )?
        .execute(named_params! {
            ":monitor": monitor,
            ":due": record.due_unix_ms,
            ":slots": record.slots,
            ":interval": record.interval_ms,
            ":epoch": epoch_number(record.epoch)?,
            ":outcome": record.outcome().as_str(),
            ":unobserved": record.reason().map(|reason| reason.as_str()),
            ":trigger": trigger_name(record.trigger),
            ":started": record.started_unix_ms,
            ":took": record.took.map(micros),
            ":layer": layer,
            ":reason": reason,
            ":detail": detail,
            ":retry_after": retry_after,
            ":note": record.note(),
            ":operation": record.operation.map(|id| id.get().to_be_bytes()),
            ":resolve": phase(Phase::Resolve),
            ":connect": phase(Phase::Connect),
            ":tls": phase(Phase::Tls),
            ":first_byte": phase(Phase::FirstByte),
            ":transfer": phase(Phase::Transfer),
        })?;
    // Sequences start at 1 and rise.
    Ok((inserted == 1).then(|| connection.last_insert_rowid().unsigned_abs()))
}

fn count(connection: &Connection, monitor: i64, record: &Record) -> Result<(), Failure> {
    let mut tally = monitor_model::Tally::default();
    tally.add(record.outcome(), record.slots);
    connection
        .prepare_cached(
            "INSERT INTO tally (monitor, hour, up, degraded, down, due)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (monitor, hour) DO UPDATE SET
                 up = up + excluded.up, degraded = degraded + excluded.degraded,
                 down = down + excluded.down, due = due + excluded.due",
        )?
        .execute(params![
            monitor,
            record.due_unix_ms.div_euclid(HOUR_MS),
            tally.up.cast_signed(),
            tally.degraded.cast_signed(),
            tally.down.cast_signed(),
            tally.due.cast_signed(),
        ])?;
    Ok(())
}
