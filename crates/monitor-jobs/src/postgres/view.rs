//! What can be seen: rows of the views `job_seen` and `job_attempt`, of workers and of queues.

use monitor_pool::managers::postgres::tokio_postgres::Row;
use monitor_pool::managers::postgres::tokio_postgres::types::ToSql;

use super::failure::Failure;
use super::rows::{get, number, priority, small};
use super::session::Session;
use super::{PgJobs, PgManager};
use crate::kernel::attempts::End;
use crate::kernel::ordering::from_ms;
use crate::kernel::standing::{Health, Standing};
use crate::{
    Edge, Epoch, Execution, JobFilter, JobId, JobState, JobView, On, QueueView, Snapshot, Unmet,
    WorkerId, WorkerPulse, WorkerView,
};

const JOB: &str = "SELECT * FROM job_seen WHERE job_id = $1";
const LIST: &str = "SELECT * FROM job_seen
    WHERE job_id > $1 AND ($2::text IS NULL OR queue = $2) AND ($3::text IS NULL OR kind = $3)
        AND ($4::smallint IS NULL OR shown = $4)
    ORDER BY job_id LIMIT $5";
const EXECUTIONS: &str = "SELECT * FROM job_attempt WHERE job_id = $1 ORDER BY epoch";
const EVERY_EXECUTION: &str = "SELECT * FROM job_attempt ORDER BY job_id, epoch";
const NOW: &str = "SELECT jobs_now_ms() AS now_ms";
const HELD: &str = "SELECT j.job_id, j.epoch
    FROM job_claim c CROSS JOIN unnest(c.jobs) u(id) JOIN job j ON j.job_id = u.id
    WHERE c.worker_id = $1 AND j.epoch = c.epoch AND j.state = 4 ORDER BY j.job_id";
const PULSES: &str = "SELECT worker_id, beats, lease_ms FROM job_worker
    WHERE retired_ms IS NULL ORDER BY worker_id";
const WORKERS: &str = "SELECT w.*, n.names,
        EXISTS (SELECT FROM job_claimant c WHERE c.worker_id = w.worker_id) AS has_claimed,
        coalesce((
            SELECT sum(c.remaining) FROM job_claim c WHERE c.worker_id = w.worker_id
        ), 0) AS held
    FROM job_worker w CROSS JOIN LATERAL (
        SELECT array_agg(q.name ORDER BY u.place) AS names
            FROM unnest(w.queues) WITH ORDINALITY u(id, place) JOIN job_queue q ON q.queue_id = u.id
    ) n
    ORDER BY w.worker_id";
const QUEUES: &str = "SELECT q.name, q.paused, s.shown, coalesce(s.n, 0) AS n,
        s.high, s.medium, s.low, s.oldest
    FROM job_queue q LEFT JOIN (
        SELECT j.queue_id, j.shown, count(*) AS n,
            count(*) FILTER (WHERE j.effective >= 4) AS high,
            count(*) FILTER (WHERE j.effective IN (2, 3)) AS medium,
            count(*) FILTER (WHERE j.effective <= 1) AS low,
            max(greatest(jobs_now_ms() - j.run_at_ms, 0)) AS oldest
            FROM job_seen j GROUP BY j.queue_id, j.shown
    ) s USING (queue_id)
    WHERE q.paused OR s.n > 0
    ORDER BY q.name COLLATE \"C\"";

impl<M: PgManager> PgJobs<M> {
    pub(super) async fn see_job(&self, job: JobId) -> Result<Option<JobView>, Failure> {
        let rows = self.read(JOB, &[&job.0]).await?;
        rows.first().map(job_view).transpose()
    }

    pub(super) async fn see_jobs(&self, filter: &JobFilter) -> Result<Vec<JobView>, Failure> {
        let after = filter.after.map_or(i64::MIN, |after| after.0);
        let state = filter.state.map(JobState::code);
        let limit = i64::from(if filter.limit == 0 { 100 } else { filter.limit });
        let rows = self
            .read(LIST, &[&after, &filter.queue, &filter.kind, &state, &limit])
            .await?;
        rows.iter().map(job_view).collect()
    }

    pub(super) async fn see_executions(&self, job: JobId) -> Result<Vec<Execution>, Failure> {
        let rows = self.read(EXECUTIONS, &[&job.0]).await?;
        rows.iter().map(execution).collect()
    }

