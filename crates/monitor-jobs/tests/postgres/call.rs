//! Calls of the tests: made, as values, and as SQL for a session that holds its transaction open.

use std::time::Duration;

use monitor_jobs::{
    Backend, Claim, ClaimError, ClaimRequest, ClaimedJob, Enqueued, JobId, JobState, NewJob,
    Outcome, Payload, PgJobs, Register, Settle, Settled, WorkerId, WorkerPulse,
};

pub(crate) fn new() -> NewJob {
    NewJob::new("work", Payload::default())
}

/// Whoever calls the jobs: a test, or what runs beside it.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) jobs: PgJobs,
}

impl Caller {
    pub(crate) async fn worker(&self, capacity: u32) -> WorkerId {
        self.register("worker", capacity).await
    }

    pub(crate) async fn register(&self, name: &str, capacity: u32) -> WorkerId {
        let register = Register {
            name: name.to_owned(),
            queues: vec!["default".to_owned()],
            capacity,
            lease: Duration::from_secs(30),
        };
        self.jobs.register(&register).await.unwrap()
    }

    pub(crate) async fn put(&self, job: NewJob) -> JobId {
        self.jobs.enqueue(&[job]).await.unwrap()[0].id()
    }

    pub(crate) async fn put_all(&self, count: usize) -> Vec<JobId> {
        let put_in = self.jobs.enqueue(&vec![new(); count]).await.unwrap();
        put_in.into_iter().map(Enqueued::id).collect()
    }

    pub(crate) async fn claim_as(&self, worker: WorkerId, limit: u32) -> Result<Claim, ClaimError> {
        let request = ClaimRequest {
            worker,
            limit,
            history: true,
        };
        self.jobs.claim(&request).await
    }

    pub(crate) async fn complete(&self, worker: WorkerId, job: &ClaimedJob) -> Settled {
        let ends = [end(job, done())];
        self.jobs.settle(worker, &ends).await.unwrap()[0]
    }

    pub(crate) async fn complete_all(&self, worker: WorkerId, jobs: &[ClaimedJob]) {
        let settled = self.jobs.settle(worker, &all_done(jobs)).await;
        assert_eq!(settled.unwrap(), vec![Settled::Done; jobs.len()]);
    }

    pub(crate) async fn pulse(&self, worker: WorkerId) -> WorkerPulse {
        let pulses = self.jobs.pulses().await.unwrap();
        pulses
            .into_iter()
            .find(|pulse| pulse.worker == worker)
            .unwrap()
    }

    pub(crate) async fn state(&self, job: JobId) -> JobState {
        self.jobs.job(job).await.unwrap().unwrap().state
    }

    pub(crate) async fn healthy(&self) {
        let findings = self.jobs.doctor().await.unwrap();
        let broken: Vec<_> = findings.iter().filter(|finding| finding.broken).collect();
        assert!(broken.is_empty(), "{broken:?}");
    }
}

pub(crate) fn done() -> Outcome {
    Outcome::Complete { result: None }
}

pub(crate) fn end(job: &ClaimedJob, outcome: Outcome) -> Settle {
    Settle {
        job: job.id,
        epoch: job.epoch,
        outcome,
    }
}

pub(crate) fn all_done(jobs: &[ClaimedJob]) -> Vec<Settle> {
    jobs.iter().map(|job| end(job, done())).collect()
}

pub(crate) fn complete(worker: WorkerId, job: &ClaimedJob) -> String {
    settle_sql(worker, job, 0)
}

pub(crate) fn fence(job: &ClaimedJob) -> String {
    format!("SELECT jobs_fence({}, {})", job.id, job.epoch)
}

pub(crate) fn rescue(worker: WorkerId) -> String {
    format!("SELECT jobs_rescue({worker}, 0, 5, 'lost')")
}

pub(crate) fn settle_sql(worker: WorkerId, job: &ClaimedJob, end: i16) -> String {
    let (id, epoch) = (job.id, job.epoch);
    format!(
        "SELECT jobs_settle({worker}, '{{{id}}}', '{{{epoch}}}', '{{{end}}}', '{{-1}}',
            '{{NULL}}', false)"
    )
}
