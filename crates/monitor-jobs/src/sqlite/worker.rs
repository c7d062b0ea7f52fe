//! Registrations: who may claim, and whether they are still there.

use rusqlite::named_params;

use super::command::Tx;
use super::edges::carry;
use super::failure::Failure;
use super::row;
use super::settle::{Held, held_by, leave};
use crate::kernel::attempts::{End, LOST_ERROR, To};
use crate::kernel::limits::INLINE_EDGES;
use crate::kernel::ordering::whole_ms;
use crate::kernel::standing::{Health, Standing};
use crate::{
    Beat, JobState, Outcome, Register, Rescued, WorkerId, WorkerPulse, WorkerState, WorkerView,
};

pub(crate) fn register(tx: Tx<'_>, register: &Register) -> Result<WorkerId, Failure> {
    tx.run(
        "INSERT INTO job_worker (name, queues, capacity, lease_ms, registered_ms, seen_ms)
         VALUES (:name, :queues, :capacity, :lease_ms, :now, :now)",
        named_params! {
            ":name": register.name, ":queues": register.queues.join(" "),
            ":capacity": register.capacity, ":lease_ms": whole_ms(register.lease),
            ":now": tx.now,
        },
    )?;
    Ok(WorkerId(tx.sql.last_insert_rowid()))
}

pub(crate) fn beat(tx: Tx<'_>, worker: WorkerId) -> Result<Option<Beat>, Failure> {
    let drain = tx.one(
        "UPDATE job_worker SET beats = beats + 1, seen_ms = ?2
         WHERE id = ?1 AND failed_ms IS NULL RETURNING draining",
        (worker.0, tx.now),
        |row| row.get(0),
    )?;
    let Some(drain) = drain else { return Ok(None) };
    let cancel = tx.all(
        "SELECT id, epoch FROM job WHERE worker = ?1 AND cancel = 1 ORDER BY id",
        [worker.0],
        |row| Ok((row::job_id(row, 0)?, row::epoch(row, 1)?)),
    )?;
    let cancel = cancel
        .into_iter()
        .filter_map(|(job, epoch)| Some((job, epoch?)));
    Ok(Some(Beat {
        drain,
        cancel: cancel.collect(),
    }))
}

pub(crate) fn drain(tx: Tx<'_>, worker: WorkerId) -> Result<bool, Failure> {
    let changed = tx.run(
        "UPDATE job_worker SET draining = 1 WHERE id = ?1 AND failed_ms IS NULL",
        [worker.0],
    )?;
    Ok(changed > 0)
}

pub(crate) fn set_health(
    tx: Tx<'_>,
    worker: WorkerId,
    health: WorkerState,
) -> Result<bool, Failure> {
    let changed = tx.run(
        "UPDATE job_worker SET health = ?2 WHERE id = ?1 AND failed_ms IS NULL",
        (worker.0, Health::of(health).code()),
    )?;
    Ok(changed > 0)
}

/// Hands back what it holds, then removes its row: the reference from a job to its holder would
/// refuse that as long as one is left.
pub(crate) fn deregister(tx: Tx<'_>, worker: WorkerId) -> Result<bool, Failure> {
    let registered = tx.one(
        "SELECT 1 FROM job_worker WHERE id = ?1 AND failed_ms IS NULL",
        [worker.0],
        |_| Ok(()),
    )?;
    if registered.is_none() {
        return Ok(false);
    }
    let mut ended = Vec::new();
    for held in held_by(tx, worker, u32::MAX)? {
        let next = held.attempt.settle(&Outcome::Release);
        let left = leave(tx, &held, next, End::Released, None)?;
        ended.extend(left.filter(|state| state.is_terminal()).map(|_| held.job));
    }
    tx.run("DELETE FROM job_worker WHERE id = ?1", [worker.0])?;
    carry(tx, &ended, INLINE_EDGES)?;
    Ok(true)
}

