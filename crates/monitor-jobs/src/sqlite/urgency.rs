//! Effective priorities and sort keys: raised step by step, lowered by counting anew.
//!
//! A child is always greater than its parents, so whoever works through ids downwards comes to
//! each job once, after everything that waits for it.

use std::collections::{BTreeMap, BTreeSet};

use super::command::Tx;
use super::failure::Failure;
use super::row;
use crate::kernel::ordering::{self, Place};
use crate::{JobId, Priority};

/// What is to be raised, and to what at least.
#[derive(Debug, Default)]
pub(crate) struct Raises(BTreeMap<JobId, (Priority, i64)>);

impl Raises {
    pub(crate) fn add(&mut self, job: JobId, priority: Priority, key: i64) {
        let raised = self.0.entry(job).or_insert((priority, key));
        *raised = (raised.0.max(priority), raised.1.min(key));
    }

    /// Carries the raises out, and on to whatever those jobs wait for. What is as urgent already
    /// is left alone, so this may be repeated and needs no order.
    pub(crate) fn apply(mut self, tx: Tx<'_>) -> Result<(), Failure> {
        while let Some((job, (priority, key))) = self.0.pop_last() {
            let raised = tx.one(
                "UPDATE job SET effective = max(effective, ?2), sort_key = min(sort_key, ?3)
                 WHERE id = ?1 AND state < 5 AND (effective < ?2 OR sort_key > ?3)
                 RETURNING effective, sort_key, inherits",
                (job.0, priority.get(), key),
                |row| Ok((row::priority(row, 0)?, row.get(1)?, row.get(2)?)),
            )?;
            if let Some((priority, key, true)) = raised {
                for parent in open_parents(tx, job)? {
                    self.add(parent, priority, key);
                }
            }
        }
        Ok(())
    }
}

/// The jobs that this one still waits for.
pub(crate) fn open_parents(tx: Tx<'_>, job: JobId) -> Result<Vec<JobId>, Failure> {
    tx.all(
        "SELECT parent FROM job_edge WHERE child = ?1 AND state = 0",
        [job.0],
        |row| row::job_id(row, 0),
    )
}

/// Settles the figures of those jobs anew, and of whatever they wait for where they changed.
pub(crate) fn recount(tx: Tx<'_>, mut jobs: BTreeSet<JobId>) -> Result<(), Failure> {
    while let Some(job) = jobs.pop_last() {
        if recount_one(tx, job)? {
            jobs.extend(open_parents(tx, job)?);
        }
    }
    Ok(())
}

/// Says whether the figures changed and are passed on.
fn recount_one(tx: Tx<'_>, job: JobId) -> Result<bool, Failure> {
    let standing = tx.one(
        "SELECT base, anchor_ms, step_ms FROM job WHERE id = ?1 AND state < 5",
        [job.0],
        |row| {
            let place = Place {
                anchor_ms: row.get(1)?,
                step_ms: row.get(2)?,
            };
            Ok((row::priority(row, 0)?, place))
        },
    )?;
    let Some((base, place)) = standing else {
        return Ok(false);
    };
    let waiting = tx.one(
        "SELECT max(child.effective), min(child.sort_key)
         FROM job_edge JOIN job AS child ON child.id = job_edge.child
         WHERE job_edge.parent = ?1 AND job_edge.state = 0
           AND child.state < 5 AND child.inherits = 1
         HAVING count(*) > 0",
        [job.0],
        |row| Ok((row::priority(row, 0)?, row.get(1)?)),
    )?;
    let (effective, key) = ordering::effective(base, place, waiting);
    let inherits = tx.one(
        "UPDATE job SET effective = ?2, sort_key = ?3
         WHERE id = ?1 AND state < 5 AND (effective <> ?2 OR sort_key <> ?3)
         RETURNING inherits",
        (job.0, effective.get(), key),
        |row| row.get(0),
    )?;
    Ok(inherits.unwrap_or(false))
}

/// Gives a job that has not ended another priority of its own; whoever inherits follows.
pub(crate) fn reprioritise(tx: Tx<'_>, job: JobId, own: Priority) -> Result<(), Failure> {
    let mut below = BTreeSet::from([job]);
    let mut changed = BTreeSet::new();
    let mut own = Some(own);
    while let Some(job) = below.pop_first() {
        if rebase(tx, job, own.take())? {
            changed.insert(job);
            // Its effective priority may have risen with its base already, unseen by a recount.
            changed.extend(open_parents(tx, job)?);
            below.extend(tx.all(
                "SELECT child.id FROM job_edge JOIN job AS child ON child.id = job_edge.child
                 WHERE job_edge.parent = ?1 AND child.state < 5 AND child.inherits = 1",
                [job.0],
                |row| row::job_id(row, 0),
            )?);
        }
    }
    recount(tx, changed)
}

/// What a job passes on to its children: out of its own priority, a new one if given, and all of
/// its parents. Says whether it changed.
fn rebase(tx: Tx<'_>, job: JobId, own: Option<Priority>) -> Result<bool, Failure> {
    let figures = tx.one(
        "SELECT own, inherits FROM job WHERE id = ?1 AND state < 5",
        [job.0],
        |row| Ok((row::priority(row, 0)?, row.get(1)?)),
    )?;
    let Some((before, inherits)) = figures else {
        return Ok(false);
    };
    let own = own.unwrap_or(before);
    let parents = match inherits {
        false => None,
        true => tx.one(
            "SELECT max(parent.base)
             FROM job_edge JOIN job AS parent ON parent.id = job_edge.parent
             WHERE job_edge.child = ?1 HAVING count(*) > 0",
            [job.0],
            |row| row::priority(row, 0),
        )?,
    };
    let base = ordering::base(own, parents);
    let changed = tx.run(
        "UPDATE job SET own = ?2, base = ?3, effective = max(effective, ?3)
         WHERE id = ?1 AND state < 5 AND (own <> ?2 OR base <> ?3)",
        (job.0, own.get(), base.get()),
    )?;
    Ok(changed > 0)
}
