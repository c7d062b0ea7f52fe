//! How attempts end: said by their owners, or because an owner is no more.

use rusqlite::named_params;

use super::command::Tx;
use super::edges::{carry, free_key, note_error};
use super::failure::Failure;
use super::row;
use crate::kernel::attempts::{Attempt, End, Next, To};
use crate::kernel::edges::waiting;
use crate::kernel::limits::{self, INLINE_EDGES};
use crate::kernel::ordering::whole_ms;
use crate::{Epoch, JobId, JobState, Outcome, Payload, Settle, Settled, WorkerId};

/// A job in somebody's hands.
pub(crate) struct Held {
    pub(crate) job: JobId,
    pub(crate) epoch: Epoch,
    pub(crate) worker: WorkerId,
    pub(crate) attempt: Attempt,
    run_at_ms: i64,
}

/// Ends attempts, each by itself; then what all of them together mean to others.
pub(crate) fn settle(
    tx: Tx<'_>,
    worker: WorkerId,
    ends: &[Settle],
) -> Result<Vec<Settled>, Failure> {
    let mut ended = Vec::new();
    let mut answers = Vec::with_capacity(ends.len());
    for end in ends {
        let left = settle_one(tx, worker, end)?;
        ended.extend(left.filter(|state| state.is_terminal()).map(|_| end.job));
        answers.push(match left {
            Some(_) => Settled::Done,
            None => repeated(tx, end)?,
        });
    }
    carry(tx, &ended, INLINE_EDGES)?;
    Ok(answers)
}

/// Where the job stands after it. `None`: the right is not the job's any more.
fn settle_one(tx: Tx<'_>, worker: WorkerId, settle: &Settle) -> Result<Option<JobState>, Failure> {
    let Settle { job, epoch, .. } = *settle;
    let Some((attempt, run_at_ms)) = attempt(tx, job)? else {
        return Ok(None);
    };
    let held = Held {
        job,
        epoch,
        worker,
        attempt,
        run_at_ms,
    };
    let error = match &settle.outcome {
        Outcome::Fail { error, .. } => Some(limits::text(error)),
        _ => None,
    };
    let next = attempt.settle(&settle.outcome);
    let left = leave(tx, &held, next, End::of(&settle.outcome), error.as_deref())?;
    if left.is_some() {
        match &settle.outcome {
            Outcome::Complete {
                result: Some(result),
            } => note_result(tx, job, result)?,
            _ => error.map_or(Ok(()), |error| note_error(tx, job, &error))?,
        }
    }
    Ok(left)
}

/// A repeat of what this epoch said before, or something that nobody is entitled to.
fn repeated(tx: Tx<'_>, settle: &Settle) -> Result<Settled, Failure> {
    let last = tx.one(
        "SELECT last_end FROM job WHERE id = ?1 AND epoch = ?2 AND state <> 4",
        (settle.job.0, settle.epoch.0),
        |row| row::end(row, 0),
    )?;
    Ok(match last.flatten() {
        Some(end) if end == End::of(&settle.outcome) => Settled::Already,
        _ => Settled::Stale,
    })
}

/// Takes a job out of its holder's hands. INV-JOBS-1: only that holder's, only under that epoch. A
/// job has a holder exactly while it runs, the table says so. `None`, and nothing was changed, when
/// it is not held like that.
pub(crate) fn leave(
    tx: Tx<'_>,
    held: &Held,
    next: Next,
    end: End,
    error: Option<&str>,
) -> Result<Option<JobState>, Failure> {
    let run_at_ms = match next.to {
        To::After(wait) => tx.now.saturating_add(whole_ms(wait)),
        To::Ready | To::Ended(_) => held.run_at_ms,
    };
    let state = match next.to {
        To::Ended(state) => state,
        To::Ready | To::After(_) => waiting(0, 0, run_at_ms, tx.now),
    };
    let left = tx.run(
        "UPDATE job SET state = :state, worker = NULL, cancel = 0, last_end = :end,
             attempt = :attempt, crashes = :crashes, run_at_ms = :run_at_ms, ended_ms = :ended_ms
         WHERE id = :job AND epoch = :epoch AND worker = :worker",
        named_params! {
            ":job": held.job.0, ":epoch": held.epoch.0, ":worker": held.worker.0,
            ":state": state.code(), ":end": end.code(), ":attempt": next.attempt,
            ":crashes": next.crashes, ":run_at_ms": run_at_ms,
            ":ended_ms": state.is_terminal().then_some(tx.now),
        },
    )?;
    if left == 0 {
        return Ok(None);
    }
    tx.run(
        "UPDATE job_execution SET ended_ms = ?3, outcome = ?4, error = ?5
         WHERE job = ?1 AND epoch = ?2",
        (held.job.0, held.epoch.0, tx.now, end.code(), error),
    )?;
    if state.is_terminal() {
        free_key(tx, held.job)?;
    }
    Ok(Some(state))
}

fn attempt(tx: Tx<'_>, job: JobId) -> Result<Option<(Attempt, i64)>, Failure> {
    tx.one(
        "SELECT attempt, max_attempts, crashes, max_crashes, cancel, run_at_ms
         FROM job WHERE id = ?1",
        [job.0],
        |row| Ok((counts(row, 0)?, row.get(5)?)),
    )
}

/// What a worker holds, in the order of the ids.
pub(crate) fn held_by(tx: Tx<'_>, worker: WorkerId, limit: u32) -> Result<Vec<Held>, Failure> {
    tx.all(
        "SELECT attempt, max_attempts, crashes, max_crashes, cancel, run_at_ms, id, epoch
         FROM job WHERE worker = ?1 ORDER BY id LIMIT ?2",
        (worker.0, limit),
        |row| {
            Ok(Held {
                job: row::job_id(row, 6)?,
                epoch: Epoch(row.get(7)?),
                worker,
                attempt: counts(row, 0)?,
                run_at_ms: row.get(5)?,
            })
        },
    )
}

/// Who holds the job under that epoch: nobody, as soon as it does not run.
pub(crate) fn holder(tx: Tx<'_>, job: JobId, epoch: Epoch) -> Result<Option<WorkerId>, Failure> {
    let holder = tx.one(
        "SELECT worker FROM job WHERE id = ?1 AND epoch = ?2",
        (job.0, epoch.0),
        |row| row::worker(row, 0),
    )?;
    Ok(holder.flatten())
}

pub(crate) fn progress(
    tx: Tx<'_>,
    job: JobId,
    epoch: Epoch,
    percent: u8,
    text: &str,
) -> Result<bool, Failure> {
    let noted = tx.run(
        "INSERT INTO job_note (job, percent, progress)
         SELECT id, ?3, ?4 FROM job WHERE id = ?1 AND epoch = ?2 AND state = 4
         ON CONFLICT DO UPDATE SET percent = excluded.percent, progress = excluded.progress",
        (job.0, epoch.0, percent.min(100), limits::text(text)),
    )?;
    Ok(noted > 0)
}

fn note_result(tx: Tx<'_>, job: JobId, result: &Payload) -> Result<(), Failure> {
    tx.run(
        "INSERT INTO job_note (job, result) VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET result = excluded.result",
        (job.0, result.as_str()),
    )?;
    Ok(())
}

fn counts(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Attempt> {
    Ok(Attempt {
        attempt: row.get(column)?,
        max_attempts: row.get(column + 1)?,
        crashes: row.get(column + 2)?,
        max_crashes: row.get(column + 3)?,
        cancel_requested: row.get(column + 4)?,
    })
}
