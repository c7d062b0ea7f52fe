//! Notices on their way out: taken for a time, settled by whoever still holds them.

use std::time::{Duration, SystemTime};

use monitor_model::{Delivery, Notice, Outbox, Settlement};
use rusqlite::{Connection, params};

use super::command::Change;
use super::failure::Failure;
use super::row::Fields;

fn now_unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, millis)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The oldest notice of each incident, if nobody holds it.
pub(crate) fn take(
    connection: &Connection,
    limit: u32,
    lease: Duration,
) -> Result<Change<Vec<Delivery>>, Failure> {
    let now = now_unix_ms();
    let mut statement = connection.prepare_cached(
        "UPDATE outbox SET
             attempt = attempt + 1, state = 'taken', held_from_unix_ms = ?2, held_until_unix_ms = ?3
         WHERE sequence IN (
             SELECT sequence FROM outbox AS first
             WHERE state <> 'given_up'
                 AND (held_from_unix_ms IS NULL OR ?2 < held_from_unix_ms
                     OR ?2 >= held_until_unix_ms)
                 AND NOT EXISTS (
                     SELECT 1 FROM outbox AS earlier
                     WHERE earlier.incident = first.incident AND earlier.state <> 'given_up'
                         AND earlier.sequence < first.sequence)
             ORDER BY sequence LIMIT ?1)
         RETURNING *",
    )?;
    let mut rows = statement.query(params![limit, now, now.saturating_add(millis(lease))])?;
    let mut taken = Vec::new();
    while let Some(row) = rows.next()? {
        let fields = Fields::of(row, "notice", "sequence");
        let incident = fields.incident("incident", fields.monitor_id()?)?;
        taken.push(Delivery {
            notice: Notice {
                sequence: fields.number("sequence")?,
                incident,
            },
            attempt: fields.number("attempt")?,
        });
    }
    taken.sort_by_key(|delivery| delivery.notice.sequence);
    Ok(Change::Keep(taken))
}

/// INV-STORE-6: the token is a condition of the statement that changes the row.
pub(crate) fn settle(
    connection: &Connection,
    delivery: &Delivery,
    settlement: Settlement,
) -> Result<Change<bool>, Failure> {
    let key = (
        delivery.notice.sequence.cast_signed(),
        delivery.attempt,
        now_unix_ms(),
    );
    let held = "WHERE sequence = ?1 AND attempt = ?2 AND state = 'taken'";
    let changed = match settlement {
        Settlement::Delivered => connection
            .prepare_cached(&format!("DELETE FROM outbox {held}"))?
            .execute(params![key.0, key.1])?,
        Settlement::Retry(after) => connection
            .prepare_cached(&format!(
                "UPDATE outbox SET state = 'waiting', held_from_unix_ms = ?3,
                     held_until_unix_ms = ?4 {held}"
            ))?
            .execute(params![
                key.0,
                key.1,
                key.2,
                key.2.saturating_add(millis(after))
            ])?,
        Settlement::GivenUp => connection
            .prepare_cached(&format!("UPDATE outbox SET state = 'given_up' {held}"))?
            .execute(params![key.0, key.1])?,
    };
    Ok(Change::Keep(changed == 1))
}

pub(crate) fn counts(connection: &Connection) -> Result<Outbox, Failure> {
    let count = |given_up: bool| -> rusqlite::Result<i64> {
        connection.query_row(
            "SELECT count(*) FROM outbox WHERE (state = 'given_up') = ?1",
            [given_up],
            |row| row.get(0),
        )
    };
    Ok(Outbox {
        waiting: count(false)?.unsigned_abs(),
        given_up: count(true)?.unsigned_abs(),
    })
}
