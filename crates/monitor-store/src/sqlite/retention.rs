//! What is rolled up, and what is removed, in slices short enough to hold up no commit.

use std::collections::VecDeque;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::Options;
use super::failure::Failure;
use super::roll;
use crate::rollup::{Horizons, Keep, Newest, STEP_MS};

/// Rows read, written or removed in one slice at most, give or take those of one monitor's pages.
pub(crate) const SLICE_ROWS: usize = 500;
/// What looking at a monitor counts for when there is nothing to do.
const LOOK_ROWS: usize = 4;
/// Free pages given back to the file system in one slice.
const SLICE_PAGES: u32 = 64;
/// Free pages that are kept for the rows to come: a share of the file, and a least number.
const FREE_SHARE: i64 = 16;
const FREE_LEAST: i64 = 256;
/// Pages beyond the largest size that a slice may use: to remove rows it may have to write some.
const RESERVE_PAGES: u32 = 64;

/// What there is to do, and how far it is.
///
/// Time is what the records say, not what a clock says: nothing ages while nothing is recorded.
#[derive(Debug)]
pub(crate) struct Retention {
    keep: Keep,
    /// The largest size of the file in pages, if it has one. From seven eighths of it on, history
    /// goes before its age.
    max_pages: Option<u32>,
    newest: Newest,
    /// The newest due time of the last round, and since then, in unix milliseconds. `None` before
    /// the first.
    latest: Option<i64>,
    recent: Option<i64>,
    /// The due time that began the last round.
    began: Option<i64>,
    work: VecDeque<Work>,
}

#[derive(Debug, Clone, Copy)]
enum Work {
    /// List what there is to do.
    Plan,
    /// Roll lines up, those of the future apart, and remove what is too old.
    Age {
        monitor: i64,
        horizons: Horizons,
        newest: i64,
    },
    /// Remove everything.
    Ended { monitor: i64 },
    /// Give free pages back.
    Vacuum,
    /// Begin again if the file is still too large.
    Again,
}

/// What a slice has done, in lines of history.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Done {
    pub(crate) rolled: usize,
    pub(crate) removed: usize,
    /// Everything that was read or written, in rows.
    rows: usize,
}

impl Retention {
    /// Begins with a round, for what the last process left undone.
    pub(crate) fn new(options: &Options, max_pages: Option<u32>) -> Self {
        Self {
            keep: Keep::new([
                options.retain_history,
                options.retain_minutes,
                options.retain_hours,
                options.retain_days,
            ]),
            max_pages,
            newest: Newest::new(),
            latest: None,
            recent: None,
            began: None,
            work: VecDeque::from([Work::Plan]),
        }
    }

    /// A record with this due time came by, written or not. A round begins whenever they have come
    /// a step further.
    pub(crate) fn record(&mut self, due_unix_ms: i64) {
        self.recent = self.recent.max(Some(due_unix_ms));
        let is_due = |began: i64| due_unix_ms.abs_diff(began) >= STEP_MS.unsigned_abs();
        if self.began.is_none_or(is_due) {
            self.began = Some(due_unix_ms);
            self.request();
        }
    }

    /// Begins a round as soon as the present one is over.
    pub(crate) fn request(&mut self) {
        if !matches!(self.work.back(), Some(Work::Plan)) {
            self.work.push_back(Work::Plan);
        }
    }

    pub(crate) fn is_pending(&self) -> bool {
        !self.work.is_empty()
    }

    /// Gives up the present round: the next one finds what is left.
    pub(crate) fn abandon(&mut self) {
        self.work.clear();
    }

    /// Does one slice, in a transaction of its own.
    pub(crate) fn slice(
        &mut self,
        connection: &mut Connection,
        now_unix_ms: i64,
    ) -> Result<Done, Failure> {
        let limit = |pages| connection.pragma_update(None, "max_page_count", pages);
        if let Some(pages) = self.max_pages {
            limit(pages.saturating_add(RESERVE_PAGES))?;
        }
        let done = self.work(connection, now_unix_ms);
        if let Some(pages) = self.max_pages {
            connection.pragma_update(None, "max_page_count", pages)?;
        }
        done
    }

