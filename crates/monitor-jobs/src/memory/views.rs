//! What can be seen of the in-memory database, and what is removed from it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::world::World;
use crate::kernel::edges::EdgeState;
use crate::kernel::ordering::whole_ms;
use crate::{
    Execution, Finding, JobFilter, JobId, JobState, JobView, Priority, QueueView, Reason,
    WorkerPulse, WorkerView,
};

impl World {
    pub(super) fn view(&self, now: i64, id: JobId) -> Option<JobView> {
        let job = self.jobs.get(&id)?;
        let parents = self.parents_of(id).map(|row| row.edge).collect();
        Some(job.view(parents, now))
    }

    pub(super) fn list(&self, now: i64, filter: &JobFilter) -> Vec<JobView> {
        let limit = if filter.limit == 0 { 100 } else { filter.limit };
        let shown = |view: &JobView| {
            filter
                .queue
                .as_ref()
                .is_none_or(|queue| *queue == view.queue)
                && filter.kind.as_ref().is_none_or(|kind| *kind == view.kind)
                && filter.state.is_none_or(|state| state == view.state)
        };
        self.jobs
            .keys()
            .filter(|id| filter.after.is_none_or(|after| **id > after))
            .filter_map(|id| self.view(now, *id))
            .filter(shown)
            .take(limit as usize)
            .collect()
    }

    pub(super) fn executions_of(&self, job: JobId) -> Vec<Execution> {
        let rows = self.executions.values().filter(|row| row.job == job);
        rows.map(super::rows::ExecutionRow::view).collect()
    }

    pub(super) fn every_execution(&self) -> Vec<Execution> {
        let rows = self.executions.values();
        rows.map(super::rows::ExecutionRow::view).collect()
    }

    pub(super) fn workers(&self) -> Vec<WorkerView> {
        let view = |worker: &super::rows::Worker| {
            let held = self.held_by(worker.id).count();
            worker.view(u32::try_from(held).unwrap_or(u32::MAX))
        };
        self.workers.values().map(view).collect()
    }

    pub(super) fn pulses(&self) -> Vec<WorkerPulse> {
        let live = self.workers.values().filter(|row| row.failed_ms.is_none());
        live.map(|row| WorkerPulse {
            worker: row.id,
            beats: row.beats,
            lease: row.lease,
        })
        .collect()
    }

    pub(super) fn queues(&self, now: i64) -> Vec<QueueView> {
        let mut views: BTreeMap<&str, QueueView> = BTreeMap::new();
        let names = self.jobs.values().map(|job| &job.queue).chain(&self.paused);
        for name in names {
            views.entry(name).or_insert_with(|| QueueView {
                paused: self.paused.contains(name),
                ..QueueView::empty(name.clone())
            });
        }
        for job in self.jobs.values() {
            if let Some(view) = views.get_mut(job.queue.as_str()) {
                let state = job.state.as_of(job.run_at_ms, now);
                view.count((state, job.effective), 1, job.run_at_ms, now);
            }
        }
        views.into_values().collect()
    }

    pub(super) fn why_priority(&self, id: JobId) -> Option<Reason> {
        let job = self.jobs.get(&id)?;
        let reason = |from: Option<(JobId, Priority)>, from_parent| Reason {
            effective: job.effective,
            own: job.own,
            from,
            from_parent,
        };
        if job.effective == job.own {
            return Some(reason(None, false));
        }
        let mut source = job;
        while source.base < job.effective {
            let Some(heir) = self
                .heirs(source.id)
                .find(|heir| heir.effective == job.effective)
            else {
                break;
            };
            source = heir;
        }
        let from_parent = source.id == job.id;
        while source.own < job.effective {
            let parents = self.parents_of(source.id);
            let mut parents = parents.filter_map(|row| self.jobs.get(&row.edge.parent));
            let Some(parent) = parents.find(|parent| parent.base == job.effective) else {
                break;
            };
            source = parent;
        }
        Some(reason(Some((source.id, source.own)), from_parent))
    }

    pub(super) fn doctor(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut broken = |check, what| {
            findings.push(Finding {
                check,
                broken: true,
                what,
            });
        };
        for job in self.jobs.values() {
            let open = self
                .parents_of(job.id)
                .filter(|row| row.state == EdgeState::Open);
            let open: Vec<JobId> = open.map(|row| row.edge.parent).collect();
            let id = job.id;
            if open.len() != job.pending as usize {
                let what = format!(
                    "job {id} counts {} edges, {} are open",
                    job.pending,
                    open.len()
                );
                broken("pending", what);
            }
            if job.state == JobState::Blocked && open.is_empty() {
                broken("blocked_on_nothing", format!("job {id} waits for nothing"));
            }
            if (job.state == JobState::Running) != job.worker.is_some() {
                broken("holder", format!("job {id} is {}", job.state.as_str()));
            }
        }
        findings
    }

    /// Removes what ended before `now - age`.
    pub(super) fn prune(&mut self, now: i64, age: Duration, limit: u32) -> u32 {
        let oldest = now.saturating_sub(whole_ms(age));
        let mut old: Vec<(i64, JobId)> = self
            .jobs
            .values()
            .filter_map(|job| Some((job.ended_ms.filter(|ended| *ended <= oldest)?, job.id)))
            .filter(|(_, job)| !self.is_needed(*job))
            .collect();
        // What ended first goes first.
        old.sort_unstable();
        old.truncate(limit as usize);
        let gone: Vec<JobId> = old.into_iter().map(|(_, job)| job).collect();
        let gone_workers: Vec<_> = self
            .workers
            .values()
            .filter(|worker| worker.failed_ms.is_some_and(|failed| failed <= oldest))
            .map(|worker| worker.id)
            .take(limit as usize - gone.len())
            .collect();
        let removed: BTreeSet<JobId> = gone.iter().copied().collect();
        self.jobs.retain(|id, _| !removed.contains(id));
        self.edges
            .retain(|(child, parent), _| !removed.contains(child) && !removed.contains(parent));
        self.children
            .retain(|(parent, child)| !removed.contains(child) && !removed.contains(parent));
        self.executions.retain(|(id, _), _| !removed.contains(id));
        for worker in &gone_workers {
            self.workers.remove(worker);
        }
        u32::try_from(gone.len() + gone_workers.len()).unwrap_or(u32::MAX)
    }

    fn is_needed(&self, parent: JobId) -> bool {
        self.children_of(parent).into_iter().any(|child| {
            let alive = self
                .jobs
                .get(&child)
                .is_some_and(|job| !job.state.is_terminal());
            let row = self.edges.get(&(child, parent));
            alive || row.is_some_and(|row| row.state == EdgeState::Open)
        })
    }
}
