//! A job that is claimed and ended by hand, as a worker of another program would.

use std::time::Duration;

use monitor_jobs::{Backend, ClaimRequest, Outcome, Register, Settle, WorkerId};

/// Registers the worker `name`, claims the next job of that queue and ends it so.
pub(crate) async fn end_next(
    jobs: &dyn Backend,
    name: &str,
    queue: &str,
    outcome: Outcome,
) -> WorkerId {
    let register = Register {
        name: name.to_owned(),
        queues: vec![queue.to_owned()],
        capacity: 1,
        lease: Duration::from_secs(90),
    };
    let worker = jobs.register(&register).await.unwrap();
    let request = ClaimRequest {
        worker,
        limit: 1,
        history: true,
    };
    let claim = jobs.claim(&request).await.unwrap();
    let end = Settle {
        job: claim.jobs[0].id,
        epoch: claim.jobs[0].epoch,
        outcome,
    };
    jobs.settle(worker, &[end]).await.unwrap();
    worker
}