    fn work(&mut self, connection: &mut Connection, now_unix_ms: i64) -> Result<Done, Failure> {
        // What is read is written by: another program is to write before it, or after.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut done = Done::default();
        while done.rows < SLICE_ROWS
            && let Some(work) = self.work.pop_front()
        {
            done.rows += LOOK_ROWS;
            let is_done = match work {
                Work::Plan => self.plan(&transaction, now_unix_ms)?,
                Work::Age {
                    monitor,
                    horizons,
                    newest,
                } => {
                    match age(&transaction, monitor, &horizons, newest, &mut done) {
                        // It is told with its row; the others need not suffer for it.
                        Err(failure @ Failure::Unreadable { .. }) => {
                            tracing::warn!(%failure, "history that cannot be read is kept");
                            true
                        }
                        aged => aged?,
                    }
                }
                Work::Ended { monitor } => end(&transaction, monitor, &mut done)?,
                Work::Vacuum => {
                    let is_done = vacuum(&transaction)?;
                    done.rows += if is_done { 0 } else { SLICE_ROWS };
                    is_done
                }
                Work::Again => {
                    if self.is_too_large(&transaction)? {
                        self.request();
                    }
                    true
                }
            };
            if !is_done {
                self.work.push_front(work);
            }
        }
        transaction.commit()?;
        Ok(done)
    }

    fn plan(&mut self, connection: &Connection, now_unix_ms: i64) -> Result<bool, Failure> {
        self.latest = self.recent.take().or(self.latest);
        let standing = roll::horizons(connection)?;
        let mut horizons = standing;
        let known = self.newest.known(&standing, &self.keep);
        let mut newest = known.unwrap_or(now_unix_ms);
        let mut is_squeezed = false;
        if let Some(latest) = self.latest {
            newest = self.newest.follow(latest, now_unix_ms);
            horizons = standing.rise(newest, latest.max(now_unix_ms), &self.keep);
            if self.is_too_large(connection)?
                && let Some(less) = horizons.squeeze(newest, &roll::oldest(connection)?)
            {
                (horizons, is_squeezed) = (less, true);
            }
        }
        if horizons != standing {
            roll::set_horizons(connection, horizons)?;
        }
        let mut statement =
            connection.prepare_cached("SELECT number, ended FROM monitor ORDER BY number")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let monitor = row.get("number")?;
            self.work.push_back(match row.get("ended")? {
                true => Work::Ended { monitor },
                false => Work::Age {
                    monitor,
                    horizons,
                    newest,
                },
            });
        }
        self.work.push_back(Work::Vacuum);
        if is_squeezed {
            self.work.push_back(Work::Again);
        }
        Ok(true)
    }

    fn is_too_large(&self, connection: &Connection) -> Result<bool, Failure> {
        let Some(most) = self.max_pages else {
            return Ok(false);
        };
        let used = pragma(connection, "page_count")? - pragma(connection, "freelist_count")?;
        Ok(used > i64::from(most) - i64::from(most) / 8)
    }
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// Rolls up and removes what is due of a living monitor. False when there is more to do.
fn age(
    connection: &Connection,
    monitor: i64,
    horizons: &Horizons,
    newest: i64,
    done: &mut Done,
) -> Result<bool, Failure> {
    let state = connection
        .prepare_cached(
            "SELECT mark_unix_ms, trimmed_unix_ms,
                 (SELECT max(due_unix_ms) FROM history WHERE history.monitor = status.monitor)
             FROM status WHERE monitor = ?1",
        )?
        .query_row([monitor], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, Option<i64>>(2)?,
            ))
        })
        .optional()?;
    // Deleted since the round began: the next one finds it.
    let Some((mut mark, trimmed, latest)) = state else {
        return Ok(true);
    };
    if let Some(to) = latest.and_then(|latest| horizons.roll_to(mark, latest.min(newest))) {
        let rolled = roll_up(connection, monitor, mark, to, horizons)?;
        done.rolled += rolled.lines;
        done.rows += rolled.lines;
        if rolled.mark < to {
            return Ok(false);
        }
        mark = to;
    }
    let most = SLICE_ROWS.saturating_sub(done.rows).max(1);
    let removed = trim(connection, monitor, trimmed, mark, horizons, most)?;
    done.removed += removed;
    done.rows += removed + roll::expire(connection, monitor, horizons)?;
    Ok(removed < most)
}

struct Rolled {
    lines: usize,
    mark: i64,
}

