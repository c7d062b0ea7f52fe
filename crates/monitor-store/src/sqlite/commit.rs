//! A commit: fenced state, line of history, counts, incident and notice, or nothing.

use monitor_model::{
    Applied, Bucket, Commit, Incident, LastDue, Outcome, Phase, Record, Refusal, Status, Trigger,
};
use rusqlite::{Connection, named_params};

use super::change::{Living, living};
use super::command::Change;
use super::failure::Failure;
use super::row::{epoch_number, fault_columns, micros};
use super::{incident, roll};
use crate::rollup;

/// Commits a record, or says why not.
///
/// One statement decides, the first that writes: after it the commit stands, and a refusal has
/// nothing to take back.
pub(crate) fn commit(connection: &Connection, record: &Record) -> Result<Change<Commit>, Failure> {
    let refused = |refusal| Ok(Change::Undo(Commit::Refused(refusal)));
    let Some(living) = living(connection, &record.monitor)? else {
        return refused(Refusal::Gone);
    };
    let status = living.status.after(record);
    if !update_status(connection, &living, &status, record)? {
        return refused(why(&living.status, record));
    }
    let sequence = next_sequence(connection)?;
    insert_history(connection, &living, record, sequence)?;
    if rollup::is_late(record.due_unix_ms, living.mark_unix_ms) {
        count(connection, living.number, record)?;
    }
    let open = incident::open(connection, living.number, &record.monitor)?;
    let incident = Incident::after(open.as_ref(), status.lifecycle, record, sequence);
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

/// The reason of a refusal: what of the conditions of [`update_status`] does not hold.
fn why(status: &Status, record: &Record) -> Refusal {
    let standing = (status.epoch, status.lifecycle);
    Refusal::of((record.epoch, record.trigger), standing).unwrap_or(Refusal::Duplicate)
}

/// INV-STORE-1, INV-STORE-2: the fence and the due time are conditions of the statement that writes.
/// False when one of them held it back.
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
                 last_due_unix_ms = :last, last_slots = :slots, last_interval_ms = :interval,
                 trimmed_unix_ms = min(trimmed_unix_ms, :due)
             WHERE monitor = :monitor AND epoch = :epoch
                 AND (lifecycle = 'active' OR :manual)
                 AND NOT EXISTS
                     (SELECT 1 FROM history WHERE monitor = :monitor AND due_unix_ms = :due)",
        )?
        .execute(named_params! {
            ":monitor": before.number,
            ":epoch": epoch_number(record.epoch)?,
            ":due": record.due_unix_ms,
            ":manual": record.trigger == Trigger::Manual,
            ":outcome": after.outcome.map(Outcome::as_str),
            ":since": after.since_unix_ms,
            ":checked": after.checked_unix_ms,
            ":streak": after.streak,
            ":layer": layer,
            ":reason": reason,
            ":detail": detail,
            ":retry_after": retry_after,
            ":last": last.due_unix_ms,
            ":slots": last.slots,
            ":interval": last.interval_ms,
        })?;
    Ok(changed == 1)
}

/// A number that no record has had before, even if the newest ones are removed by now.
fn next_sequence(connection: &Connection) -> Result<u64, Failure> {
    connection
        .prepare_cached("UPDATE head SET sequence = sequence + 1")?
        .execute([])?;
    // Not RETURNING: that costs a temporary table each time.
    let mut statement = connection.prepare_cached("SELECT sequence FROM head")?;
    Ok(statement
        .query_row([], |row| row.get::<_, i64>(0))?
        .unsigned_abs())
}

fn insert_history(
    connection: &Connection,
    monitor: &Living,
    record: &Record,
    sequence: u64,
) -> Result<(), Failure> {
    let outcome = record.outcome();
    let (layer, reason, detail, retry_after) = fault_columns(record.fault());
    let phase = |phase| record.phases().get(phase).map(micros);
    connection
        .prepare_cached(
            "INSERT INTO history (
                 monitor, due_unix_ms, sequence, epoch, slots, interval_ms, outcome, reason,
                 changed, manual, late_ms, took_us,
                 resolve_us, connect_us, tls_us, first_byte_us, transfer_us,
                 fault_layer, fault_reason, fault_detail, fault_retry_after_us, note, operation
             ) VALUES (
                 :monitor, :due, :sequence, :epoch, :slots, :interval,
                 (SELECT code FROM term WHERE name = :outcome),
                 (SELECT code FROM term WHERE name = :unobserved),
                 :changed, :manual, :late, :took,
                 :resolve, :connect, :tls, :first_byte, :transfer,
                 (SELECT code FROM term WHERE name = :layer),
                 (SELECT code FROM term WHERE name = :reason),
                 :detail, :retry_after, :note, :operation
             )",
        )?
        .execute(named_params! {
            ":monitor": monitor.number,
            ":due": record.due_unix_ms,
            ":sequence": sequence.cast_signed(),
            ":epoch": epoch_number(record.epoch)?,
            ":slots": record.slots,
            ":interval": record.interval_ms,
            ":outcome": outcome.as_str(),
            ":unobserved": record.reason().map(|reason| reason.as_str()),
            ":changed": outcome.sets_status() && monitor.status.outcome != Some(outcome),
            ":manual": record.trigger == Trigger::Manual,
            // Beyond 64 bits it comes round, and back again when it is read.
            ":late": record.started_unix_ms.wrapping_sub(record.due_unix_ms),
            ":took": record.took.map(micros),
            ":resolve": phase(Phase::Resolve),
            ":connect": phase(Phase::Connect),
            ":tls": phase(Phase::Tls),
            ":first_byte": phase(Phase::FirstByte),
            ":transfer": phase(Phase::Transfer),
            ":layer": layer,
            ":reason": reason,
            ":detail": detail,
            ":retry_after": retry_after,
            ":note": record.note(),
            ":operation": record.operation.map(|id| id.get().to_be_bytes()),
        })?;
    Ok(())
}

/// Counts a record whose line is before the mark already.
fn count(connection: &Connection, monitor: i64, record: &Record) -> Result<(), Failure> {
    let horizons = roll::horizons(connection)?;
    let fed = horizons.feeds(record.due_unix_ms);
    let buckets = fed.map(|(resolution, _)| (resolution, Bucket::of(record, resolution)));
    roll::add(connection, monitor, buckets)
}
