//! What numbers in rows mean.

use std::time::Duration;

use rusqlite::{Error, Row};

use crate::kernel::attempts::End;
use crate::{Edge, Epoch, JobId, JobState, On, Priority, Unmet, WorkerId};

/// The column as a number, decoded. A number that means nothing says that the file is damaged.
pub(crate) fn decoded<T>(
    row: &Row<'_>,
    column: usize,
    decode: impl FnOnce(i64) -> Option<T>,
) -> rusqlite::Result<T> {
    let code = row.get(column)?;
    decode(code).ok_or(Error::IntegralValueOutOfRange(column, code))
}

pub(crate) fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<JobState> {
    decoded(row, column, JobState::from_code)
}

pub(crate) fn priority(row: &Row<'_>, column: usize) -> rusqlite::Result<Priority> {
    decoded(row, column, |code| {
        Priority::new(u8::try_from(code).ok()?).ok()
    })
}

pub(crate) fn job_id(row: &Row<'_>, column: usize) -> rusqlite::Result<JobId> {
    row.get(column).map(JobId)
}

pub(crate) fn epoch(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Epoch>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Epoch))
}

pub(crate) fn worker(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<WorkerId>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(WorkerId))
}

pub(crate) fn end(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<End>> {
    match row.get::<_, Option<i64>>(column)? {
        None => Ok(None),
        Some(code) => End::from_code(code)
            .map(Some)
            .ok_or(Error::IntegralValueOutOfRange(column, code)),
    }
}

/// A number of things.
pub(crate) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    decoded(row, column, |count| u64::try_from(count).ok())
}

pub(crate) fn duration(row: &Row<'_>, column: usize) -> rusqlite::Result<Duration> {
    decoded(row, column, |ms| {
        u64::try_from(ms).ok().map(Duration::from_millis)
    })
}

/// `parent, wants, unmet` from that column on.
pub(crate) fn edge(row: &Row<'_>, column: usize) -> rusqlite::Result<Edge> {
    Ok(Edge {
        parent: job_id(row, column)?,
        on: decoded(row, column + 1, on)?,
        unmet: decoded(row, column + 2, unmet)?,
    })
}

pub(crate) const fn wants_code(on: On) -> i64 {
    on as i64
}

pub(crate) const fn unmet_code(unmet: Unmet) -> i64 {
    unmet as i64
}

fn on(code: i64) -> Option<On> {
    let all = [On::Success, On::Finished, On::Failure];
    all.get(usize::try_from(code).ok()?).copied()
}

fn unmet(code: i64) -> Option<Unmet> {
    let all = [Unmet::Hold, Unmet::Cancel, Unmet::Fail, Unmet::Run];
    all.get(usize::try_from(code).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_they_are_written() {
        for wanted in [On::Success, On::Finished, On::Failure] {
            assert_eq!(on(wants_code(wanted)), Some(wanted));
        }
        for wanted in [Unmet::Hold, Unmet::Cancel, Unmet::Fail, Unmet::Run] {
            assert_eq!(unmet(unmet_code(wanted)), Some(wanted));
        }
        assert_eq!((on(3), unmet(4), on(-1)), (None, None, None));
    }
}
