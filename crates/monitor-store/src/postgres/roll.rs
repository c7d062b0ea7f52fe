//! Lines of history become buckets, and what is too old goes, in slices short enough to hold up no
//! commit. The decisions are in [`rollup`](crate::rollup); here are their statements.
//!
//! Only the writer does this, between its batches, so that no line is written while its monitor's
//! mark moves.

use std::time::SystemTime;

use monitor_model::Resolution;
use monitor_pool::managers::postgres::tokio_postgres::Row;
use monitor_pool::managers::postgres::tokio_postgres::types::Type;

use super::failure::Failure;
use super::options::PostgresOptions;
use super::row::Fields;
use super::session::{Database, End, Parameter, Session, Transaction};
use crate::rollup::{Horizons, Keep, Newest, STEP_MS};

/// Monitors rolled up, and rows removed, in one slice at most.
const SLICE_MONITORS: i64 = 200;
const SLICE_ROWS: i64 = 2_000;

/// What is kept, and how far the removal of the rest is.
#[derive(Debug)]
pub(super) struct Retention {
    keep: Keep,
    /// As they were stored by this round or the one before. Everything that is removed is before.
    pub(super) horizons: Horizons,
    newest: Newest,
    /// What is rolled up in this round, in unix milliseconds.
    roll_to: i64,
    /// The newest due time of the last round, and since then. `None` before the first.
    latest: Option<i64>,
    recent: Option<i64>,
    /// The due time that began the last round.
    began: Option<i64>,
    next: Option<Step>,
    /// Another round is to follow the present one.
    again: bool,
}

/// The steps of a round, in their order. Each is repeated until it finds nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Plan,
    Roll,
    Lines,
    Buckets,
    Incidents,
    Ended,
}

impl Retention {
    /// Begins with a round, for what the last process left undone.
    pub(super) fn new(options: &PostgresOptions, horizons: Horizons) -> Self {
        Self {
            keep: Keep::new([
                options.retain_history,
                options.retain_minutes,
                options.retain_hours,
                options.retain_days,
            ]),
            horizons,
            newest: Newest::new(),
            roll_to: i64::MIN,
            latest: None,
            recent: None,
            began: None,
            next: Some(Step::Ended),
            again: false,
        }
    }

    /// A record with this due time came by, written or not. A round begins whenever they have come
    /// a step further.
    pub(super) fn record(&mut self, due_unix_ms: i64) {
        self.recent = self.recent.max(Some(due_unix_ms));
        let is_far = |began: i64| due_unix_ms.abs_diff(began) >= STEP_MS.unsigned_abs();
        if self.began.is_none_or(is_far) {
            self.began = Some(due_unix_ms);
            self.request();
        }
    }

    /// Begins a round as soon as the present one is over.
    pub(super) fn request(&mut self) {
        if self.next.is_none() {
            self.next = Some(Step::Plan);
        } else {
            self.again = true;
        }
    }

    pub(super) const fn is_pending(&self) -> bool {
        self.next.is_some()
    }

    /// Gives up the present round: the next one finds what is left.
    pub(super) fn abandon(&mut self) {
        self.next = None;
        self.again = false;
    }

    /// Goes on to the next step of a round, or to the next round.
    fn step_on(&mut self, done: Step) {
        self.next = match done {
            Step::Plan => Some(Step::Roll),
            Step::Roll => Some(Step::Lines),
            Step::Lines => Some(Step::Buckets),
            Step::Buckets => Some(Step::Incidents),
            Step::Incidents => Some(Step::Ended),
            Step::Ended => std::mem::take(&mut self.again).then_some(Step::Plan),
        };
    }

    /// Does one slice. Returns the number of lines of history that were removed.
    pub(super) async fn slice(
        &mut self,
        database: &Database,
        now_unix_ms: i64,
    ) -> Result<u64, Failure> {
        let Some(step) = self.next else {
            return Ok(0);
        };
        let transaction = database.begin().await?;
        let mut horizons = self.horizons;
        let mut removed = 0;
        let is_more = match step {
            Step::Plan => {
                horizons = self.plan(&transaction, now_unix_ms).await?;
                false
            }
            Step::Roll => roll(&transaction, &horizons, self.roll_to).await?,
            Step::Lines => {
                removed = lines(&transaction, &horizons).await?;
                removed > 0
            }
            Step::Buckets => buckets(&transaction, &horizons).await? > 0,
            Step::Incidents => incidents(&transaction, &horizons).await? > 0,
            Step::Ended => {
                let ended = ended(&transaction).await?;
                removed = ended.0;
                ended.1
            }
        };
        transaction.commit().await.map_err(End::failure)?;
        self.horizons = horizons;
        if !is_more {
            self.step_on(step);
        }
        Ok(removed)
    }

