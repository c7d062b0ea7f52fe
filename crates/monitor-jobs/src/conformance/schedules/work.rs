//! What workers do: claim, tell of progress, end, beat, die and be given up.

use std::time::Duration;

use rand::RngExt;

use super::super::invariants;
use super::{Schedule, same_kind};
use crate::{
    Backend, ClaimRequest, Epoch, JobFilter, JobId, JobState, Outcome, Payload, Register, Settle,
    Settled, WorkerId, WorkerPulse, WorkerState,
};

impl Schedule {
    pub(super) async fn register(&mut self) {
        let queues: [&[&str]; 3] = [&["a"], &["b"], &["a", "b"]];
        let chosen = queues[self.rng.random_range(0..3)];
        self.register_for(chosen).await;
    }

    pub(super) async fn register_for(&mut self, queues: &[&str]) {
        let register = Register {
            name: "twin".to_owned(),
            queues: queues.iter().map(|queue| (*queue).to_owned()).collect(),
            capacity: self.rng.random_range(1..8),
            lease: Duration::from_secs(30),
        };
        let model = self.pair.model.register(&register).await.unwrap();
        let real = self.pair.real.register(&register).await.expect("W1");
        self.pair.workers.same(model, real);
        self.workers.push(model);
    }

    pub(super) async fn health(&mut self) {
        let states = [
            WorkerState::Idle,
            WorkerState::Degraded,
            WorkerState::Failing,
        ];
        let (Some(worker), Some(state)) = (self.pick(&self.workers.clone()), self.pick(&states))
        else {
            return;
        };
        let worker = self.pair.workers.both(worker);
        self.pair
            .same(worker, async |on, worker| {
                on.set_health(worker, state).await
            })
            .await;
        if self.one_in(4) {
            self.pair
                .same(worker, async |on, worker| on.drain(worker).await)
                .await;
        }
    }

    pub(super) async fn leave(&mut self) {
        if let Some(worker) = self.pick(&self.workers.clone()) {
            let worker = self.pair.workers.both(worker);
            self.pair
                .same(worker, async |on, worker| on.deregister(worker).await)
                .await;
        }
    }

    pub(super) async fn claim(&mut self) {
        let limit = self.rng.random_range(0..5);
        if let Some(worker) = self.pick(&self.workers.clone()) {
            self.claim_for(worker, limit).await;
        }
    }

    pub(super) async fn claim_for(&mut self, worker: WorkerId, limit: u32) -> Vec<(JobId, Epoch)> {
        let ready = self.ready_for(worker).await;
        let request = |worker| ClaimRequest {
            worker,
            limit,
            history: true,
        };
        let model = self.pair.model.claim(&request(worker)).await;
        let real = request(self.pair.workers.real(worker));
        let real = self.pair.real.claim(&real).await;
        let (model, real) = match (model, real) {
            (Ok(model), Ok(real)) => (model.jobs, real.jobs),
            (Err(model), Err(real)) => {
                same_kind(&model, &real);
                return Vec::new();
            }
            (model, real) => panic!("R6, W3: {model:?} and {real:?}"),
        };
        self.handed_out.claimed(limit, &real);
        assert_eq!(model.len(), real.len(), "R6: {model:?} and {real:?}");
        for (model, real) in model.iter().zip(&real) {
            self.pair.epochs.same(model.epoch, real.epoch);
            let mut named = real.clone();
            (named.id, named.epoch) = (self.pair.jobs.model(real.id), model.epoch);
            assert_eq!(*model, named, "R6: claimed");
        }
        let ids: Vec<_> = model.iter().map(|job| job.id).collect();
        invariants::claim_is_fair(&ids, &ready, ids.len());
        let rights: Vec<_> = model.iter().map(|job| (job.id, job.epoch)).collect();
        let theirs = rights.iter().map(|(job, epoch)| (worker, *job, *epoch));
        self.rights.extend(theirs);
        rights
    }

    /// The ready jobs of a worker's open queues, as the backend shows them.
    async fn ready_for(&self, worker: WorkerId) -> Vec<crate::JobView> {
        let workers = self.pair.model.workers().await.unwrap();
        let Some(view) = workers.into_iter().find(|view| view.id == worker) else {
            return Vec::new();
        };
        let queues = self.pair.real.queues().await.unwrap();
        let open = queues.iter().filter(|queue| !queue.paused);
        let open = open.filter(|queue| view.queues.contains(&queue.name));
        let mut ready = Vec::new();
        for queue in open {
            let filter = JobFilter {
                queue: Some(queue.name.clone()),
                state: Some(JobState::Ready),
                limit: 10_000,
                ..JobFilter::default()
            };
            ready.extend(self.pair.real.list(&filter).await.unwrap());
        }
        for job in &mut ready {
            job.id = self.pair.jobs.model(job.id);
        }
        ready
    }

