//! A worker that is given up while it works, and does not know: what it commits is refused.

use std::error::Error;

use monitor_jobs::{Backend, JobId, Jobs, NewJob, PgJobs, Register, SettleError};

use crate::child::LEASE;

/// Claims a job, is given up, and tries to commit its effect all the same. Says whether that was
/// refused for the right that was lost; an error when the database went away in the middle of it.
pub(crate) async fn is_fenced(jobs: &PgJobs, new: NewJob) -> Result<bool, Box<dyn Error>> {
    jobs.enqueue(&[new]).await?;
    let register = Register {
        name: "zombie".to_owned(),
        queues: vec!["default".to_owned()],
        capacity: 1,
        lease: LEASE,
    };
    let registered = Jobs::new(jobs.clone()).register(register).await?;
    let Some(claimed) = registered.claim(1, LEASE).await?.pop() else {
        return Ok(false);
    };
    let pulses = jobs.pulses().await?;
    let pulse = pulses.iter().find(|it| it.worker == registered.id());
    match pulse {
        Some(pulse) if jobs.rescue(pulse, 9).await?.requeued > 0 => {}
        // Its own beat, or a chaos of others, came first.
        _ => return Ok(false),
    }
    let (JobId(job), epoch) = (claimed.job().id, claimed.job().epoch.0);
    let mut transaction = jobs.begin().await?;
    let insert = "INSERT INTO effect VALUES ($1, $2)";
    transaction
        .client()
        .execute(insert, &[&job, &epoch])
        .await?;
    match claimed.complete_in(&mut transaction, None).await {
        Ok(_permit) => panic!("F4: job {job} is another's, and may be completed under {epoch}"),
        Err(SettleError::Store(error)) => Err(error.into()),
        Err(_) => Ok(true),
    }
}