    /// Moves the horizons before anything is removed.
    async fn plan(
        &mut self,
        transaction: &Transaction,
        now_unix_ms: i64,
    ) -> Result<Horizons, Failure> {
        // As they are stored: whether an earlier round has moved them may be unknown.
        let standing = read(&transaction.rows(HORIZONS, &[]).await?)?;
        self.latest = self.recent.take().or(self.latest);
        let known = self.newest.known(&standing, &self.keep);
        let Some(latest) = self.latest else {
            self.roll_to = known.unwrap_or(now_unix_ms);
            return Ok(standing);
        };
        self.roll_to = self.newest.follow(latest, now_unix_ms);
        let horizons = standing.rise(self.roll_to, latest.max(now_unix_ms), &self.keep);
        if horizons != standing {
            keep(transaction, &horizons).await?;
        }
        Ok(horizons)
    }
}

const HORIZONS: &str = "SELECT * FROM horizon";

/// The horizons as they are stored.
pub(super) async fn horizons(session: &Session) -> Result<Horizons, Failure> {
    read(&session.query_typed(HORIZONS, &[]).await?)
}

fn read(rows: &[Row]) -> Result<Horizons, Failure> {
    let Some(row) = rows.first() else {
        return Ok(Horizons::NONE);
    };
    let fields = Fields::of(row, "horizon", "history_unix_ms");
    Ok(Horizons {
        history: fields.get("history_unix_ms")?,
        minutes: fields.get("minutes_unix_ms")?,
        hours: fields.get("hours_unix_ms")?,
        days: fields.get("days_unix_ms")?,
    })
}

async fn keep(transaction: &Transaction, horizons: &Horizons) -> Result<(), Failure> {
    let keep = "INSERT INTO horizon VALUES (true, $1, $2, $3, $4)
        ON CONFLICT (one) DO UPDATE SET history_unix_ms = excluded.history_unix_ms,
            minutes_unix_ms = excluded.minutes_unix_ms, hours_unix_ms = excluded.hours_unix_ms,
            days_unix_ms = excluded.days_unix_ms";
    let parameters: [Parameter<'_>; 4] = [
        (&horizons.history, Type::INT8),
        (&horizons.minutes, Type::INT8),
        (&horizons.hours, Type::INT8),
        (&horizons.days, Type::INT8),
    ];
    transaction.change(keep, &parameters).await?;
    Ok(())
}

/// What lines count for, one row each: the columns of a bucket but for the first two.
pub(super) fn shares(resolution: Resolution) -> String {
    let length = resolution.length_ms();
    let count = |outcome: &str| format!("CASE outcome WHEN '{outcome}' THEN slots ELSE 0 END");
    format!(
        "greatest(due_unix_ms::numeric - mod(mod(due_unix_ms, {length}) + {length}, {length}),
             -9223372036854775808)::int8 AS start_unix_ms,
         {up} AS up, {degraded} AS degraded, {down} AS down, slots AS due,
         CASE WHEN outcome IN ('up', 'degraded') THEN took_us END AS took_us",
        up = count("up"),
        degraded = count("degraded"),
        down = count("down"),
    )
}

/// The largest number that a bucket holds; sums stop there.
const MOST: &str = "9223372036854775807";

/// Adds up shares to buckets, by the columns in `keys`.
pub(super) fn sums(keys: &str, from: &str) -> String {
    let sum = |name: &str| format!("least(sum({name}), {MOST})::int8 AS {name}");
    format!(
        "SELECT {keys}, {up}, {degraded}, {down}, {due}, count(took_us) AS latency_count,
             coalesce(min(took_us), 0) AS latency_min_us,
             least(coalesce(sum(took_us), 0), {MOST})::int8 AS latency_sum_us,
             coalesce(max(took_us), 0) AS latency_max_us
         FROM ({from}) AS share GROUP BY {keys}",
        up = sum("up"),
        degraded = sum("degraded"),
        down = sum("down"),
        due = sum("due"),
    )
}

