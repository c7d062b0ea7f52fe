//! Putting jobs in, with their edges, and the ticks of schedules.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::named_params;

use super::command::{Change, Tx};
use super::edges::note_error;
use super::failure::Failure;
use super::row;
use super::urgency::Raises;
use crate::kernel::edges::{Arrival, EdgeState, UNMET_ERROR};
use crate::kernel::ordering::{Place, base, fair, run_at_ms, whole_ms};
use crate::{Edge, EnqueueError, Enqueued, JobId, JobState, NewJob, Ordering, Parent, Priority};

/// Why nothing is put in: refused, or the database failed.
pub(crate) enum Stop {
    Refused(EnqueueError),
    Failed(Failure),
}

impl From<EnqueueError> for Stop {
    fn from(error: EnqueueError) -> Self {
        Self::Refused(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What a command makes of it: a refusal takes back what was written before it.
pub(crate) fn change<T>(end: Result<T, Stop>) -> Result<Change<Result<T, EnqueueError>>, Failure> {
    match end {
        Ok(value) => Ok(Change::Keep(Ok(value))),
        Err(Stop::Refused(error)) => Ok(Change::Undo(Err(error))),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

/// Puts jobs in that have passed `limits::jobs`.
pub(crate) fn enqueue(tx: Tx<'_>, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Stop> {
    let mut answers: Vec<Enqueued> = Vec::with_capacity(jobs.len());
    let mut raises = Raises::default();
    let mut parents = Parents::default();
    for new in jobs {
        let answer = match bearer(tx, new)? {
            Some(job) => Enqueued::Existing(job),
            None => {
                let edges = parents.edges(tx, new, &answers)?;
                Enqueued::New(put_in(tx, new, &edges, &mut parents, &mut raises)?)
            }
        };
        answers.push(answer);
    }
    // In the end, so that nothing that is put in sees half of them.
    raises.apply(tx)?;
    Ok(answers)
}

/// Puts in the job of a tick, if it is later than all ticks of that schedule before it.
pub(crate) fn tick(
    tx: Tx<'_>,
    schedule: &str,
    tick_ms: i64,
    job: &NewJob,
) -> Result<Option<JobId>, Stop> {
    let first = tx.run(
        "INSERT INTO job_tick VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET tick_ms = excluded.tick_ms
         WHERE tick_ms < excluded.tick_ms",
        (schedule, tick_ms),
    )?;
    if first == 0 {
        return Ok(None);
    }
    let put_in = enqueue(tx, std::slice::from_ref(job))?;
    Ok(put_in.first().copied().map(Enqueued::id))
}

/// The job that has not ended and bears the new one's key.
fn bearer(tx: Tx<'_>, new: &NewJob) -> Result<Option<JobId>, Failure> {
    let Some(key) = &new.unique_key else {
        return Ok(None);
    };
    tx.one("SELECT job FROM job_unique WHERE key = ?1", [key], |row| {
        row::job_id(row, 0)
    })
}

/// What was read of parents: a call may name the same one for thousands of children.
#[derive(Default)]
struct Parents(BTreeMap<JobId, (JobState, Priority)>);

impl Parents {
    /// The new job's edges with what stands at their other ends.
    fn edges(
        &mut self,
        tx: Tx<'_>,
        new: &NewJob,
        before: &[Enqueued],
    ) -> Result<Vec<(Edge, JobState, Priority)>, Stop> {
        let mut seen = BTreeSet::new();
        let mut edges = Vec::with_capacity(new.parents.len());
        for edge in &new.parents {
            let parent = match edge.parent {
                Parent::Job(job) => job,
                Parent::Earlier(place) => match before.get(place) {
                    Some(job) => job.id(),
                    None => {
                        let (job, parent) = (before.len(), place);
                        return Err(EnqueueError::ParentOrder { job, parent }.into());
                    }
                },
            };
            let Some((state, base)) = self.find(tx, parent)? else {
                return Err(EnqueueError::UnknownParent { parent }.into());
            };
            if !seen.insert(parent) {
                return Err(EnqueueError::DuplicateParent { parent }.into());
            }
            let Edge { on, unmet, .. } = *edge;
            edges.push((Edge { parent, on, unmet }, state, base));
        }
        Ok(edges)
    }

    fn find(&mut self, tx: Tx<'_>, job: JobId) -> Result<Option<(JobState, Priority)>, Failure> {
        if let Some(known) = self.0.get(&job) {
            return Ok(Some(*known));
        }
        let found = tx.one(
            "SELECT state, base FROM job WHERE id = ?1",
            [job.0],
            |row| Ok((row::state(row, 0)?, row::priority(row, 1)?)),
        )?;
        if let Some(found) = found {
            self.0.insert(job, found);
        }
        Ok(found)
    }
}

fn put_in(
    tx: Tx<'_>,
    new: &NewJob,
    edges: &[(Edge, JobState, Priority)],
    parents: &mut Parents,
    raises: &mut Raises,
) -> Result<JobId, Failure> {
    let run_at_ms = run_at_ms(new.when, tx.now);
    let inherited = edges.iter().filter(|_| new.inherit_priority);
    let base = base(new.priority, inherited.map(|(_, _, base)| *base));
    let place = Place::of(new.ordering, run_at_ms, fair_tag(tx, new)?);
    let mut arrival = Arrival::default();
    let states: Vec<EdgeState> = edges
        .iter()
        .map(|(edge, parent, _)| arrival.add(edge.on, edge.unmet, Some(*parent)))
        .collect();
    let row = Row {
        new,
        base,
        place,
        run_at_ms,
        pending: arrival.pending,
        holds: arrival.judged.holding,
        state: arrival.state(run_at_ms, tx.now),
    };
    let job = row.insert(tx)?;
    for ((edge, ..), state) in edges.iter().zip(states) {
        insert_edge(tx, job, edge, state)?;
        let open = state == EdgeState::Open;
        if open && new.inherit_priority && arrival.judged.end.is_none() {
            raises.add(edge.parent, base, place.key(base));
        }
    }
    parents.0.insert(job, (row.state, base));
    Ok(job)
}

fn insert_edge(tx: Tx<'_>, child: JobId, edge: &Edge, state: EdgeState) -> Result<(), Failure> {
    tx.run(
        "INSERT INTO job_edge (parent, child, wants, unmet, state) VALUES (?1, ?2, ?3, ?4, ?5)",
        (
            edge.parent.0,
            child.0,
            row::wants_code(edge.on),
            row::unmet_code(edge.unmet),
            state.code(),
        ),
    )?;
    Ok(())
}

struct Row<'a> {
    new: &'a NewJob,
    base: Priority,
    place: Place,
    run_at_ms: i64,
    pending: u32,
    holds: u32,
    state: JobState,
}

impl Row<'_> {
    fn insert(&self, tx: Tx<'_>) -> Result<JobId, Failure> {
        let Self { new, place, .. } = self;
        let ended = self.state.is_terminal();
        tx.run(
            "INSERT INTO job (queue, kind, tenant, unique_key, state, sort_key, run_at_ms, own,
                 base, effective, inherits, anchor_ms, step_ms, pending, holds, max_attempts,
                 max_crashes, timeout_ms, enqueued_ms, ended_ms)
             VALUES (:queue, :kind, :tenant, :unique_key, :state, :sort_key, :run_at_ms, :own,
                 :base, :base, :inherits, :anchor_ms, :step_ms, :pending, :holds, :max_attempts,
                 :max_crashes, :timeout_ms, :now, :ended_ms)",
            named_params! {
                ":queue": new.queue, ":kind": new.kind, ":tenant": new.tenant,
                ":unique_key": new.unique_key, ":state": self.state.code(),
                ":sort_key": place.key(self.base), ":run_at_ms": self.run_at_ms,
                ":own": new.priority.get(), ":base": self.base.get(),
                ":inherits": new.inherit_priority, ":anchor_ms": place.anchor_ms,
                ":step_ms": place.step_ms, ":pending": self.pending, ":holds": self.holds,
                ":max_attempts": new.max_attempts, ":max_crashes": new.max_crashes,
                ":timeout_ms": new.timeout.map(whole_ms), ":now": tx.now,
                ":ended_ms": ended.then_some(tx.now),
            },
        )?;
        let job = JobId(tx.sql.last_insert_rowid());
        tx.run(
            "INSERT INTO job_payload VALUES (?1, ?2)",
            (job.0, new.payload.as_str()),
        )?;
        if let Some(key) = new.unique_key.as_ref().filter(|_| !ended) {
            tx.run("INSERT INTO job_unique VALUES (?1, ?2)", (key, job.0))?;
        }
        if self.state == JobState::Dead {
            note_error(tx, job, UNMET_ERROR)?;
        }
        Ok(job)
    }
}

fn fair_tag(tx: Tx<'_>, new: &NewJob) -> Result<i64, Failure> {
    let Ordering::Fair { weight } = new.ordering else {
        return Ok(0);
    };
    let least_ready = tx.one(
        "SELECT min(sort_key) FROM (
             SELECT min(sort_key) AS sort_key FROM job WHERE queue = ?1 AND state = 3
             UNION ALL SELECT min(sort_key) FROM job
                 WHERE queue = ?1 AND state = 2 AND run_at_ms <= ?2)",
        (&new.queue, tx.now),
        |row| row.get(0),
    )?;
    let tenant = new.tenant.as_deref().unwrap_or_default();
    let finishes = tx.one(
        "SELECT max(finish_ms), max(finish_ms) FILTER (WHERE tenant = ?2)
         FROM job_fair WHERE queue = ?1",
        (&new.queue, tenant),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let (highest, own) = finishes.unwrap_or_default();
    let (tag, finish) = fair(tx.now, least_ready.flatten(), highest, own, weight);
    tx.run(
        "INSERT INTO job_fair VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET finish_ms = excluded.finish_ms",
        (&new.queue, tenant, finish),
    )?;
    Ok(tag)
}
