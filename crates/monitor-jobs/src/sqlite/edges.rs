//! What the end of a job does to those that wait for it.
//!
//! Each edge is resolved by the one statement that takes it out of the open state, and its child's
//! counts change by exactly the edges that statement took: no crash, no repeat and no second
//! parent can count one twice (INV-JOBS-4). What is beyond the limit of a transaction is left to a
//! row of `job_release`, written in the same transaction.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::named_params;

use super::command::Tx;
use super::failure::Failure;
use super::row;
use super::urgency;
use crate::kernel::edges::{EdgeState, Resolution, UNMET_ERROR, Verdict, judge, waiting};
use crate::{Edge, JobId, JobState};

/// Where a parent's end has been carried to: to all children, to none beyond this one.
type Waves = BTreeMap<JobId, i64>;

/// Carries the ends of those jobs along at most `limit` edges, and on from children that end by
/// it. Returns how many edges it resolved.
pub(crate) fn carry(tx: Tx<'_>, ended: &[JobId], limit: u32) -> Result<u32, Failure> {
    let wave = ended.iter().map(|job| (*job, 0)).collect();
    Carrying::new(tx, limit).run(wave)
}

/// Goes on with what was left, from the least parent on.
pub(crate) fn carry_on(tx: Tx<'_>, limit: u32) -> Result<u32, Failure> {
    loop {
        let left = tx.all(
            "DELETE FROM job_release WHERE parent IN (
                 SELECT parent FROM job_release ORDER BY parent LIMIT ?1)
             RETURNING parent, after",
            [limit],
            |row| Ok((row::job_id(row, 0)?, row.get(1)?)),
        )?;
        let none_left = left.is_empty();
        let resolved = Carrying::new(tx, limit).run(left.into_iter().collect())?;
        // Some rows may have nothing left to resolve: that is not the end.
        if resolved > 0 || none_left {
            return Ok(resolved);
        }
    }
}

/// Whatever the end of a job still had to do, at once: the job is about to be run again.
pub(crate) fn carry_rest(tx: Tx<'_>, job: JobId) -> Result<(), Failure> {
    let after = tx.one(
        "DELETE FROM job_release WHERE parent = ?1 RETURNING after",
        [job.0],
        |row| row.get(0),
    )?;
    let wave: Waves = after.into_iter().map(|after| (job, after)).collect();
    Carrying::new(tx, u32::MAX).run(wave).map(drop)
}

struct Carrying<'a> {
    tx: Tx<'a>,
    limit: u32,
    left: u32,
    /// Jobs that lost something that waited for them.
    relieved: BTreeSet<JobId>,
}

impl<'a> Carrying<'a> {
    fn new(tx: Tx<'a>, limit: u32) -> Self {
        Self {
            tx,
            limit,
            left: limit,
            relieved: BTreeSet::new(),
        }
    }

    fn run(mut self, mut wave: Waves) -> Result<u32, Failure> {
        while !wave.is_empty() {
            let mut children = BTreeMap::new();
            for (parent, after) in std::mem::take(&mut wave) {
                self.resolve(parent, after, &mut children)?;
            }
            for (child, resolution) in children {
                if self.change(child, resolution)? {
                    wave.insert(child, 0);
                }
            }
        }
        urgency::recount(self.tx, self.relieved)?;
        Ok(self.limit - self.left)
    }

    /// Takes the parent's edges out of the open state, as many as are left to be taken.
    fn resolve(
        &mut self,
        parent: JobId,
        after: i64,
        children: &mut BTreeMap<JobId, Resolution>,
    ) -> Result<(), Failure> {
        let end = self.tx.one(
            "SELECT state FROM job WHERE id = ?1 AND state >= 5",
            [parent.0],
            |row| row::state(row, 0),
        )?;
        // Run again since: its edges wait for the next end.
        let Some(end) = end else { return Ok(()) };
        let edges = self.tx.all(
            "SELECT child, parent, wants, unmet FROM job_edge
             WHERE parent = ?1 AND child > ?2 AND state = 0 ORDER BY child LIMIT ?3",
            (parent.0, after, i64::from(self.left) + 1),
            |row| Ok((row::job_id(row, 0)?, row::edge(row, 1)?)),
        )?;
        let mut last = after;
        for (child, edge) in &edges {
            if self.left == 0 {
                return self.leave(parent, last);
            }
            let verdict = judge(edge.on, edge.unmet, end);
            if take(self.tx, *child, edge, verdict)? {
                children.entry(*child).or_default().add(verdict);
                self.left -= 1;
            }
            last = child.0;
        }
        Ok(())
    }

    /// Later, from that child on.
    fn leave(&self, parent: JobId, after: i64) -> Result<(), Failure> {
        self.tx
            .run("INSERT INTO job_release VALUES (?1, ?2)", (parent.0, after))?;
        Ok(())
    }