/// INV-STORE-11: adds lines to their buckets and moves the mark past them, in one transaction.
fn roll_up(
    connection: &Connection,
    monitor: i64,
    mark: i64,
    to: i64,
    horizons: &Horizons,
) -> Result<Rolled, Failure> {
    let lines = roll::lines(connection, monitor, mark..=to - 1, SLICE_ROWS as i64)?;
    let shares = lines.iter().flat_map(|line| {
        let feeds = horizons.feeds(line.due_unix_ms);
        feeds.map(|(resolution, start)| (resolution, line.share(start)))
    });
    roll::add(connection, monitor, shares)?;
    let mark = match lines.last() {
        Some(last) if lines.len() == SLICE_ROWS => last.due_unix_ms + 1,
        _ => to,
    };
    connection
        .prepare_cached("UPDATE status SET mark_unix_ms = ?2 WHERE monitor = ?1")?
        .execute([monitor, mark])?;
    Ok(Rolled {
        lines: lines.len(),
        mark,
    })
}

/// Removes lines and incidents that are too old, `most` lines at most; never a line that is not
/// counted in buckets yet. Returns how many lines.
fn trim(
    connection: &Connection,
    monitor: i64,
    trimmed: i64,
    mark: i64,
    horizons: &Horizons,
    most: usize,
) -> Result<usize, Failure> {
    // Lines at which the verdict changed stay as long as the hours.
    let until = horizons.hours.min(mark);
    let mut removed = remove(connection, monitor, i64::MIN, until, true, most)?.0;
    let until = horizons.history.min(mark);
    if removed < most && trimmed < until {
        let (rows, end) = remove(connection, monitor, trimmed, until, false, most - removed)?;
        connection
            .prepare_cached("UPDATE status SET trimmed_unix_ms = ?2 WHERE monitor = ?1")?
            .execute([monitor, end])?;
        removed += rows;
    }
    connection
        .prepare_cached("DELETE FROM incident WHERE monitor = ?1 AND closed_unix_ms < ?2")?
        .execute([monitor, horizons.days])?;
    Ok(removed)
}

/// Removes lines with due times from `from` on and before `until`, `most` of them at most: all, or
/// only those at which the verdict did not change. Returns how many, and before which due time none
/// is left.
fn remove(
    connection: &Connection,
    monitor: i64,
    from: i64,
    until: i64,
    changed_too: bool,
    most: usize,
) -> Result<(usize, i64), Failure> {
    // The first that is too many: rows lie in the order of due times, so a span is removed as one.
    let end: Option<i64> = connection
        .prepare_cached(
            "SELECT due_unix_ms FROM history
             WHERE monitor = ?1 AND due_unix_ms >= ?2 AND due_unix_ms < ?3 AND changed <= ?4
             ORDER BY due_unix_ms LIMIT 1 OFFSET ?5",
        )?
        .query_row(
            params![monitor, from, until, changed_too, most as i64],
            |row| row.get(0),
        )
        .optional()?;
    let end = end.unwrap_or(until);
    let removed = connection
        .prepare_cached(
            "DELETE FROM history
             WHERE monitor = ?1 AND due_unix_ms >= ?2 AND due_unix_ms < ?3 AND changed <= ?4",
        )?
        .execute(params![monitor, from, end, changed_too])?;
    Ok((removed, end))
}

/// Removes what is left of a deleted monitor. False when there is more to do.
fn end(connection: &Connection, monitor: i64, done: &mut Done) -> Result<bool, Failure> {
    let most = SLICE_ROWS.saturating_sub(done.rows).max(1);
    let (removed, _) = remove(connection, monitor, i64::MIN, i64::MAX, true, most)?;
    done.removed += removed;
    done.rows += removed;
    if removed == most {
        return Ok(false);
    }
    // The last line there can be has no due time after it.
    connection
        .prepare_cached("DELETE FROM history WHERE monitor = ?1")?
        .execute([monitor])?;
    // Its counts and incidents go along.
    connection
        .prepare_cached("DELETE FROM monitor WHERE number = ?1 AND ended = 1")?
        .execute([monitor])?;
    Ok(true)
}

/// Gives some pages back, if too many are free. False when there are more.
fn vacuum(connection: &Connection) -> Result<bool, Failure> {
    let (free, pages) = (
        pragma(connection, "freelist_count")?,
        pragma(connection, "page_count")?,
    );
    if free < FREE_LEAST || free < pages / FREE_SHARE {
        return Ok(true);
    }
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({SLICE_PAGES})"))?;
    let mut rows = statement.query([])?;
    // Each step frees a page.
    while rows.next()?.is_some() {}
    Ok(false)
}

#[cfg(test)]
mod tests;
