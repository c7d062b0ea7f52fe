//! The code of step 3: what was counted by hours, as pages of buckets.

use std::collections::BTreeMap;

use monitor_model::{Bucket, Outcome, Resolution, Tally};
use rusqlite::{Connection, params};

use crate::rollup::Horizons;
use crate::sqlite::failure::Failure;
use crate::sqlite::roll;
use crate::sqlite::writer::now_unix_ms;

/// By monitor and the start of the hour.
type Hours = BTreeMap<(i64, i64), Tally>;

/// Runs the step.
///
/// The lines are not rolled up here: with the mark where it begins they are counted as they are,
/// and slices of work roll them up later. What the old counts say beyond the lines that are left
/// becomes buckets now.
pub(super) fn run(connection: &Connection) -> Result<(), Failure> {
    connection.execute_batch(include_str!("../../../migrations/0003_compact.sql"))?;
    let lines = lines(connection)?;
    let now_unix_ms = now_unix_ms();
    let mut last_cut = None;
    for ((monitor, start), tally) in counted(connection)? {
        let left = lines.get(&(monitor, start)).copied().unwrap_or_default();
        let gone = less(tally, left);
        if gone == Tally::ZERO {
            continue;
        }
        // An hour that is yet to come was counted by a clock that was wrong. No minute may be
        // withheld for it until then: all that it counts is in its first one.
        let is_to_come = start > now_unix_ms;
        if !is_to_come {
            last_cut = last_cut.max(Some(start));
        }
        let bucket = |resolution: Resolution| {
            let bucket = Bucket::new(resolution.start_of(start));
            (
                resolution,
                Bucket {
                    tally: gone,
                    ..bucket
                },
            )
        };
        let resolutions = match is_to_come {
            true => &Resolution::ALL[..],
            false => &[Resolution::Hour, Resolution::Day],
        };
        let buckets = resolutions.iter().copied().map(bucket);
        roll::add(connection, monitor, buckets)?;
    }
    if let Some(start) = last_cut {
        // Of hours that have lost lines the minutes are not known.
        let minutes = start.saturating_add(Resolution::Hour.length_ms());
        roll::set_horizons(
            connection,
            Horizons {
                minutes,
                ..Horizons::NONE
            },
        )?;
    }
    connection.execute_batch("DROP TABLE history_2; DROP TABLE tally")?;
    Ok(())
}

/// What the lines that are left count for.
fn lines(connection: &Connection) -> Result<Hours, Failure> {
    let mut statement =
        connection.prepare("SELECT monitor, due_unix_ms, outcome, slots FROM history_2")?;
    let mut rows = statement.query([])?;
    let mut hours = Hours::new();
    while let Some(row) = rows.next()? {
        // A line that cannot be read counts nowhere, as before.
        let (Ok(outcome), Ok(slots)) = (
            row.get_ref("outcome")?
                .as_str()
                .unwrap_or_default()
                .parse::<Outcome>(),
            row.get::<_, u32>("slots"),
        ) else {
            continue;
        };
        let start = Resolution::Hour.start_of(row.get("due_unix_ms")?);
        hours
            .entry((row.get("monitor")?, start))
            .or_default()
            .add(outcome, slots);
    }
    Ok(hours)
}

fn counted(connection: &Connection) -> Result<Hours, Failure> {
    let mut statement =
        connection.prepare("SELECT monitor, hour, up, degraded, down, due FROM tally")?;
    let tallies = statement.query_map(params![], |row| {
        let count = |column: &str| row.get::<_, i64>(column).map(i64::unsigned_abs);
        let hour = row.get::<_, i64>("hour")?;
        let tally = Tally {
            up: count("up")?,
            degraded: count("degraded")?,
            down: count("down")?,
            due: count("due")?,
        };
        Ok((
            (
                row.get("monitor")?,
                hour.saturating_mul(Resolution::Hour.length_ms()),
            ),
            tally,
        ))
    })?;
    Ok(tallies.collect::<rusqlite::Result<_>>()?)
}

fn less(tally: Tally, other: Tally) -> Tally {
    Tally {
        up: tally.up.saturating_sub(other.up),
        degraded: tally.degraded.saturating_sub(other.degraded),
        down: tally.down.saturating_sub(other.down),
        due: tally.due.saturating_sub(other.due),
    }
}
