//! A backend and the model beside it, with the names that each gives to the same things.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use super::{Base, Rig, START_MS, invariants};
use crate::{
    Backend, Edge, Epoch, Execution, JobFilter, JobId, JobView, Memory, NewJob, Parent, StoreError,
    WorkerId, WorkerView,
};

/// Model and backend. Everything outside speaks of the model's ids.
pub(super) struct Pair {
    pub(super) model: Memory,
    pub(super) real: Arc<dyn Backend>,
    base: Arc<dyn Base>,
    clock: Arc<AtomicI64>,
    pub(super) jobs: Names<JobId>,
    pub(super) workers: Names<WorkerId>,
    pub(super) epochs: Names<Epoch>,
}

/// Which of the model's ids is which of the backend's.
#[derive(Debug)]
pub(super) struct Names<I> {
    real: BTreeMap<I, I>,
    model: BTreeMap<I, I>,
}

impl<I: Copy + Ord + std::fmt::Debug> Names<I> {
    fn new() -> Self {
        Self {
            real: BTreeMap::new(),
            model: BTreeMap::new(),
        }
    }

    /// They are the same from now on, and were not something else before.
    pub(super) fn same(&mut self, model: I, real: I) {
        assert_eq!(*self.real.entry(model).or_insert(real), real, "{model:?}");
        assert_eq!(*self.model.entry(real).or_insert(model), model, "{real:?}");
    }

    /// What the backend calls it. Nothing yet stays as it is.
    pub(super) fn real(&self, model: I) -> I {
        self.real.get(&model).copied().unwrap_or(model)
    }

    /// The same thing by both names: the model's and the backend's.
    pub(super) fn both(&self, model: I) -> (I, I) {
        (model, self.real(model))
    }

    pub(super) fn model(&self, real: I) -> I {
        *self
            .model
            .get(&real)
            .unwrap_or_else(|| panic!("{real:?} has no name"))
    }
}

impl Pair {
    pub(super) async fn new(rig: &dyn Rig) -> Self {
        let base = rig.fresh().await;
        let clock = Arc::new(AtomicI64::new(START_MS));
        let model = Memory::with_clock({
            let clock = Arc::clone(&clock);
            move || clock.load(SeqCst)
        });
        Self {
            model,
            real: base.backend(),
            base,
            clock,
            jobs: Names::new(),
            workers: Names::new(),
            epochs: Names::new(),
        }
    }

    /// Asks model and backend the same of one thing: they answer alike.
    pub(super) async fn same<I, T>(
        &self,
        (model, real): (I, I),
        ask: impl AsyncFn(&dyn Backend, I) -> Result<T, StoreError>,
    ) where
        I: Copy + std::fmt::Debug,
        T: PartialEq + std::fmt::Debug,
    {
        let right = ask(&self.model, model).await.unwrap();
        let answer = ask(&*self.real, real).await.expect("W1");
        assert_eq!(right, answer, "R6, F3: of {model:?}");
    }

    pub(super) async fn advance(&self, by_ms: i64) {
        let now = self.clock.fetch_add(by_ms, SeqCst) + by_ms;
        self.base.set_clock(now).await;
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.load(SeqCst)
    }

    /// The same jobs with the backend's ids of their parents.
    pub(super) fn real_jobs(&self, jobs: &[NewJob]) -> Vec<NewJob> {
        let mut jobs = jobs.to_vec();
        for edge in jobs.iter_mut().flat_map(|job| &mut job.parents) {
            if let Parent::Job(id) = &mut edge.parent {
                *id = self.jobs.real(*id);
            }
        }
        jobs
    }

    async fn all(backend: &dyn Backend) -> Vec<JobView> {
        let filter = JobFilter {
            limit: 100_000,
            ..JobFilter::default()
        };
        backend.list(&filter).await.unwrap()
    }

    fn job_view(&self, mut view: JobView) -> JobView {
        view.id = self.jobs.model(view.id);
        view.epoch = view.epoch.map(|epoch| self.epochs.model(epoch));
        view.worker = view.worker.map(|worker| self.workers.model(worker));
        for Edge { parent, .. } in &mut view.parents {
            *parent = self.jobs.model(*parent);
        }
        view
    }

    fn execution(&self, mut row: Execution) -> Execution {
        row.job = self.jobs.model(row.job);
        row.epoch = self.epochs.model(row.epoch);
        row.worker = self.workers.model(row.worker);
        row
    }

    fn worker_view(&self, mut view: WorkerView) -> WorkerView {
        view.id = self.workers.model(view.id);
        view
    }

    /// R6: all that can be seen is the same on both sides, and holds by itself.
    pub(super) async fn compare(&self, everything: bool) {
        while self.real.release(1_000).await.unwrap() > 0 {}
        let model = Self::all(&self.model).await;
        let real = Self::all(&*self.real).await;
        let real: Vec<_> = real.into_iter().map(|view| self.job_view(view)).collect();
        for (model, real) in model.iter().zip(&real) {
            assert_eq!(model, real, "R6: job {}", model.id);
        }
        assert_eq!(model.len(), real.len(), "R6, R7: jobs");
        let workers = self.real.workers().await.unwrap();
        let workers: Vec<_> = workers
            .into_iter()
            .map(|view| self.worker_view(view))
            .collect();
        assert_eq!(self.model.workers().await.unwrap(), workers, "R6: workers");
        invariants::hold(&real, &workers);
        if everything {
            self.compare_the_rest(&real).await;
        }
    }

    async fn compare_the_rest(&self, jobs: &[JobView]) {
        let export = self.real.export().await.unwrap();
        assert_eq!(
            self.model.queues().await.unwrap(),
            export.queues,
            "R6: queues"
        );
        let exported = export.jobs.into_iter().map(|view| self.job_view(view));
        assert!(exported.eq(jobs.iter().cloned()), "JOB-54: jobs");
        let executions = export.executions.into_iter();
        let executions: Vec<_> = executions.map(|row| self.execution(row)).collect();
        for job in jobs {
            let rows = executions.iter().filter(|row| row.job == job.id);
            let rows: Vec<_> = rows.cloned().collect();
            let model = self.model.executions(job.id).await.unwrap();
            assert_eq!(model, rows, "R6: executions of job {}", job.id);
            invariants::history(job, &rows);
            let mut why = self
                .real
                .why_priority(self.jobs.real(job.id))
                .await
                .unwrap();
            if let Some((from, _)) = why.as_mut().and_then(|why| why.from.as_mut()) {
                *from = self.jobs.model(*from);
            }
            let model = self.model.why_priority(job.id).await.unwrap();
            assert_eq!(model, why, "R6: why job {} is urgent", job.id);
        }
        let findings = self.real.doctor().await.unwrap();
        assert!(
            !findings.iter().any(|finding| finding.broken),
            "{findings:?}"
        );
        let findings = self.model.doctor().await.unwrap();
        assert!(findings.is_empty(), "the model: {findings:?}");
    }
}
