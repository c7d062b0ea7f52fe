//! What people do to jobs and queues: cancel, retry, another priority, pause, prune.

use std::collections::BTreeSet;
use std::time::Duration;

use super::command::Tx;
use super::edges::{self, carry, carry_rest, end_waiting, forgive, place, reopen, settle_anew};
use super::failure::Failure;
use super::row;
use super::urgency;
use crate::kernel::attempts::revive;
use crate::kernel::limits::INLINE_EDGES;
use crate::kernel::ordering::whole_ms;
use crate::{JobId, JobState, Priority};

/// Asks the holder of what somebody holds, and cancels at once what nobody does.
pub(crate) fn cancel(tx: Tx<'_>, job: JobId) -> Result<Option<bool>, Failure> {
    let asked = tx.run(
        "UPDATE job SET cancel = 1 WHERE id = ?1 AND state = 4",
        [job.0],
    )?;
    if asked > 0 {
        return Ok(Some(true));
    }
    if !end_waiting(tx, job, JobState::Cancelled)? {
        return Ok(state(tx, job)?.map(|_ended| false));
    }
    let waited_for = urgency::open_parents(tx, job)?;
    carry(tx, &[job], INLINE_EDGES)?;
    urgency::recount(tx, waited_for.into_iter().collect())?;
    Ok(Some(true))
}

/// Runs a dead or cancelled job again, or lets a held one go.
pub(crate) fn retry(tx: Tx<'_>, job: JobId) -> Result<Option<bool>, Failure> {
    match state(tx, job)? {
        None => return Ok(None),
        Some(JobState::Held) => forgive(tx, job)?,
        Some(JobState::Dead | JobState::Cancelled) => {
            if !take_key_again(tx, job)? {
                return Ok(Some(false));
            }
            carry_rest(tx, job)?;
            settle_anew(tx, job)?;
            revived(tx, job)?;
            reopen(tx, job)?;
        }
        Some(_) => return Ok(Some(false)),
    }
    place(tx, job)?;
    let mut jobs: BTreeSet<JobId> = urgency::open_parents(tx, job)?.into_iter().collect();
    jobs.insert(job);
    urgency::recount(tx, jobs)?;
    Ok(Some(true))
}

/// Its unique key, if it has one, unless another bears it by now.
fn take_key_again(tx: Tx<'_>, job: JobId) -> Result<bool, Failure> {
    let taken = tx.one(
        "INSERT INTO job_unique SELECT unique_key, id FROM job
         WHERE id = ?1 AND unique_key IS NOT NULL
         ON CONFLICT DO NOTHING RETURNING job",
        [job.0],
        |_| Ok(()),
    )?;
    let keyless = tx.one(
        "SELECT unique_key IS NULL FROM job WHERE id = ?1",
        [job.0],
        |row| row.get(0),
    )?;
    Ok(taken.is_some() || keyless.unwrap_or(false))
}

fn revived(tx: Tx<'_>, job: JobId) -> Result<(), Failure> {
    let limits = tx.one(
        "SELECT attempt, max_attempts, crashes, max_crashes FROM job WHERE id = ?1",
        [job.0],
        |row| Ok(revive(row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    if let Some((max_attempts, max_crashes)) = limits {
        tx.run(
            "UPDATE job SET max_attempts = ?2, max_crashes = ?3, run_at_ms = ?4 WHERE id = ?1",
            (job.0, max_attempts, max_crashes, tx.now),
        )?;
    }
    Ok(())
}

pub(crate) fn reprioritise(
    tx: Tx<'_>,
    job: JobId,
    priority: Priority,
) -> Result<Option<bool>, Failure> {
    match state(tx, job)? {
        None => Ok(None),
        Some(state) if state.is_terminal() => Ok(Some(false)),
        Some(_) => urgency::reprioritise(tx, job, priority).map(|()| Some(true)),
    }
}

pub(crate) fn set_paused(tx: Tx<'_>, queue: &str, paused: bool) -> Result<(), Failure> {
    let statement = match paused {
        true => "INSERT INTO job_paused VALUES (?1) ON CONFLICT DO NOTHING",
        false => "DELETE FROM job_paused WHERE queue = ?1",
    };
    tx.run(statement, [queue]).map(drop)
}

pub(crate) fn last_tick(tx: Tx<'_>, schedule: &str) -> Result<Option<i64>, Failure> {
    tx.one(
        "SELECT tick_ms FROM job_tick WHERE schedule = ?1",
        [schedule],
        |row| row.get(0),
    )
}

/// Removes what ended that long ago and is not needed by anything that is left to do.
pub(crate) fn prune(tx: Tx<'_>, age: Duration, limit: u32) -> Result<u32, Failure> {
    let oldest = tx.now.saturating_sub(whole_ms(age));
    let jobs = tx.all(
        // What ended first goes first: by its index, no further than there is something.
        "SELECT id FROM job
         WHERE ended_ms <= ?1
           AND NOT EXISTS (
             SELECT 1 FROM job_edge JOIN job AS child ON child.id = job_edge.child
             WHERE job_edge.parent = job.id AND (job_edge.state = 0 OR child.state < 5))
         ORDER BY ended_ms, id LIMIT ?2",
        (oldest, limit),
        |row| row::job_id(row, 0),
    )?;
    for job in &jobs {
        for statement in [
            "DELETE FROM job_edge WHERE parent = ?1",
            "DELETE FROM job_edge WHERE child = ?1",
            "DELETE FROM job_release WHERE parent = ?1",
            "DELETE FROM job_execution WHERE job = ?1",
            "DELETE FROM job_note WHERE job = ?1",
            "DELETE FROM job_payload WHERE job = ?1",
            "DELETE FROM job WHERE id = ?1",
        ] {
            tx.run(statement, [job.0])?;
        }
    }
    let left = limit.saturating_sub(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
    let workers = tx.run(
        "DELETE FROM job_worker WHERE id IN (
             SELECT id FROM job_worker WHERE failed_ms <= ?1 ORDER BY id LIMIT ?2)",
        (oldest, left),
    )?;
    // Free pages go back to the file system in slices.
    tx.sql.execute_batch("PRAGMA incremental_vacuum(64)")?;
    Ok(u32::try_from(jobs.len() + workers).unwrap_or(u32::MAX))
}

fn state(tx: Tx<'_>, job: JobId) -> Result<Option<JobState>, Failure> {
    tx.one("SELECT state FROM job WHERE id = ?1", [job.0], |row| {
        row::state(row, 0)
    })
}

pub(crate) fn release(tx: Tx<'_>, limit: u32) -> Result<u32, Failure> {
    edges::carry_on(tx, limit)
}