    pub(super) async fn see_held(&self, worker: WorkerId) -> Result<Vec<(JobId, Epoch)>, Failure> {
        let rows = self.read(HELD, &[&worker.0]).await?;
        let held = |row: &Row| Ok((JobId(get(row, "job_id")?), Epoch(get(row, "epoch")?)));
        rows.iter().map(held).collect()
    }

    pub(super) async fn see_pulses(&self) -> Result<Vec<WorkerPulse>, Failure> {
        let rows = self.read(PULSES, &[]).await?;
        let pulse = |row: &Row| {
            Ok(WorkerPulse {
                worker: WorkerId(get(row, "worker_id")?),
                beats: u64::try_from(get::<i64>(row, "beats")?).unwrap_or(0),
                lease: from_ms(get(row, "lease_ms")?),
            })
        };
        rows.iter().map(pulse).collect()
    }

    pub(super) async fn see_workers(&self) -> Result<Vec<WorkerView>, Failure> {
        let rows = self.read(WORKERS, &[]).await?;
        rows.iter().map(worker_view).collect()
    }

    pub(super) async fn see_queues(&self) -> Result<Vec<QueueView>, Failure> {
        queue_views(&self.read(QUEUES, &[]).await?)
    }

    /// One snapshot of the database for all of it.
    pub(super) async fn see_everything(&self) -> Result<Snapshot, Failure> {
        const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let mut session = self.session().await?;
        self.count(7);
        let begun = session.connection.batch_execute(BEGIN).await;
        begun.map_err(Failure::read)?;
        let seen = everything(&mut session).await;
        // If this fails the connection is closed, which has the same effect.
        let _ = session.connection.batch_execute("COMMIT").await;
        seen
    }
}

async fn everything(session: &mut Session) -> Result<Snapshot, Failure> {
    let mut read = async |sql, parameters: &[&(dyn ToSql + Sync)]| {
        let rows = session.query(sql, parameters).await;
        rows.map_err(Failure::read)
    };
    let now = read(NOW, &[]).await?;
    let (none, no_state) = (None::<String>, None::<i16>);
    let all: [&(dyn ToSql + Sync); 5] = [&i64::MIN, &none, &none, &no_state, &i64::MAX];
    let jobs = read(LIST, &all).await?;
    let executions = read(EVERY_EXECUTION, &[]).await?;
    let workers = read(WORKERS, &[]).await?;
    let queues = read(QUEUES, &[]).await?;
    Ok(Snapshot {
        unix_ms: now.first().map_or(Ok(0), |row| get(row, "now_ms"))?,
        jobs: jobs.iter().map(job_view).collect::<Result<_, _>>()?,
        executions: executions.iter().map(execution).collect::<Result<_, _>>()?,
        workers: workers.iter().map(worker_view).collect::<Result<_, _>>()?,
        queues: queue_views(&queues)?,
    })
}

fn queue_views(rows: &[Row]) -> Result<Vec<QueueView>, Failure> {
    let mut views: Vec<QueueView> = Vec::new();
    for row in rows {
        add_count(&mut views, row)?;
    }
    Ok(views)
}

pub(super) fn state(stored: i16) -> Result<JobState, Failure> {
    JobState::from_code(i64::from(stored)).ok_or_else(|| Failure::Unreadable {
        column: "state",
        value: stored.to_string(),
    })
}

fn job_view(row: &Row) -> Result<JobView, Failure> {
    let progress: Option<i16> = get(row, "progress")?;
    let said: Option<String> = get(row, "progress_text")?;
    Ok(JobView {
        id: JobId(get(row, "job_id")?),
        kind: get(row, "kind")?,
        queue: get(row, "queue")?,
        tenant: get(row, "tenant")?,
        state: state(get(row, "shown")?)?,
        priority: priority("priority", get(row, "priority")?)?,
        effective_priority: priority("effective", get(row, "effective")?)?,
        sort_key: get(row, "sort_key")?,
        attempt: small(get(row, "attempt")?),
        max_attempts: small(get(row, "max_attempts")?),
        crashes: small(get(row, "crashes")?),
        epoch: get::<Option<i64>>(row, "epoch")?.map(Epoch),
        worker: get::<Option<i64>>(row, "worker_id")?.map(WorkerId),
        pending: number(get::<i32>(row, "pending")?),
        enqueued_unix_ms: get(row, "enqueued_ms")?,
        run_at_unix_ms: get(row, "run_at_ms")?,
        ended_unix_ms: get(row, "ended_ms")?,
        progress: progress
            .map(|percent| (u8::try_from(percent).unwrap_or(0), said.unwrap_or_default())),
        last_error: get(row, "last_error")?,
        result: get(row, "result")?,
        payload: get(row, "payload")?,
        parents: edges(row)?,
        cancel_requested: get(row, "cancel_requested")?,
    })
}