/// Takes jobs from a worker whose beats have not moved since an observer saw them.
pub(crate) fn rescue(tx: Tx<'_>, pulse: &WorkerPulse, limit: u32) -> Result<Rescued, Failure> {
    let worker = pulse.worker;
    let mut rescued = Rescued::default();
    let beats = tx.one(
        "SELECT beats FROM job_worker WHERE id = ?1 AND failed_ms IS NULL",
        [worker.0],
        |row| row::count(row, 0),
    )?;
    match beats {
        None => {
            rescued.retired = true;
            return Ok(rescued);
        }
        Some(beats) if beats != pulse.beats => {
            rescued.alive = true;
            return Ok(rescued);
        }
        Some(_) => {}
    }
    let mut ended = Vec::new();
    for held in held_by(tx, worker, limit)? {
        if let Some(state) = lose(tx, &held)? {
            ended.extend(Some(held.job).filter(|_| state.is_terminal()));
            match state {
                JobState::Dead => rescued.buried += 1,
                _ => rescued.requeued += 1,
            }
        }
    }
    rescued.retired = retire(tx, worker)?;
    carry(tx, &ended, INLINE_EDGES)?;
    Ok(rescued)
}

fn lose(tx: Tx<'_>, held: &Held) -> Result<Option<JobState>, Failure> {
    let next = held.attempt.lose();
    let buried = next.to == To::Ended(JobState::Dead);
    let left = leave(tx, held, next, End::Lost, None)?;
    if buried && left.is_some() {
        super::edges::note_error(tx, held.job, LOST_ERROR)?;
    }
    Ok(left)
}

/// Gives a worker up that holds nothing any more.
fn retire(tx: Tx<'_>, worker: WorkerId) -> Result<bool, Failure> {
    let retired = tx.run(
        "UPDATE job_worker SET failed_ms = ?2
         WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM job WHERE worker = ?1)",
        (worker.0, tx.now),
    )?;
    Ok(retired > 0)
}

pub(crate) fn pulses(tx: Tx<'_>) -> Result<Vec<WorkerPulse>, Failure> {
    tx.all(
        "SELECT id, beats, lease_ms FROM job_worker WHERE failed_ms IS NULL ORDER BY id",
        [],
        |row| {
            Ok(WorkerPulse {
                worker: WorkerId(row.get(0)?),
                beats: row::count(row, 1)?,
                lease: row::duration(row, 2)?,
            })
        },
    )
}

/// A worker's row as a claim needs it.
pub(crate) struct Claimant {
    pub(crate) name: String,
    pub(crate) queues: Vec<String>,
    pub(crate) capacity: u32,
    pub(crate) standing: Standing,
}

pub(crate) fn claimant(tx: Tx<'_>, worker: WorkerId) -> Result<Option<Claimant>, Failure> {
    tx.one(
        "SELECT name, queues, capacity, failed_ms IS NOT NULL, draining, health, has_claimed,
             (SELECT count(*) FROM job WHERE worker = ?1)
         FROM job_worker WHERE id = ?1 AND failed_ms IS NULL",
        [worker.0],
        |row| {
            Ok(Claimant {
                name: row.get(0)?,
                queues: queues(&row.get::<_, String>(1)?),
                capacity: row.get(2)?,
                standing: standing(row, 3)?,
            })
        },
    )
}

pub(crate) fn workers(tx: Tx<'_>) -> Result<Vec<WorkerView>, Failure> {
    tx.all(
        "SELECT id, name, queues, failed_ms IS NOT NULL, draining, health, has_claimed,
             (SELECT count(*) FROM job WHERE worker = job_worker.id),
             capacity, beats, lease_ms, registered_ms, seen_ms
         FROM job_worker ORDER BY id",
        [],
        |row| {
            let standing = standing(row, 3)?;
            Ok(WorkerView {
                id: WorkerId(row.get(0)?),
                name: row.get(1)?,
                queues: queues(&row.get::<_, String>(2)?),
                state: standing.state(),
                capacity: row.get(8)?,
                held: standing.held,
                beats: row::count(row, 9)?,
                lease: row::duration(row, 10)?,
                registered_unix_ms: row.get(11)?,
                seen_unix_ms: row.get(12)?,
            })
        },
    )
}

/// `failed, draining, health, has_claimed, held` from that column on.
fn standing(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Standing> {
    Ok(Standing {
        failed: row.get(column)?,
        draining: row.get(column + 1)?,
        health: Health::from_code(row.get(column + 2)?),
        has_claimed: row.get(column + 3)?,
        held: row.get(column + 4)?,
    })
}

fn queues(names: &str) -> Vec<String> {
    names.split(' ').map(str::to_owned).collect()
}
