//! What is put in: jobs with parents, keys and times of all kinds, and calls that are refused.

use std::time::Duration;

use rand::RngExt;

use super::super::priority;
use super::{Schedule, same_kind};
use crate::{Backend, Edge, Enqueued, NewJob, On, Ordering, Parent, Payload, Unmet, When};

impl Schedule {
    fn new_job(&mut self, place: usize) -> NewJob {
        let mut new = NewJob::new("work", Payload::default());
        new.queue = if self.one_in(3) { "b" } else { "a" }.to_owned();
        new.priority = priority(self.rng.random_range(0..6));
        new.inherit_priority = !self.one_in(5);
        new.max_attempts = self.rng.random_range(1..4);
        new.max_crashes = self.rng.random_range(1..3);
        new.tenant = self.one_in(2).then(|| "tenant".to_owned());
        new.timeout = self.one_in(3).then(|| Duration::from_millis(1_500));
        new.ordering = match self.rng.random_range(0..8) {
            0 => Ordering::Fifo,
            1 => Ordering::Strict,
            2 => Ordering::Deadline {
                unix_ms: self.pair.now() + self.rng.random_range(0..100_000),
            },
            3 => Ordering::Fair {
                weight: self.rng.random_range(1..5),
            },
            _ => Ordering::default(),
        };
        if self.one_in(5) {
            new.when = When::In(self.wait());
        }
        if self.one_in(6) {
            let keys = ["x", "y", "z"];
            new.unique_key = self.pick(&keys).map(str::to_owned);
        }
        for _ in 0..self.rng.random_range(0..4) {
            self.add_parent(&mut new, place);
        }
        new
    }

    fn add_parent(&mut self, new: &mut NewJob, place: usize) {
        let parent = if place > 0 && self.one_in(2) {
            Some(Parent::Earlier(self.rng.random_range(0..place)))
        } else {
            let recent = self.jobs.len().saturating_sub(12);
            let recent = self.jobs[recent..].to_vec();
            self.pick(&recent).map(Parent::Job)
        };
        let on = self.pick(&[On::Success, On::Success, On::Finished, On::Failure]);
        let unmet = self.pick(&[Unmet::Hold, Unmet::Cancel, Unmet::Fail, Unmet::Run]);
        if let (Some(parent), Some(on), Some(unmet)) = (parent, on, unmet)
            && !new.parents.iter().any(|edge| edge.parent == parent)
        {
            new.parents.push(Edge { parent, on, unmet });
        }
    }

    pub(super) async fn enqueue(&mut self) {
        let call: Vec<_> = (0..self.rng.random_range(1..6))
            .map(|place| self.new_job(place))
            .collect();
        let real = self.pair.real.enqueue(&self.pair.real_jobs(&call)).await;
        let model = self.pair.model.enqueue(&call).await;
        match (model, real) {
            (Ok(model), Ok(real)) => {
                for (model, real) in model.into_iter().zip(real) {
                    let (new, real_new) = (
                        matches!(model, Enqueued::New(_)),
                        matches!(real, Enqueued::New(_)),
                    );
                    assert_eq!(new, real_new, "{model:?} {real:?}");
                    self.pair.jobs.same(model.id(), real.id());
                    if new {
                        self.jobs.push(model.id());
                    }
                }
            }
            (Err(model), Err(real)) => same_kind(&model, &real),
            (model, real) => panic!("R6: {model:?} and {real:?}"),
        }
    }

    pub(super) async fn tick(&mut self) {
        self.tick += self.rng.random_range(0..3);
        let job = self.new_job(0);
        let real = self.pair.real_jobs(std::slice::from_ref(&job));
        let model = self.pair.model.tick("s", self.tick, &job).await;
        let real = self.pair.real.tick("s", self.tick, &real[0]).await;
        match (model, real) {
            (Ok(Some(model)), Ok(Some(real))) => {
                self.pair.jobs.same(model, real);
                self.jobs.push(model);
            }
            (Ok(None), Ok(None)) => {}
            (Err(model), Err(real)) => same_kind(&model, &real),
            (model, real) => panic!("R5, R6: {model:?} and {real:?}"),
        }
    }

    /// What is refused leaves nothing.
    pub(super) async fn refused(&mut self) {
        let call = [self.new_job(0), NewJob::new("No Name", Payload::default())];
        assert!(
            self.pair
                .real
                .enqueue(&self.pair.real_jobs(&call))
                .await
                .is_err()
        );
        assert!(self.pair.model.enqueue(&call).await.is_err());
    }
}
