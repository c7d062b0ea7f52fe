//! What is kept, and the removal of the rest in slices short enough to hold up no commit.

use std::collections::VecDeque;
use std::time::Duration;

use rusqlite::{Connection, params};

use super::Options;
use super::change::HOUR_MS;

/// A round of removal begins when records have come this much further, in milliseconds.
const ROUND_MS: i64 = 60_000;
/// Rows removed in one slice at most.
const SLICE_ROWS: usize = 500;
/// Free pages given back to the file system in one slice.
const SLICE_PAGES: u32 = 64;
/// Free pages that are kept for the rows to come: a share of the file, and a least number.
const FREE_SHARE: i64 = 4;
const FREE_LEAST: i64 = 256;

/// Which rows are to go, and how far their removal is.
///
/// Time is what the records say, not what a clock says: nothing ages while nothing is recorded.
#[derive(Debug)]
pub(crate) struct Retention {
    history_ms: i64,
    tallies_ms: i64,
    /// The due time of the last record, in unix milliseconds. `None` before the first.
    newest: Option<i64>,
    /// What `newest` was when the last round began.
    began: Option<i64>,
    work: VecDeque<Work>,
}

#[derive(Debug, Clone, Copy)]
enum Work {
    /// List what there is to do.
    Plan,
    /// Remove what is too old.
    Age { monitor: i64, newest: i64 },
    /// Remove everything.
    Ended { monitor: i64 },
    /// Give free pages back.
    Vacuum,
}

impl Retention {
    /// Begins with a round, for what the last process left undone.
    pub(crate) fn new(options: &Options) -> Self {
        let millis = |age: Duration| i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        Self {
            history_ms: millis(options.retain_history),
            tallies_ms: millis(options.retain_tallies),
            newest: None,
            began: None,
            work: VecDeque::from([Work::Plan]),
        }
    }

    /// A record with this due time came by, written or not.
    pub(crate) fn record(&mut self, due_unix_ms: i64) {
        self.newest = Some(due_unix_ms);
        let is_due = |began: i64| due_unix_ms.abs_diff(began) >= ROUND_MS.unsigned_abs();
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

    /// Does one slice, in a transaction of its own. Returns the number of rows of history removed.
    pub(crate) fn slice(&mut self, connection: &mut Connection) -> rusqlite::Result<usize> {
        let transaction = connection.transaction()?;
        let mut removed = 0;
        while removed < SLICE_ROWS
            && let Some(work) = self.work.pop_front()
        {
            match work {
                Work::Plan => self.plan(&transaction)?,
                Work::Age { monitor, newest } => {
                    let before = newest.saturating_sub(self.history_ms);
                    let rows = remove_history(&transaction, monitor, before)?;
                    if rows == SLICE_ROWS {
                        self.work.push_front(work);
                    } else {
                        let hour = newest.saturating_sub(self.tallies_ms).div_euclid(HOUR_MS);
                        remove_tallies(&transaction, monitor, hour)?;
                    }
                    removed += rows;
                }
                Work::Ended { monitor } => {
                    let rows = remove_history(&transaction, monitor, i64::MAX)?;
                    if rows == SLICE_ROWS {
                        self.work.push_front(work);
                    } else {
                        remove_monitor(&transaction, monitor)?;
                    }
                    removed += rows;
                }
                Work::Vacuum => {
                    if vacuum(&transaction)? {
                        self.work.push_front(Work::Vacuum);
                    }
                    break;
                }
            }
        }
        transaction.commit()?;
        Ok(removed)
    }

    fn plan(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement =
            connection.prepare_cached("SELECT number, ended FROM monitor ORDER BY number")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let monitor = row.get("number")?;
            if row.get("ended")? {
                self.work.push_back(Work::Ended { monitor });
            } else if let Some(newest) = self.newest {
                self.work.push_back(Work::Age { monitor, newest });
            }
        }
        self.work.push_back(Work::Vacuum);
        Ok(())
    }
}

fn remove_history(connection: &Connection, monitor: i64, before: i64) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM history WHERE sequence IN (
                 SELECT sequence FROM history WHERE monitor = ?1 AND due_unix_ms < ?2
                 ORDER BY due_unix_ms LIMIT ?3)",
        )?
        .execute(params![monitor, before, SLICE_ROWS as i64])
}

fn remove_tallies(connection: &Connection, monitor: i64, hour: i64) -> rusqlite::Result<usize> {
    connection
        .prepare_cached("DELETE FROM tally WHERE monitor = ?1 AND hour < ?2")?
        .execute([monitor, hour])
}

/// The last of a monitor whose history is gone; its counts go along.
fn remove_monitor(connection: &Connection, monitor: i64) -> rusqlite::Result<usize> {
    connection
        .prepare_cached("DELETE FROM monitor WHERE number = ?1 AND ended = 1")?
        .execute([monitor])
}

/// Gives some pages back, if too many are free. True when there are more.
fn vacuum(connection: &Connection) -> rusqlite::Result<bool> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (free, pages) = (pragma("freelist_count")?, pragma("page_count")?);
    if free < FREE_LEAST || free < pages / FREE_SHARE {
        return Ok(false);
    }
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({SLICE_PAGES})"))?;
    let mut rows = statement.query([])?;
    // Each step frees a page.
    while rows.next()?.is_some() {}
    Ok(true)
}
