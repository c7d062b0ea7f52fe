//! Counts of minutes, hours and days in the file: what is added to them, and how they are read.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use monitor_model::{Bucket, Outcome, Resolution};
use rusqlite::{Connection, OptionalExtension, params};

use super::failure::Failure;
use super::page;
use super::row::Fields;
use crate::rollup::{Horizons, share};

/// What counts of a line of history.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) due_unix_ms: i64,
    outcome: Outcome,
    slots: u32,
    took_us: Option<u64>,
}

impl Line {
    /// What it counts for in the bucket that begins there.
    pub(crate) fn share(&self, start_unix_ms: i64) -> Bucket {
        share(start_unix_ms, self.outcome, self.slots, self.took_us)
    }
}

/// The lines of a monitor with these due times, the oldest first, `limit` at most.
pub(crate) fn lines(
    connection: &Connection,
    monitor: i64,
    due_unix_ms: RangeInclusive<i64>,
    limit: i64,
) -> Result<Vec<Line>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, due_unix_ms, outcome, slots, took_us FROM line
         WHERE monitor = ?1 AND due_unix_ms >= ?2 AND due_unix_ms <= ?3
         ORDER BY due_unix_ms LIMIT ?4",
    )?;
    let mut rows = statement.query(params![
        monitor,
        due_unix_ms.start(),
        due_unix_ms.end(),
        limit
    ])?;
    let mut lines = Vec::new();
    while let Some(row) = rows.next()? {
        let fields = Fields::of(row, "history row", "sequence");
        lines.push(Line {
            due_unix_ms: fields.get("due_unix_ms")?,
            outcome: fields.name("outcome")?,
            slots: fields.number("slots")?,
            took_us: fields.maybe_number("took_us")?,
        });
    }
    Ok(lines)
}

/// Adds buckets to those of a monitor. After an error nothing was written: all is read before.
pub(crate) fn add(
    connection: &Connection,
    monitor: i64,
    buckets: impl IntoIterator<Item = (Resolution, Bucket)>,
) -> Result<(), Failure> {
    let mut pages: BTreeMap<(Resolution, i64), BTreeMap<i64, Bucket>> = BTreeMap::new();
    for (resolution, bucket) in buckets {
        let number = page::number(resolution, bucket.start_unix_ms);
        merge(pages.entry((resolution, number)).or_default(), &bucket);
    }
    for ((resolution, number), added) in &mut pages {
        for known in read_page(connection, monitor, *resolution, *number)? {
            merge(added, &known);
        }
    }
    let mut statement = connection.prepare_cached(
        "INSERT INTO bucket_page (monitor, resolution, page, buckets) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET buckets = excluded.buckets",
    )?;
    for ((resolution, number), buckets) in pages {
        let buckets: Vec<_> = buckets.into_values().collect();
        let bytes = page::encode(resolution, &buckets);
        statement.execute(params![monitor, code(resolution), number, bytes])?;
    }
    Ok(())
}

fn merge(buckets: &mut BTreeMap<i64, Bucket>, bucket: &Bucket) {
    buckets
        .entry(bucket.start_unix_ms)
        .or_insert_with(|| Bucket::new(bucket.start_unix_ms))
        .merge(bucket);
}

fn read_page(
    connection: &Connection,
    monitor: i64,
    resolution: Resolution,
    number: i64,
) -> Result<Vec<Bucket>, Failure> {
    let bytes: Option<Vec<u8>> = connection
        .prepare_cached(
            "SELECT buckets FROM bucket_page WHERE monitor = ?1 AND resolution = ?2 AND page = ?3",
        )?
        .query_row(params![monitor, code(resolution), number], |row| row.get(0))
        .optional()?;
    bytes.map_or(Ok(Vec::new()), |bytes| {
        page::decode(resolution, number, &bytes)
            .map_err(|problem| unreadable(monitor, resolution, number, problem))
    })
}

fn unreadable(monitor: i64, resolution: Resolution, number: i64, problem: &str) -> Failure {
    Failure::Unreadable {
        row: format!("page {number} of the {resolution}s of monitor number {monitor}"),
        column: "buckets",
        problem: problem.to_owned(),
    }
}