/// Adds buckets to those that are there. `new` yields the columns of the table, in their order.
pub(super) fn merge(new: &str) -> String {
    let add = |name: &str| {
        format!("{name} = least(bucket.{name}::numeric + excluded.{name}, {MOST})::int8")
    };
    let (up, degraded, down, due) = (add("up"), add("degraded"), add("down"), add("due"));
    let (count, sum) = (add("latency_count"), add("latency_sum_us"));
    format!(
        "INSERT INTO bucket {new}
         ON CONFLICT (monitor, resolution, start_unix_ms) DO UPDATE SET
             {up}, {degraded}, {down}, {due}, {count}, {sum},
             latency_min_us = CASE WHEN bucket.latency_count = 0 THEN excluded.latency_min_us
                 WHEN excluded.latency_count = 0 THEN bucket.latency_min_us
                 ELSE least(bucket.latency_min_us, excluded.latency_min_us) END,
             latency_max_us = greatest(bucket.latency_max_us, excluded.latency_max_us)"
    )
}

/// Rolls some monitors up, what is due after `newest` apart. True when there are more.
async fn roll(
    transaction: &Transaction,
    horizons: &Horizons,
    newest: i64,
) -> Result<bool, Failure> {
    let found = transaction
        .rows(
            "SELECT monitor, mark_unix_ms, least(last_due_unix_ms, $4) AS last_due_unix_ms
             FROM status WHERE last_due_unix_ms IS NOT NULL
                 AND greatest(least(last_due_unix_ms, $4)::numeric - $1, $2) > mark_unix_ms
             ORDER BY monitor LIMIT $3 FOR UPDATE",
            &[
                (&STEP_MS, Type::INT8),
                (&horizons.history, Type::INT8),
                (&SLICE_MONITORS, Type::INT8),
                (&newest, Type::INT8),
            ],
        )
        .await?;
    let (mut monitors, mut marks, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for row in &found {
        let fields = Fields::of(row, "status", "monitor");
        let (mark, last) = (fields.get("mark_unix_ms")?, fields.get("last_due_unix_ms")?);
        if let Some(to) = horizons.roll_to(mark, last) {
            monitors.push(fields.get::<i64>("monitor")?);
            marks.push(mark);
            ends.push(to);
        }
    }
    if monitors.is_empty() {
        return Ok(false);
    }
    let spans: [Parameter<'_>; 3] = [
        (&monitors, Type::INT8_ARRAY),
        (&marks, Type::INT8_ARRAY),
        (&ends, Type::INT8_ARRAY),
    ];
    for resolution in Resolution::ALL {
        let lines = format!(
            "SELECT history.monitor, {} FROM history
             JOIN unnest($1::int8[], $2::int8[], $3::int8[]) AS span (monitor, mark, upto)
                 ON history.monitor = span.monitor
                 AND due_unix_ms >= span.mark AND due_unix_ms < span.upto",
            shares(resolution)
        );
        let number = resolution as u8;
        let keys = format!("monitor, {number}::int2, start_unix_ms");
        let sums = sums(&keys, &lines).replace(
            &format!("GROUP BY {keys}"),
            &format!(
                "GROUP BY monitor, start_unix_ms HAVING start_unix_ms >= {}",
                horizons.of(resolution)
            ),
        );
        transaction.change(&merge(&sums), &spans).await?;
    }
    let moved = "UPDATE status SET mark_unix_ms = span.upto
        FROM unnest($1::int8[], $2::int8[], $3::int8[]) AS span (monitor, mark, upto)
        WHERE status.monitor = span.monitor AND status.mark_unix_ms = span.mark";
    transaction.change(moved, &spans).await?;
    Ok(found.len() as i64 == SLICE_MONITORS)
}

/// Removes lines. Those at which the verdict changed stay as long as the hours do.
///
/// Of each monitor by the key of its due times, here and below: what is kept is much, and none of it
/// is to be looked at in each round. Lines that stay lie among those that go, so that these have an
/// index of their own.
async fn lines(transaction: &Transaction, horizons: &Horizons) -> Result<u64, Failure> {
    let remove = "DELETE FROM history WHERE sequence = ANY (ARRAY(
        SELECT old.sequence FROM status CROSS JOIN LATERAL (
            (SELECT sequence FROM history WHERE history.monitor = status.monitor
                AND due_unix_ms < $2 AND due_unix_ms < mark_unix_ms
            LIMIT $3)
            UNION ALL
            (SELECT sequence FROM history WHERE history.monitor = status.monitor
                AND due_unix_ms >= $2 AND due_unix_ms < $1 AND due_unix_ms < mark_unix_ms
                AND NOT turned
            LIMIT $3)) AS old
        LIMIT $3))";
    let parameters: [Parameter<'_>; 3] = [
        (&horizons.history, Type::INT8),
        (&horizons.hours, Type::INT8),
        (&SLICE_ROWS, Type::INT8),
    ];
    transaction.change(remove, &parameters).await
}