    fn outcome(&mut self) -> Outcome {
        match self.rng.random_range(0..10) {
            0..4 => Outcome::Complete {
                result: self.one_in(2).then(Payload::default),
            },
            4..7 => Outcome::Fail {
                error: "it went wrong".to_owned(),
                retry_in: (!self.one_in(3)).then(|| self.wait()),
            },
            7 => Outcome::Snooze(self.wait()),
            8 => Outcome::Cancelled,
            _ => Outcome::Release,
        }
    }

    /// Rights that stand and rights that are long gone, by their holder or by another.
    pub(super) async fn settle(&mut self) {
        let recent = self.rights.len().saturating_sub(10);
        let recent = self.rights[recent..].to_vec();
        let Some((mut worker, ..)) = self.pick(&recent) else {
            return;
        };
        let theirs: Vec<_> = recent
            .into_iter()
            .filter(|(holder, ..)| *holder == worker)
            .collect();
        if self.one_in(12) {
            worker = self.pick(&self.workers.clone()).unwrap_or(worker);
        }
        let mut ends = Vec::new();
        for _ in 0..self.rng.random_range(1..5) {
            if let Some((_, job, epoch)) = self.pick(&theirs) {
                let outcome = self.outcome();
                ends.push(Settle {
                    job,
                    epoch,
                    outcome,
                });
            }
        }
        self.settle_for(worker, ends).await;
    }

    pub(super) async fn settle_for(&mut self, worker: WorkerId, ends: Vec<Settle>) {
        let answers = self.send(worker, &ends).await;
        for (end, answer) in ends.iter().zip(answers) {
            if answer == Settled::Done {
                self.handed_out.ended(end.job, end.epoch);
            }
        }
        self.sent = Some((worker, ends));
    }

    async fn send(&self, worker: WorkerId, ends: &[Settle]) -> Vec<Settled> {
        let named: Vec<_> = ends
            .iter()
            .map(|end| Settle {
                job: self.pair.jobs.real(end.job),
                epoch: self.pair.epochs.real(end.epoch),
                outcome: end.outcome.clone(),
            })
            .collect();
        let model = self.pair.model.settle(worker, ends).await.unwrap();
        let worker = self.pair.workers.real(worker);
        let real = self.pair.real.settle(worker, &named).await.expect("W1, D9");
        assert_eq!(model, real, "R6, F3: {ends:?}");
        real
    }

    /// The reply to the last ends was lost: they are sent again, and nothing happens twice.
    pub(super) async fn lost_reply(&mut self) {
        if let Some((worker, ends)) = self.sent.clone() {
            for answer in self.send(worker, &ends).await {
                assert_ne!(answer, Settled::Done, "F5: {ends:?}");
            }
        }
    }

    pub(super) async fn progress(&mut self) {
        if let Some((_, job, epoch)) = self.pick(&self.rights.clone()) {
            let percent = self.rng.random_range(0..101);
            let real = (self.pair.jobs.real(job), self.pair.epochs.real(epoch));
            let told = async |on: &dyn Backend, (job, epoch)| {
                on.progress(job, epoch, percent, "so far").await
            };
            self.pair.same(((job, epoch), real), told).await;
        }
    }

    pub(super) async fn beat(&mut self) {
        if let Some(worker) = self.pick(&self.workers.clone()) {
            let model = self.pair.model.beat(worker).await.unwrap();
            let real = self.pair.real.beat(self.pair.workers.real(worker)).await;
            let real = real.unwrap().map(|mut beat| {
                for (job, epoch) in &mut beat.cancel {
                    *job = self.pair.jobs.model(*job);
                    *epoch = self.pair.epochs.model(*epoch);
                }
                beat
            });
            assert_eq!(model, real, "R3, R6");
        }
        self.pulses.extend(self.pair.model.pulses().await.unwrap());
    }

    /// A worker that died, or one that only paused and will say its ends later; by an old pulse, one
    /// that beat meanwhile.
    pub(super) async fn rescue(&mut self) {
        if self.one_in(3) {
            self.pulses = self.pair.model.pulses().await.unwrap();
        }
        if let Some(pulse) = self.pick(&self.pulses.clone()) {
            let limit = self.rng.random_range(0..4);
            self.rescue_from(pulse, limit).await;
        }
    }

    pub(super) async fn rescue_from(&self, pulse: WorkerPulse, limit: u32) {
        let real = WorkerPulse {
            worker: self.pair.workers.real(pulse.worker),
            ..pulse
        };
        let model = self.pair.model.rescue(&pulse, limit).await.unwrap();
        let real = self.pair.real.rescue(&real, limit).await.expect("W1");
        assert_eq!(model, real, "R6, W5");
    }
}
