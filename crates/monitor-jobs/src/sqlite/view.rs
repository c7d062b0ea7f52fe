//! What can be seen from outside. Each view is one snapshot.

use std::collections::BTreeMap;

use rusqlite::{Row, named_params};

use super::command::Tx;
use super::failure::Failure;
use super::row;
use crate::kernel::attempts::End;
use crate::{
    Epoch, Execution, JobFilter, JobId, JobState, JobView, Priority, QueueView, Reason, Snapshot,
    WorkerId,
};

const JOB: &str = "SELECT job.id, kind, queue, tenant, state, own, effective, sort_key, attempt,
    max_attempts, crashes, epoch, worker, pending, enqueued_ms, run_at_ms, ended_ms, percent,
    progress, error, result, payload, cancel
  FROM job JOIN job_payload ON job_payload.job = job.id
    LEFT JOIN job_note ON job_note.job = job.id";

const EXECUTION: &str = "SELECT job, epoch, attempt, worker, worker_name, started_ms, ended_ms,
    outcome, error FROM job_execution";

pub(crate) fn job(tx: Tx<'_>, job: JobId) -> Result<Option<JobView>, Failure> {
    let view = tx.one(&format!("{JOB} WHERE job.id = ?1"), [job.0], |row| {
        view(row, tx.now)
    })?;
    view.map(|view| with_parents(tx, view)).transpose()
}

pub(crate) fn list(tx: Tx<'_>, filter: &JobFilter) -> Result<Vec<JobView>, Failure> {
    let limit = if filter.limit == 0 { 100 } else { filter.limit };
    // A scheduled job whose time has come is shown as ready, and found so.
    let views = tx.all(
        &format!(
            "{JOB} WHERE job.id > :after AND (:queue IS NULL OR queue = :queue)
               AND (:kind IS NULL OR kind = :kind)
               AND (:state IS NULL
                    OR :state = CASE WHEN state = 2 AND run_at_ms <= :now THEN 3 ELSE state END)
             ORDER BY job.id LIMIT :limit"
        ),
        named_params! {
            ":after": filter.after.map_or(i64::MIN, |job| job.0), ":queue": filter.queue,
            ":kind": filter.kind, ":state": filter.state.map(JobState::code), ":now": tx.now,
            ":limit": limit,
        },
        |row| view(row, tx.now),
    )?;
    views
        .into_iter()
        .map(|view| with_parents(tx, view))
        .collect()
}

fn view(row: &Row<'_>, now: i64) -> rusqlite::Result<JobView> {
    let run_at_unix_ms = row.get(15)?;
    let progress = match (row.get(17)?, row.get(18)?) {
        (Some(percent), Some(text)) => Some((percent, text)),
        _ => None,
    };
    Ok(JobView {
        id: row::job_id(row, 0)?,
        kind: row.get(1)?,
        queue: row.get(2)?,
        tenant: row.get(3)?,
        state: row::state(row, 4)?.as_of(run_at_unix_ms, now),
        priority: row::priority(row, 5)?,
        effective_priority: row::priority(row, 6)?,
        sort_key: row.get(7)?,
        attempt: row.get(8)?,
        max_attempts: row.get(9)?,
        crashes: row.get(10)?,
        epoch: row::epoch(row, 11)?,
        worker: row::worker(row, 12)?,
        pending: row.get(13)?,
        enqueued_unix_ms: row.get(14)?,
        run_at_unix_ms,
        ended_unix_ms: row.get(16)?,
        progress,
        last_error: row.get(19)?,
        result: row.get(20)?,
        payload: row.get(21)?,
        parents: Vec::new(),
        cancel_requested: row.get(22)?,
    })
}

fn with_parents(tx: Tx<'_>, view: JobView) -> Result<JobView, Failure> {
    let parents = tx.all(
        "SELECT parent, wants, unmet FROM job_edge WHERE child = ?1 ORDER BY parent",
        [view.id.0],
        |row| row::edge(row, 0),
    )?;
    Ok(JobView { parents, ..view })
}

pub(crate) fn executions(tx: Tx<'_>, job: JobId) -> Result<Vec<Execution>, Failure> {
    let query = format!("{EXECUTION} WHERE job = ?1 ORDER BY epoch");
    tx.all(&query, [job.0], execution)
}