    /// Counts the resolved edges off a child. Says whether it ended by that.
    fn change(&mut self, child: JobId, resolution: Resolution) -> Result<bool, Failure> {
        let Resolution {
            resolved,
            holding,
            end,
        } = resolution;
        self.tx.run(
            "UPDATE job SET pending = pending - :resolved, holds = holds + :holding,
                 state = CASE WHEN state >= 5 THEN state WHEN holds + :holding > 0 THEN 1
                     WHEN pending > :resolved THEN 0 WHEN run_at_ms > :now THEN 2 ELSE 3 END
             WHERE id = :child",
            named_params! {
                ":child": child.0, ":resolved": resolved, ":holding": holding,
                ":now": self.tx.now,
            },
        )?;
        let Some(end) = end else { return Ok(false) };
        let ended = end_waiting(self.tx, child, end)?;
        if ended {
            let waited_for = urgency::open_parents(self.tx, child)?;
            self.relieved.extend(waited_for);
        }
        Ok(ended)
    }
}

/// Takes one edge out of the open state. False: it was not open any more.
pub(crate) fn take(
    tx: Tx<'_>,
    child: JobId,
    edge: &Edge,
    verdict: Verdict,
) -> Result<bool, Failure> {
    let taken = tx.run(
        "UPDATE job_edge SET state = ?3 WHERE parent = ?1 AND child = ?2 AND state = 0",
        (edge.parent.0, child.0, EdgeState::after(verdict).code()),
    )?;
    Ok(taken > 0)
}

/// Ends a job that nobody holds; its key is free from now on.
pub(crate) fn end_waiting(tx: Tx<'_>, job: JobId, end: JobState) -> Result<bool, Failure> {
    let ended = tx.run(
        "UPDATE job SET state = ?2, ended_ms = ?3, cancel = 0
         WHERE id = ?1 AND state NOT IN (4, 5, 6, 7)",
        (job.0, end.code(), tx.now),
    )?;
    if ended == 0 {
        return Ok(false);
    }
    free_key(tx, job)?;
    if end == JobState::Dead {
        note_error(tx, job, UNMET_ERROR)?;
    }
    Ok(true)
}

pub(crate) fn free_key(tx: Tx<'_>, job: JobId) -> Result<(), Failure> {
    tx.run(
        "DELETE FROM job_unique
         WHERE key = (SELECT unique_key FROM job WHERE id = ?1) AND job = ?1",
        [job.0],
    )?;
    Ok(())
}

pub(crate) fn note_error(tx: Tx<'_>, job: JobId, error: &str) -> Result<(), Failure> {
    tx.run(
        "INSERT INTO job_note (job, error) VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET error = excluded.error",
        (job.0, error),
    )?;
    Ok(())
}

/// Meets the edges that hold a job: people decided.
pub(crate) fn forgive(tx: Tx<'_>, child: JobId) -> Result<(), Failure> {
    tx.run(
        "UPDATE job_edge SET state = 1 WHERE child = ?1 AND state = 2",
        [child.0],
    )?;
    Ok(())
}

/// Settles the edges of a job that is run again: met where the parent has ended, however, and open
/// where it has not, even if an earlier end of that parent had met it.
pub(crate) fn settle_anew(tx: Tx<'_>, child: JobId) -> Result<(), Failure> {
    tx.run(
        "UPDATE job_edge SET state = (SELECT state >= 5 FROM job WHERE id = parent)
         WHERE child = ?1",
        [child.0],
    )?;
    Ok(())
}

/// Puts a job that nobody holds where its edges say, and its end, if it had one, aside.
pub(crate) fn place(tx: Tx<'_>, job: JobId) -> Result<(), Failure> {
    let counts = tx.one(
        "SELECT (SELECT count(*) FROM job_edge WHERE child = ?1 AND state = 0),
                (SELECT count(*) FROM job_edge WHERE child = ?1 AND state = 2), run_at_ms
         FROM job WHERE id = ?1",
        [job.0],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let Some((pending, holds, run_at_ms)) = counts else {
        return Ok(());
    };
    let state = waiting(pending, holds, run_at_ms, tx.now);
    tx.run(
        "UPDATE job SET state = ?2, pending = ?3, holds = ?4, ended_ms = NULL
         WHERE id = ?1 AND state <> 4",
        (job.0, state.code(), pending, holds),
    )?;
    Ok(())
}

/// Whoever is held by this job waits for it again.
pub(crate) fn reopen(tx: Tx<'_>, parent: JobId) -> Result<(), Failure> {
    let held = tx.all(
        "UPDATE job_edge SET state = 0 WHERE parent = ?1 AND state = 2
             AND (SELECT state FROM job WHERE id = child) = 1
         RETURNING child",
        [parent.0],
        |row| row::job_id(row, 0),
    )?;
    held.into_iter().try_for_each(|child| place(tx, child))
}