async fn buckets(transaction: &Transaction, horizons: &Horizons) -> Result<u64, Failure> {
    let remove = "DELETE FROM bucket WHERE (monitor, resolution, start_unix_ms) IN (
        SELECT old.* FROM status
        CROSS JOIN (VALUES (0::int2, $1), (1::int2, $2), (2::int2, $3)) AS kept (length, since)
        CROSS JOIN LATERAL (
            SELECT monitor, resolution, start_unix_ms FROM bucket
            WHERE bucket.monitor = status.monitor AND resolution = length
                AND start_unix_ms < since
            LIMIT $4) AS old
        LIMIT $4)";
    let parameters: [Parameter<'_>; 4] = [
        (&horizons.minutes, Type::INT8),
        (&horizons.hours, Type::INT8),
        (&horizons.days, Type::INT8),
        (&SLICE_ROWS, Type::INT8),
    ];
    transaction.change(remove, &parameters).await
}

/// Removes incidents that are over, as long ago as days are kept.
async fn incidents(transaction: &Transaction, horizons: &Horizons) -> Result<u64, Failure> {
    let remove = "DELETE FROM incident WHERE id IN (
        SELECT id FROM incident WHERE closed_unix_ms < $1 LIMIT $2)";
    let parameters: [Parameter<'_>; 2] = [(&horizons.days, Type::INT8), (&SLICE_ROWS, Type::INT8)];
    transaction.change(remove, &parameters).await
}

/// What belongs to a monitor, by its key. Each is removed in slices, before the monitor.
const BELONGINGS: [(&str, &str); 3] = [
    ("history", "history.sequence"),
    (
        "bucket",
        "bucket.monitor, bucket.resolution, bucket.start_unix_ms",
    ),
    ("incident", "incident.id"),
];

/// Removes what is left of deleted monitors, then those that have nothing left: another may have been
/// deleted since. Returns how many lines, and whether there is more.
async fn ended(transaction: &Transaction) -> Result<(u64, bool), Failure> {
    for (table, key) in BELONGINGS {
        let remove = format!(
            "DELETE FROM {table} WHERE ({key}) IN (
                 SELECT {key} FROM {table} JOIN monitor ON monitor.number = {table}.monitor
                 WHERE monitor.ended LIMIT $1)"
        );
        let limit: [Parameter<'_>; 1] = [(&SLICE_ROWS, Type::INT8)];
        let removed = transaction.change(&remove, &limit).await?;
        if removed > 0 {
            let lines = if table == "history" { removed } else { 0 };
            return Ok((lines, true));
        }
    }
    let nothing_of_it = BELONGINGS
        .map(|(table, _)| {
            format!("NOT EXISTS (SELECT 1 FROM {table} WHERE {table}.monitor = number)")
        })
        .join(" AND ");
    let remove = format!(
        "DELETE FROM monitor WHERE number IN (
             SELECT number FROM monitor WHERE ended AND {nothing_of_it} LIMIT $1)"
    );
    let removed = transaction
        .change(&remove, &[(&SLICE_ROWS, Type::INT8)])
        .await?;
    Ok((0, removed > 0))
}

/// What the clock says, in milliseconds since 1970.
pub(super) fn now_unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests;