fn edges(row: &Row) -> Result<Vec<Edge>, Failure> {
    let parents = get::<Option<Vec<i64>>>(row, "known_parents")?.unwrap_or_default();
    let rules = get::<Option<Vec<i16>>>(row, "known_rules")?.unwrap_or_default();
    parents
        .into_iter()
        .zip(rules)
        .map(|(parent, rule)| edge(JobId(parent), rule))
        .collect()
}

/// `rule` is what [`rule`](super::enqueue::rule) made of both.
fn edge(parent: JobId, rule: i16) -> Result<Edge, Failure> {
    let on = [On::Success, On::Finished, On::Failure];
    let unmet = [Unmet::Hold, Unmet::Cancel, Unmet::Fail, Unmet::Run];
    let code = |on: On, unmet: Unmet| super::enqueue::rule(on, unmet) == rule;
    let known = on
        .into_iter()
        .flat_map(|on| unmet.map(|unmet| (on, unmet)))
        .find(|(on, unmet)| code(*on, *unmet));
    let (on, unmet) = known.ok_or_else(|| Failure::Unreadable {
        column: "rules",
        value: rule.to_string(),
    })?;
    Ok(Edge { parent, on, unmet })
}

fn execution(row: &Row) -> Result<Execution, Failure> {
    let outcome: Option<i16> = get(row, "outcome")?;
    let outcome = outcome.map(|code| {
        End::from_code(i64::from(code)).ok_or_else(|| Failure::Unreadable {
            column: "outcome",
            value: code.to_string(),
        })
    });
    Ok(Execution {
        job: JobId(get(row, "job_id")?),
        epoch: Epoch(get(row, "epoch")?),
        attempt: small(get(row, "attempt")?),
        worker: WorkerId(get(row, "worker_id")?),
        worker_name: get(row, "worker_name")?,
        started_unix_ms: get(row, "started_ms")?,
        ended_unix_ms: get(row, "ended_ms")?,
        outcome: outcome.transpose()?.map(End::as_str),
        error: get(row, "error")?,
    })
}

fn worker_view(row: &Row) -> Result<WorkerView, Failure> {
    let held = number(get::<i64>(row, "held")?);
    let standing = Standing {
        failed: get::<Option<i64>>(row, "retired_ms")?.is_some(),
        draining: get(row, "draining")?,
        health: Health::from_code(i64::from(get::<i16>(row, "health")?)),
        held,
        has_claimed: get(row, "has_claimed")?,
    };
    Ok(WorkerView {
        id: WorkerId(get(row, "worker_id")?),
        name: get(row, "name")?,
        queues: get::<Option<Vec<String>>>(row, "names")?.unwrap_or_default(),
        state: standing.state(),
        capacity: number(get::<i32>(row, "capacity")?),
        held,
        beats: u64::try_from(get::<i64>(row, "beats")?).unwrap_or(0),
        lease: from_ms(get(row, "lease_ms")?),
        registered_unix_ms: get(row, "registered_ms")?,
        seen_unix_ms: get(row, "seen_ms")?,
    })
}

/// One row for each queue and state that has any.
fn add_count(views: &mut Vec<QueueView>, row: &Row) -> Result<(), Failure> {
    let name: String = get(row, "name")?;
    if views.last().is_none_or(|view| view.name != name) {
        views.push(QueueView {
            paused: get(row, "paused")?,
            ..QueueView::empty(name)
        });
    }
    let (Some(view), Some(shown)) = (views.last_mut(), get::<Option<i16>>(row, "shown")?) else {
        return Ok(());
    };
    let shown = state(shown)?;
    let count = |column| Ok::<u64, Failure>(u64::try_from(get::<i64>(row, column)?).unwrap_or(0));
    if let Some(counted) = view
        .counts
        .get_mut(usize::try_from(shown.code()).unwrap_or_default())
    {
        *counted = count("n")?;
    }
    if shown == JobState::Ready {
        view.ready_by_band = [count("high")?, count("medium")?, count("low")?];
        view.oldest_ready = get::<Option<i64>>(row, "oldest")?.map(from_ms);
    }
    Ok(())
}
