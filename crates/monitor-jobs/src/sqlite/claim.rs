//! Handing jobs out.

use std::collections::BTreeSet;
use std::time::Duration;

use super::command::Tx;
use super::failure::Failure;
use super::row;
use super::worker::{Claimant, claimant};
use crate::kernel::ordering::from_ms;
use crate::{Claim, ClaimError, ClaimRequest, ClaimedJob, Epoch, JobId, Payload, WorkerId};

/// Jobs of a queue that one claim makes ready at most, unless it asks for more: whatever else is
/// written, beats too, waits for its transaction.
const RIPENED: u32 = 5000;

/// Takes the most urgent ready jobs of the worker's queues. The inner error is a refusal.
pub(crate) fn claim(
    tx: Tx<'_>,
    request: &ClaimRequest,
) -> Result<Result<Claim, ClaimError>, Failure> {
    let worker = request.worker;
    let Some(claimant) = claimant(tx, worker)? else {
        return Ok(Err(ClaimError::UnknownWorker(worker)));
    };
    let state = claimant.standing.state();
    if !state.may_claim() {
        let state = state.as_str();
        return Ok(Err(ClaimError::NotClaiming { worker, state }));
    }
    let held = claimant.standing.held;
    let free = claimant.capacity.saturating_sub(held);
    if free == 0 && request.limit > 0 {
        return Ok(Err(ClaimError::AtCapacity { worker, held }));
    }
    let queues = open_queues(tx, &claimant)?;
    let (ready, is_any) = candidates(tx, &queues, request.limit.min(free))?;
    let next_due = match is_any {
        true => None,
        false => next_due(tx, &queues)?,
    };
    let jobs = match ready.is_empty() {
        true => Vec::new(),
        false => hand_out(tx, request, &claimant, &ready)?,
    };
    Ok(Ok(Claim { jobs, next_due }))
}

/// The worker's queues, each once, without the paused ones.
fn open_queues<'a>(tx: Tx<'_>, claimant: &'a Claimant) -> Result<BTreeSet<&'a str>, Failure> {
    let paused: BTreeSet<String> = tx
        .all("SELECT queue FROM job_paused", [], |row| row.get(0))?
        .into_iter()
        .collect();
    let queues = claimant
        .queues
        .iter()
        .filter(|queue| !paused.contains(*queue));
    Ok(queues.map(String::as_str).collect())
}

/// The first `limit` ready jobs in their order, over all queues, and whether there is any at all.
fn candidates(
    tx: Tx<'_>,
    queues: &BTreeSet<&str>,
    limit: u32,
) -> Result<(Vec<JobId>, bool), Failure> {
    let mut ready: Vec<(i64, JobId)> = Vec::new();
    for queue in queues {
        // What is due is ready, whoever looks: it is written down before the order is judged. Of a
        // larger crowd the rest is for the next claims.
        tx.run(
            "UPDATE job SET state = 3 WHERE id IN (
                 SELECT id FROM job WHERE queue = ?1 AND state = 2 AND run_at_ms <= ?2
                 ORDER BY run_at_ms LIMIT max(?3, ?4))",
            (queue, tx.now, limit, RIPENED),
        )?;
        ready.extend(tx.all(
            "SELECT sort_key, id FROM job WHERE queue = ?1 AND state = 3
             ORDER BY sort_key, id LIMIT max(?2, 1)",
            (queue, limit),
            |row| Ok((row.get(0)?, row::job_id(row, 1)?)),
        )?);
    }
    let is_any = !ready.is_empty();
    ready.sort_unstable();
    let first = ready.into_iter().take(limit as usize);
    Ok((first.map(|(_, job)| job).collect(), is_any))
}

fn next_due(tx: Tx<'_>, queues: &BTreeSet<&str>) -> Result<Option<Duration>, Failure> {
    let mut next: Option<i64> = None;
    for queue in queues {
        let due = tx.one(
            "SELECT run_at_ms FROM job WHERE queue = ?1 AND state = 2
             ORDER BY run_at_ms LIMIT 1",
            [queue],
            |row| row.get::<_, i64>(0),
        )?;
        next = next.into_iter().chain(due).min();
    }
    Ok(next.map(|due| from_ms(due.saturating_sub(tx.now))))
}

fn hand_out(
    tx: Tx<'_>,
    request: &ClaimRequest,
    claimant: &Claimant,
    ready: &[JobId],
) -> Result<Vec<ClaimedJob>, Failure> {
    let epoch = next_epoch(tx)?;
    let mut jobs = Vec::with_capacity(ready.len());
    for job in ready {
        let Some(claimed) = take(tx, *job, request.worker, epoch)? else {
            continue;
        };
        if request.history {
            tx.run(
                "INSERT INTO job_execution (job, epoch, attempt, worker, worker_name, started_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                (
                    job.0,
                    epoch.0,
                    claimed.attempt,
                    request.worker.0,
                    &claimant.name,
                    tx.now,
                ),
            )?;
        }
        jobs.push(claimed);
    }
    if !claimant.standing.has_claimed {
        tx.run(
            "UPDATE job_worker SET has_claimed = 1 WHERE id = ?1",
            [request.worker.0],
        )?;
    }
    Ok(jobs)
}

/// Of all claims of all processes: each number is given out once, in a transaction that either
/// uses it or takes it back.
fn next_epoch(tx: Tx<'_>) -> Result<Epoch, Failure> {
    tx.one(
        "UPDATE job_epoch SET last = last + 1 RETURNING last",
        [],
        |row| row.get(0).map(Epoch),
    )?
    .ok_or_else(|| Failure::Missing("the only one of job_epoch".into()))
}

/// Makes the worker the holder of a ready job. INV-JOBS-1: driven by the worker's own row, and
/// refused by the job's own state; `None` then.
pub(crate) fn take(
    tx: Tx<'_>,
    job: JobId,
    worker: WorkerId,
    epoch: Epoch,
) -> Result<Option<ClaimedJob>, Failure> {
    tx.one(
        "UPDATE job SET state = 4, epoch = ?3, worker = job_worker.id,
             attempt = min(attempt + 1, 65535)
         FROM job_worker
         WHERE job.id = ?1 AND job.state = 3 AND job_worker.id = ?2
             AND job_worker.failed_ms IS NULL AND job_worker.draining = 0
             AND job_worker.health < 2
         RETURNING kind, queue, attempt, max_attempts, timeout_ms, enqueued_ms,
             (SELECT payload FROM job_payload WHERE job_payload.job = ?1)",
        (job.0, worker.0, epoch.0),
        |row| {
            let timeout: Option<i64> = row.get(4)?;
            Ok(ClaimedJob {
                id: job,
                epoch,
                kind: row.get(0)?,
                queue: row.get(1)?,
                payload: Payload::stored(row.get(6)?),
                attempt: row.get(2)?,
                max_attempts: row.get(3)?,
                timeout: timeout.map(from_ms),
                enqueued_unix_ms: row.get(5)?,
            })
        },
    )
}
