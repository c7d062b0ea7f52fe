//! The reads. Each is one statement, or one snapshot.

use std::ops::Range;

use monitor_model::{Bucket, HistoryRow, Incident, Loaded, MonitorId, Resolution, Stored, Tally};
use monitor_pool::managers::postgres::tokio_postgres::types::Type;

use super::failure::Failure;
use super::roll;
use super::row::Fields;
use super::session::{Parameter, Session};
use crate::rollup::Horizons;

const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Everything needed to start, as of one instant.
pub(super) async fn load(session: &Session) -> Result<Loaded, Failure> {
    session.batch_execute(SNAPSHOT).await?;
    let monitors = "SELECT monitor.id, monitor.name, monitor.source, monitor.spec, status.*
        FROM monitor JOIN status ON status.monitor = monitor.number
        WHERE NOT monitor.ended ORDER BY monitor.id";
    let monitors = session.query(monitors, &[]).await?;
    let graves = session
        .query("SELECT id, epoch FROM grave ORDER BY id", &[])
        .await?;
    session.batch_execute("COMMIT").await?;
    let stored = |row| {
        let fields = Fields::of(row, "monitor", "id");
        let monitor = fields.monitor()?;
        Ok(Stored {
            status: fields.status(monitor.id.clone())?,
            last_due: fields.last_due()?,
            due_from_unix_ms: fields.get("due_from_unix_ms")?,
            monitor,
        })
    };
    let grave = |row| {
        let fields = Fields::of(row, "grave of", "id");
        Ok((fields.id("id")?, fields.epoch()?))
    };
    Ok(Loaded {
        monitors: monitors
            .iter()
            .map(stored)
            .collect::<Result<_, Failure>>()?,
        graves: graves.iter().map(grave).collect::<Result<_, Failure>>()?,
    })
}

/// The `limit` lines with the latest due times, oldest first.
pub(super) async fn history(
    session: &Session,
    id: &MonitorId,
    limit: u32,
) -> Result<Vec<HistoryRow>, Failure> {
    let lines = "SELECT history.* FROM history
        WHERE monitor = (SELECT number FROM monitor WHERE id = $1 AND NOT ended)
        ORDER BY due_unix_ms DESC LIMIT $2";
    let parameters: [Parameter<'_>; 2] =
        [(&id.as_str(), Type::TEXT), (&i64::from(limit), Type::INT8)];
    let rows = session.query_typed(lines, &parameters).await?;
    let read = |row| Fields::of(row, "history row", "sequence").history(id.clone());
    rows.iter().rev().map(read).collect()
}

/// The latest `limit` incidents, oldest first.
pub(super) async fn incidents(
    session: &Session,
    id: &MonitorId,
    limit: u32,
) -> Result<Vec<Incident>, Failure> {
    let incidents = "SELECT incident.* FROM incident
        WHERE monitor = (SELECT number FROM monitor WHERE id = $1 AND NOT ended)
        ORDER BY id DESC LIMIT $2";
    let parameters: [Parameter<'_>; 2] =
        [(&id.as_str(), Type::TEXT), (&i64::from(limit), Type::INT8)];
    let rows = session.query_typed(incidents, &parameters).await?;
    let read = |row| Fields::of(row, "incident", "id").incident("id", id.clone());
    rows.iter().rev().map(read).collect()
}

/// Begins a snapshot, and says what is kept in it: what is removed meanwhile, by whatever owner, is
/// still there, and what was removed before is not answered for.
async fn snapshot(session: &Session) -> Result<Horizons, Failure> {
    let begun = async { Ok(session.batch_execute(SNAPSHOT).await?) };
    let (_, horizons) = tokio::try_join!(begun, roll::horizons(session))?;
    Ok(horizons)
}

/// A living monitor with its mark.
const LIVING: &str = "WITH living AS (
    SELECT number, mark_unix_ms AS mark FROM monitor
    JOIN status ON status.monitor = number WHERE id = $1 AND NOT ended)";

/// Counts and latencies: what is rolled up, and the lines that are not.
pub(super) async fn buckets(
    session: &Session,
    id: &MonitorId,
    resolution: Resolution,
    unix_ms: Range<i64>,
) -> Result<Vec<Bucket>, Failure> {
    let kept = snapshot(session).await?.of(resolution);
    let start = resolution.start_of(unix_ms.start).max(kept);
    let lines = format!(
        "SELECT {} FROM history JOIN living ON monitor = number
         WHERE due_unix_ms >= mark AND due_unix_ms >= $3",
        roll::shares(resolution)
    );
    let statement = format!(
        "{LIVING}, fresh AS ({fresh}),
         both_kinds AS (
             SELECT start_unix_ms, up, degraded, down, due,
                 latency_count, latency_min_us, latency_sum_us, latency_max_us
             FROM bucket JOIN living ON monitor = number WHERE resolution = $2
             UNION ALL SELECT * FROM fresh)
         SELECT * FROM both_kinds
         WHERE start_unix_ms >= $3 AND start_unix_ms < $4 ORDER BY start_unix_ms",
        fresh = roll::sums("start_unix_ms", &lines),
    );
    let parameters: [Parameter<'_>; 4] = [
        (&id.as_str(), Type::TEXT),
        (&(resolution as i16), Type::INT2),
        (&start, Type::INT8),
        (&unix_ms.end, Type::INT8),
    ];
    let rows = session.query_typed(&statement, &parameters).await?;
    session.batch_execute("COMMIT").await?;
    let mut buckets: Vec<Bucket> = Vec::with_capacity(rows.len());
    for row in &rows {
        let bucket = Fields::of(row, "bucket", "start_unix_ms").bucket()?;
        match buckets.last_mut() {
            Some(last) if last.start_unix_ms == bucket.start_unix_ms => last.merge(&bucket),
            _ => buckets.push(bucket),
        }
    }
    Ok(buckets)
}

/// Counts of whole hours, from the one in which `since_unix_ms` lies; of whole days where the hours
/// are kept no more.
pub(super) async fn tally(
    session: &Session,
    id: &MonitorId,
    since_unix_ms: i64,
) -> Result<Tally, Failure> {
    let answer = snapshot(session).await?.answer(since_unix_ms);
    let statement = format!(
        "{LIVING}
         SELECT start_unix_ms, up, degraded, down, due, 0::int8 AS latency_count,
             0::int8 AS latency_min_us, 0::int8 AS latency_sum_us, 0::int8 AS latency_max_us
         FROM bucket JOIN living ON monitor = number
         WHERE resolution = 2 AND start_unix_ms >= $2 AND start_unix_ms < $3
             OR resolution = 1 AND start_unix_ms >= $3
         UNION ALL {fresh}",
        fresh = roll::sums(
            "start_unix_ms",
            &format!(
                "SELECT {} FROM history JOIN living ON monitor = number
                 WHERE due_unix_ms >= mark AND due_unix_ms >= $2",
                roll::shares(Resolution::Day)
            )
        ),
    );
    let parameters: [Parameter<'_>; 3] = [
        (&id.as_str(), Type::TEXT),
        (&answer.days, Type::INT8),
        (&answer.hours, Type::INT8),
    ];
    let rows = session.query_typed(&statement, &parameters).await?;
    session.batch_execute("COMMIT").await?;
    let mut sum = Tally::ZERO;
    for row in &rows {
        sum.merge(&Fields::of(row, "bucket", "start_unix_ms").bucket()?.tally);
    }
    Ok(sum)
}
