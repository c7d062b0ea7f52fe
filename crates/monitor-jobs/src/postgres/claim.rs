//! A claim: one call, one row of arrays.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use monitor_pool::managers::postgres::tokio_postgres::Row;
use monitor_pool::managers::postgres::tokio_postgres::types::ToSql;

use super::failure::Failure;
use super::floors::Floors;
use super::rows::{get, number, small};
use super::{PgJobs, PgManager};
use crate::kernel::ordering::from_ms;
use crate::kernel::standing::{Health, Standing};
use crate::{Claim, ClaimError, ClaimRequest, ClaimedJob, Epoch, JobId, Payload};

const CLAIM: &str = "SELECT * FROM jobs_claim($1, $2, $3, $4, $5)";

impl<M: PgManager> PgJobs<M> {
    pub(super) async fn take(&self, request: &ClaimRequest) -> Result<Claim, ClaimError> {
        let action = "claim jobs";
        let limit = super::rows::limit(request.limit);
        let (queues, floors) = self.floors().at(self.shared.origin.elapsed()).unzip();
        let parameters: [&(dyn ToSql + Sync); 5] = [
            &request.worker.0,
            &limit,
            &request.history,
            &queues,
            &floors,
        ];
        let row = self.write_one(CLAIM, &parameters).await;
        let row = row.map_err(|failure| failure.doing(action))?;
        let refusal = refusal(&row, request).map_err(|failure| failure.doing(action))?;
        match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(self
                .brought(&row)
                .map_err(|failure| failure.doing(action))?),
        }
    }

    fn brought(&self, row: &Row) -> Result<Claim, Failure> {
        let claim = claimed(row)?;
        let keys = get::<Option<Vec<i64>>>(row, "sort_keys")?.unwrap_or_default();
        let entries: Option<i64> = get(row, "walked")?;
        let entries = entries.and_then(|entries| u64::try_from(entries).ok());
        let entries = entries.unwrap_or_default();
        self.shared.walked.fetch_add(entries, Ordering::Relaxed);
        let queues = claim.jobs.iter().map(|job| job.queue.as_str());
        let taken: Vec<(&str, i64)> = queues.zip(keys).collect();
        if get::<Option<bool>>(row, "from_start")? == Some(false) {
            self.floors().raise(&taken);
        } else {
            let now = self.shared.origin.elapsed();
            self.floors().walked(now, entries, &taken);
        }
        Ok(claim)
    }

    fn floors(&self) -> MutexGuard<'_, Floors> {
        let floors = self.shared.floors.lock();
        floors.unwrap_or_else(PoisonError::into_inner)
    }
}

fn refusal(row: &Row, request: &ClaimRequest) -> Result<Option<ClaimError>, Failure> {
    let worker = request.worker;
    Ok(match get::<i16>(row, "refusal")? {
        0 => None,
        1 => Some(ClaimError::UnknownWorker(worker)),
        2 => {
            let standing = Standing {
                failed: false,
                draining: get(row, "draining")?,
                health: Health::from_code(i64::from(get::<i16>(row, "health")?)),
                held: 0,
                has_claimed: true,
            };
            let state = standing.state().as_str();
            Some(ClaimError::NotClaiming { worker, state })
        }
        _ => {
            let held = number(get::<i32>(row, "held")?);
            Some(ClaimError::AtCapacity { worker, held })
        }
    })
}

fn claimed(row: &Row) -> Result<Claim, Failure> {
    let Some(ids) = get::<Option<Vec<i64>>>(row, "ids")? else {
        let due = get::<Option<i64>>(row, "next_due_ms")?;
        return Ok(Claim {
            jobs: Vec::new(),
            next_due: due.map(from_ms),
        });
    };
    let epoch = Epoch(get(row, "epoch")?);
    let mut kinds = get::<Vec<String>>(row, "kinds")?.into_iter();
    let mut queues = get::<Vec<String>>(row, "queues")?.into_iter();
    let mut payloads = get::<Vec<String>>(row, "payloads")?.into_iter();
    let mut attempts = get::<Vec<i16>>(row, "attempts")?.into_iter();
    let mut most = get::<Vec<i16>>(row, "max_attempts")?.into_iter();
    let mut timeouts = get::<Vec<Option<i64>>>(row, "timeouts")?.into_iter();
    let mut enqueued = get::<Vec<i64>>(row, "enqueued")?.into_iter();
    let jobs = ids.into_iter().map_while(|id| {
        Some(ClaimedJob {
            id: JobId(id),
            epoch,
            kind: kinds.next()?,
            queue: queues.next()?,
            payload: Payload::stored(payloads.next()?),
            attempt: small(attempts.next()?),
            max_attempts: small(most.next()?),
            timeout: timeouts.next()?.map(from_ms),
            enqueued_unix_ms: enqueued.next()?,
        })
    });
    Ok(Claim {
        jobs: jobs.collect(),
        next_due: None,
    })
}