/// The buckets of a monitor that begin in this span, oldest first.
pub(crate) fn buckets(
    connection: &Connection,
    monitor: i64,
    resolution: Resolution,
    start_unix_ms: Range<i64>,
) -> Result<Vec<Bucket>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT page, buckets FROM bucket_page
         WHERE monitor = ?1 AND resolution = ?2 AND page >= ?3 AND page <= ?4 ORDER BY page",
    )?;
    let number = |unix_ms| page::number(resolution, unix_ms);
    let (first, last) = (number(start_unix_ms.start), number(start_unix_ms.end));
    let mut rows = statement.query(params![monitor, code(resolution), first, last])?;
    let mut buckets = Vec::new();
    while let Some(row) = rows.next()? {
        let (number, bytes): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let page = page::decode(resolution, number, &bytes)
            .map_err(|problem| unreadable(monitor, resolution, number, problem))?;
        let is_wanted = |bucket: &Bucket| start_unix_ms.contains(&bucket.start_unix_ms);
        buckets.extend(page.into_iter().filter(is_wanted));
    }
    Ok(buckets)
}

/// Removes pages that lie before what is kept. Returns how many.
pub(crate) fn expire(
    connection: &Connection,
    monitor: i64,
    horizons: &Horizons,
) -> Result<usize, Failure> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM bucket_page WHERE monitor = ?1 AND resolution = ?2 AND page < ?3",
    )?;
    let mut removed = 0;
    for resolution in Resolution::ALL {
        let first = page::number(resolution, horizons.of(resolution));
        removed += statement.execute(params![monitor, code(resolution), first])?;
    }
    Ok(removed)
}

/// The oldest that there is: a line that goes by age, a minute and an hour, [`i64::MAX`] for none.
/// Of pages it is their begin.
pub(crate) fn oldest(connection: &Connection) -> Result<Horizons, Failure> {
    let page = |resolution: Resolution| -> rusqlite::Result<i64> {
        let first: Option<i64> = connection
            .prepare_cached(
                "SELECT min((SELECT min(page) FROM bucket_page
                     WHERE bucket_page.monitor = status.monitor AND resolution = ?1))
                 FROM status",
            )?
            .query_row([code(resolution)], |row| row.get(0))?;
        Ok(first.map_or(i64::MAX, |number| page::start(resolution, number, 0)))
    };
    let line: Option<i64> = connection
        .prepare_cached(
            "SELECT min((SELECT min(due_unix_ms) FROM history
                 WHERE history.monitor = status.monitor AND due_unix_ms >= trimmed_unix_ms))
             FROM status",
        )?
        .query_row([], |row| row.get(0))?;
    Ok(Horizons {
        history: line.unwrap_or(i64::MAX),
        minutes: page(Resolution::Minute)?,
        hours: page(Resolution::Hour)?,
        days: i64::MIN,
    })
}

const fn code(resolution: Resolution) -> i64 {
    match resolution {
        Resolution::Minute => 1,
        Resolution::Hour => 2,
        Resolution::Day => 3,
    }
}

/// Where the horizons are.
pub(crate) fn horizons(connection: &Connection) -> Result<Horizons, Failure> {
    let mut statement = connection.prepare_cached("SELECT * FROM head")?;
    Ok(statement.query_row([], |row| {
        Ok(Horizons {
            history: row.get("history_from_unix_ms")?,
            minutes: row.get("minutes_from_unix_ms")?,
            hours: row.get("hours_from_unix_ms")?,
            days: row.get("days_from_unix_ms")?,
        })
    })?)
}

/// Moves the horizons.
pub(crate) fn set_horizons(connection: &Connection, horizons: Horizons) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "UPDATE head SET history_from_unix_ms = ?1, minutes_from_unix_ms = ?2,
                 hours_from_unix_ms = ?3, days_from_unix_ms = ?4",
        )?
        .execute(params![
            horizons.history,
            horizons.minutes,
            horizons.hours,
            horizons.days
        ])?;
    Ok(())
}
