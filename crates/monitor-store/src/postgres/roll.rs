//! Lines of history become buckets, and what is too old goes, in slices short enough to hold up no
//! commit. The decisions are in [`rollup`](crate::rollup); here are their statements.
//!
//! Only the writer does this, between its batches, so that no line is written while its monitor's
//! mark moves.

use std::time::Duration;

use monitor_model::Resolution;
use monitor_pool::managers::postgres::tokio_postgres::types::Type;

use super::failure::Failure;
use super::options::PostgresOptions;
use super::row::Fields;
use super::session::{Database, End, Parameter, Session, Transaction};
use crate::rollup::{Horizons, Keep};

/// A round begins when records have come this much further, in milliseconds.
const ROUND_MS: i64 = 60_000;
/// Monitors rolled up, and rows removed, in one slice at most.
const SLICE_MONITORS: i64 = 200;
const SLICE_ROWS: i64 = 2_000;

/// What is kept, and how far the removal of the rest is.
#[derive(Debug)]
pub(super) struct Retention {
    keep: Keep,
    pub(super) horizons: Horizons,
    /// The latest due time that was seen, in unix milliseconds. `None` before the first.
    newest: Option<i64>,
    /// What `newest` was when the last round began.
    began: Option<i64>,
    next: Option<Step>,
    /// Another round is to follow the present one.
    again: bool,
}

/// The steps of a round, in their order. Each is repeated until it finds nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Roll,
    Lines,
    Buckets,
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
            newest: None,
            began: None,
            next: Some(Step::Ended),
            again: false,
        }
    }

    /// A record with this due time came by, written or not.
    pub(super) fn record(&mut self, due_unix_ms: i64) {
        self.newest = Some(
            self.newest
                .map_or(due_unix_ms, |newest| newest.max(due_unix_ms)),
        );
        let is_far = |began: i64| due_unix_ms.abs_diff(began) >= ROUND_MS.unsigned_abs();
        if self.began.is_none_or(is_far) {
            self.began = Some(due_unix_ms);
            self.request();
        }
    }

    /// Begins a round as soon as the present one is over.
    pub(super) fn request(&mut self) {
        if self.next.is_none() {
            self.next = Some(Step::Roll);
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
            Step::Roll => Some(Step::Lines),
            Step::Lines => Some(Step::Buckets),
            Step::Buckets => Some(Step::Ended),
            Step::Ended => std::mem::take(&mut self.again).then_some(Step::Roll),
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
        let horizons = match self.newest {
            Some(newest) => self.horizons.rise(newest, now_unix_ms, &self.keep),
            None => self.horizons,
        };
        let mut removed = 0;
        let is_more = match step {
            Step::Roll => roll(&transaction, &horizons).await?,
            Step::Lines => {
                removed = lines(&transaction, &horizons).await?;
                removed > 0
            }
            Step::Buckets => buckets(&transaction, &horizons).await? > 0,
            Step::Ended => {
                let ended = ended(&transaction).await?;
                removed = ended.0;
                ended.1
            }
        };
        if horizons != self.horizons {
            keep(&transaction, &horizons).await?;
        }
        transaction.commit().await.map_err(End::failure)?;
        self.horizons = horizons;
        if !is_more {
            self.step_on(step);
        }
        Ok(removed)
    }
}

/// The horizons as the last process left them.
pub(super) async fn horizons(session: &Session) -> Result<Horizons, Failure> {
    let rows = session.query("SELECT * FROM horizon", &[]).await?;
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

/// Rolls some monitors up. True when there are more.
async fn roll(transaction: &Transaction, horizons: &Horizons) -> Result<bool, Failure> {
    let found = transaction
        .rows(
            "SELECT monitor, mark_unix_ms, last_due_unix_ms FROM status
             WHERE last_due_unix_ms IS NOT NULL
                 AND greatest(last_due_unix_ms - $1, $2) > mark_unix_ms
             ORDER BY monitor LIMIT $3 FOR UPDATE",
            &[
                (&crate::rollup::STEP_MS, Type::INT8),
                (&horizons.history, Type::INT8),
                (&SLICE_MONITORS, Type::INT8),
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
async fn lines(transaction: &Transaction, horizons: &Horizons) -> Result<u64, Failure> {
    let remove = "DELETE FROM history WHERE sequence IN (
        SELECT sequence FROM history JOIN status ON status.monitor = history.monitor
        WHERE due_unix_ms < mark_unix_ms
            AND (due_unix_ms < $2 OR due_unix_ms < $1 AND NOT turned)
        LIMIT $3)";
    let parameters: [Parameter<'_>; 3] = [
        (&horizons.history, Type::INT8),
        (&horizons.hours, Type::INT8),
        (&SLICE_ROWS, Type::INT8),
    ];
    transaction.change(remove, &parameters).await
}

async fn buckets(transaction: &Transaction, horizons: &Horizons) -> Result<u64, Failure> {
    let remove = "DELETE FROM bucket WHERE (monitor, resolution, start_unix_ms) IN (
        SELECT monitor, resolution, start_unix_ms FROM bucket
        WHERE start_unix_ms < CASE resolution WHEN 0 THEN $1 WHEN 1 THEN $2 ELSE $3 END
        LIMIT $4)";
    let parameters: [Parameter<'_>; 4] = [
        (&horizons.minutes, Type::INT8),
        (&horizons.hours, Type::INT8),
        (&horizons.days, Type::INT8),
        (&SLICE_ROWS, Type::INT8),
    ];
    transaction.change(remove, &parameters).await
}

/// Removes lines of deleted monitors, and the monitors that have none left. Returns how many lines,
/// and whether there is more.
async fn ended(transaction: &Transaction) -> Result<(u64, bool), Failure> {
    let lines = "DELETE FROM history WHERE sequence IN (
        SELECT sequence FROM history JOIN monitor ON monitor.number = history.monitor
        WHERE monitor.ended LIMIT $1)";
    let removed = transaction
        .change(lines, &[(&SLICE_ROWS, Type::INT8)])
        .await?;
    if removed > 0 {
        return Ok((removed, true));
    }
    transaction
        .change("DELETE FROM monitor WHERE ended", &[])
        .await?;
    Ok((0, false))
}

/// How long a duration is in milliseconds since 1970: what the kernel calls now.
pub(super) fn unix_ms(since_1970: Duration) -> i64 {
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records of very different due times ask for a round each: the present one ends all the same,
    /// and is followed by another.
    #[test]
    fn a_round_ends_however_often_one_is_asked_for() {
        let options = PostgresOptions::new("postgres://u@localhost/d").unwrap();
        let mut retention = Retention::new(&options, Horizons::NONE);
        let mut steps = Vec::new();
        for due in [0, 10 * ROUND_MS, 0, 10 * ROUND_MS, 0] {
            retention.record(due);
            let step = retention.next.unwrap();
            retention.step_on(step);
            steps.push(step);
        }
        let round = [
            Step::Ended,
            Step::Roll,
            Step::Lines,
            Step::Buckets,
            Step::Ended,
        ];
        assert_eq!(steps, round);
        for step in round.into_iter().skip(1) {
            assert_eq!(retention.next, Some(step));
            retention.step_on(step);
        }
        assert!(!retention.is_pending());
    }
}
