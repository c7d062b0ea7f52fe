//! Notices on their way out: taken for a time, settled by whoever still holds them. The time is the
//! server's.

use std::time::Duration;

use monitor_model::{Delivery, Notice, Outbox, Settlement};
use monitor_pool::managers::postgres::tokio_postgres::types::Type;

use super::failure::Failure;
use super::row::Fields;
use super::session::{Database, End, Parameter, Session};

/// The server's clock in unix milliseconds.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::int8";

/// A time that can be added to any clock: three hundred years.
fn millis(duration: Duration) -> i64 {
    const FAR: i64 = 10_000_000_000_000;
    i64::try_from(duration.as_millis()).map_or(FAR, |millis| millis.min(FAR))
}

/// The oldest notice of each incident, if nobody holds it.
pub(super) async fn take(
    database: &Database,
    limit: u32,
    lease: Duration,
) -> Result<Vec<Delivery>, End> {
    let transaction = database.begin().await?;
    let statement = format!(
        "WITH clock AS MATERIALIZED (SELECT {NOW} AS now),
         first AS MATERIALIZED (
             SELECT sequence FROM outbox AS first, clock
             WHERE state <> 'given_up'
                 AND (held_from_unix_ms IS NULL OR now < held_from_unix_ms
                     OR now >= held_until_unix_ms)
                 AND NOT EXISTS (
                     SELECT 1 FROM outbox AS earlier
                     WHERE earlier.incident = first.incident AND earlier.state <> 'given_up'
                         AND earlier.sequence < first.sequence)
             ORDER BY sequence LIMIT $1 FOR UPDATE OF first SKIP LOCKED)
         UPDATE outbox SET attempt = attempt + 1, state = 'taken',
             held_from_unix_ms = now, held_until_unix_ms = now + $2
         FROM first, clock WHERE outbox.sequence = first.sequence
         RETURNING outbox.*"
    );
    let parameters: [Parameter<'_>; 2] = [
        (&i64::from(limit), Type::INT8),
        (&millis(lease), Type::INT8),
    ];
    let rows = transaction.rows(&statement, &parameters).await?;
    transaction.commit().await?;
    let mut taken = Vec::with_capacity(rows.len());
    for row in &rows {
        let fields = Fields::of(row, "notice", "sequence");
        taken.push(Delivery {
            notice: Notice {
                sequence: fields.number("sequence")?,
                incident: fields.incident("incident", fields.id("monitor")?)?,
            },
            attempt: fields.number("attempt")?,
        });
    }
    taken.sort_by_key(|delivery| delivery.notice.sequence);
    Ok(taken)
}

/// INV-STORE-6: the token is a condition of the statement that changes the row. `again`: an attempt
/// before this one may have been committed; nobody else has the token, so whoever finds it used up
/// has used it.
pub(super) async fn settle(
    database: &Database,
    delivery: &Delivery,
    settlement: Settlement,
    again: bool,
) -> Result<bool, End> {
    let transaction = database.begin().await?;
    let held = "WHERE sequence = $1 AND attempt = $2 AND state = 'taken'";
    let (statement, wait) = match settlement {
        Settlement::Delivered => (format!("DELETE FROM outbox {held} AND $3::int8 = 0"), 0),
        Settlement::Retry(after) => (
            format!(
                "UPDATE outbox SET state = 'waiting', held_from_unix_ms = {NOW},
                     held_until_unix_ms = {NOW} + $3 {held}"
            ),
            millis(after),
        ),
        Settlement::GivenUp => (
            format!("UPDATE outbox SET state = 'given_up' {held} AND $3::int8 = 0"),
            0,
        ),
    };
    let key = delivery.notice.sequence.cast_signed();
    let attempt = i64::from(delivery.attempt);
    let parameters: [Parameter<'_>; 3] = [
        (&key, Type::INT8),
        (&attempt, Type::INT8),
        (&wait, Type::INT8),
    ];
    let changed = transaction.change(&statement, &parameters).await?;
    if changed == 1 {
        transaction.commit().await?;
        return Ok(true);
    }
    let later = "SELECT 1 FROM outbox WHERE sequence = $1 AND attempt > $2";
    let is_anothers = !transaction.rows(later, &parameters[..2]).await?.is_empty();
    transaction.roll_back().await;
    Ok(again && !is_anothers)
}

pub(super) async fn counts(session: &Session) -> Result<Outbox, Failure> {
    let counts = "SELECT count(*) FILTER (WHERE state <> 'given_up') AS waiting,
        count(*) FILTER (WHERE state = 'given_up') AS given_up FROM outbox";
    let row = session.query_one(counts, &[]).await?;
    let fields = Fields::of(&row, "outbox", "waiting");
    Ok(Outbox {
        waiting: fields.number("waiting")?,
        given_up: fields.number("given_up")?,
    })
}