fn execution(row: &Row<'_>) -> rusqlite::Result<Execution> {
    Ok(Execution {
        job: row::job_id(row, 0)?,
        epoch: Epoch(row.get(1)?),
        attempt: row.get(2)?,
        worker: WorkerId(row.get(3)?),
        worker_name: row.get(4)?,
        started_unix_ms: row.get(5)?,
        ended_unix_ms: row.get(6)?,
        outcome: row::end(row, 7)?.map(End::as_str),
        error: row.get(8)?,
    })
}

pub(crate) fn everything(tx: Tx<'_>) -> Result<Snapshot, Failure> {
    let executions = format!("{EXECUTION} ORDER BY job, epoch");
    Ok(Snapshot {
        unix_ms: tx.now,
        jobs: list(tx, &JobFilter::all())?,
        executions: tx.all(&executions, [], execution)?,
        workers: super::worker::workers(tx)?,
        queues: queues(tx)?,
    })
}

pub(crate) fn queues(tx: Tx<'_>) -> Result<Vec<QueueView>, Failure> {
    let mut views: BTreeMap<String, QueueView> = BTreeMap::new();
    let paused = tx.all("SELECT queue FROM job_paused", [], |row| {
        row.get::<_, String>(0)
    })?;
    for name in paused {
        queue(&mut views, name).paused = true;
    }
    let groups = tx.all(
        "SELECT queue, CASE WHEN state = 2 AND run_at_ms <= ?1 THEN 3 ELSE state END AS shown,
             effective, count(*), min(run_at_ms)
         FROM job GROUP BY queue, shown, effective",
        [tx.now],
        |row| {
            let shown = (row::state(row, 1)?, row::priority(row, 2)?);
            Ok((
                row.get(0)?,
                shown,
                row::count(row, 3)?,
                row.get::<_, i64>(4)?,
            ))
        },
    )?;
    for (name, shown, count, oldest) in groups {
        queue(&mut views, name).count(shown, count, oldest, tx.now);
    }
    Ok(views.into_values().collect())
}

fn queue(views: &mut BTreeMap<String, QueueView>, name: String) -> &mut QueueView {
    views
        .entry(name.clone())
        .or_insert_with(|| QueueView::empty(name))
}

/// One job on the way to where a priority comes from.
struct Link {
    id: JobId,
    own: Priority,
    base: Priority,
}

pub(crate) fn why_priority(tx: Tx<'_>, job: JobId) -> Result<Option<Reason>, Failure> {
    let figures = tx.one(
        "SELECT own, base, effective FROM job WHERE id = ?1",
        [job.0],
        |row| {
            let (own, base) = (row::priority(row, 0)?, row::priority(row, 1)?);
            Ok((Link { id: job, own, base }, row::priority(row, 2)?))
        },
    )?;
    let Some((mut link, effective)) = figures else {
        return Ok(None);
    };
    let own = link.own;
    let mut reason = Reason {
        effective,
        own,
        from: None,
        from_parent: false,
    };
    if effective == own {
        return Ok(Some(reason));
    }
    // First to whatever waits for it and brought the priority up, then up to who had it first.
    while link.base < effective
        && let Some(heir) = heir(tx, link.id, effective)?
    {
        link = heir;
    }
    reason.from_parent = link.id == job;
    while link.own < effective
        && let Some(parent) = parent(tx, link.id, effective)?
    {
        link = parent;
    }
    reason.from = Some((link.id, link.own));
    Ok(Some(reason))
}

fn heir(tx: Tx<'_>, parent: JobId, effective: Priority) -> Result<Option<Link>, Failure> {
    tx.one(
        "SELECT child.id, own, base
         FROM job_edge JOIN job AS child ON child.id = job_edge.child
         WHERE job_edge.parent = ?1 AND job_edge.state = 0 AND child.state < 5
           AND child.inherits = 1 AND effective = ?2
         ORDER BY child.id LIMIT 1",
        (parent.0, effective.get()),
        link,
    )
}

fn parent(tx: Tx<'_>, child: JobId, base: Priority) -> Result<Option<Link>, Failure> {
    tx.one(
        "SELECT parent.id, own, base
         FROM job_edge JOIN job AS parent ON parent.id = job_edge.parent
         WHERE job_edge.child = ?1 AND base = ?2 ORDER BY parent.id LIMIT 1",
        (child.0, base.get()),
        link,
    )
}

fn link(row: &Row<'_>) -> rusqlite::Result<Link> {
    Ok(Link {
        id: row::job_id(row, 0)?,
        own: row::priority(row, 1)?,
        base: row::priority(row, 2)?,
    })
}
