//! Putting jobs in, and whatever runs along their edges: releases, ends, urgency.

use std::collections::{BTreeMap, BTreeSet};

use super::rows::{EdgeRow, Job};
use super::world::World;
use crate::kernel::attempts::revive;
use crate::kernel::edges::{Arrival, EdgeState, Resolution, UNMET_ERROR, judge, waiting};
use crate::kernel::limits;
use crate::kernel::ordering::{Place, base, effective, fair, run_at_ms};
use crate::{Edge, EnqueueError, Enqueued, JobId, JobState, NewJob, Ordering, Parent, Priority};

impl World {
    pub(super) fn enqueue(
        &mut self,
        now: i64,
        jobs: &[NewJob],
    ) -> Result<Vec<Enqueued>, EnqueueError> {
        limits::jobs(jobs)?;
        let plan = self.plan(jobs)?;
        let mut answers = Vec::with_capacity(plan.len());
        for (new, (enqueued, edges)) in jobs.iter().zip(plan) {
            if let Enqueued::New(id) = enqueued {
                self.put_in(now, id, new, &edges);
            }
            answers.push(enqueued);
        }
        if jobs.iter().any(|new| !new.parents.is_empty()) {
            self.refresh_urgency();
        }
        Ok(answers)
    }

    /// Ids and edges of what is to be put in; nothing is changed yet, so an error leaves nothing.
    fn plan(&self, jobs: &[NewJob]) -> Result<Vec<(Enqueued, Vec<Edge>)>, EnqueueError> {
        let mut plan: Vec<(Enqueued, Vec<Edge>)> = Vec::with_capacity(jobs.len());
        let mut keys: BTreeMap<&str, JobId> = BTreeMap::new();
        let mut last = self.last_job;
        for new in jobs {
            let key = new.unique_key.as_deref();
            let bearer = key.and_then(|key| self.bearer(key).or(keys.get(key).copied()));
            if let Some(existing) = bearer {
                plan.push((Enqueued::Existing(existing), Vec::new()));
                continue;
            }
            let mut edges: BTreeMap<JobId, Edge> = BTreeMap::new();
            for Edge { parent, on, unmet } in new.parents.iter().copied() {
                let parent = match parent {
                    Parent::Job(id) if !self.jobs.contains_key(&id) => {
                        return Err(EnqueueError::UnknownParent { parent: id });
                    }
                    Parent::Job(id) => id,
                    Parent::Earlier(place) => plan[place].0.id(),
                };
                if edges.insert(parent, Edge { parent, on, unmet }).is_some() {
                    return Err(EnqueueError::DuplicateParent { parent });
                }
            }
            last += 1;
            keys.extend(key.map(|key| (key, JobId(last))));
            plan.push((Enqueued::New(JobId(last)), edges.into_values().collect()));
        }
        Ok(plan)
    }

    fn put_in(&mut self, now: i64, id: JobId, new: &NewJob, edges: &[Edge]) {
        self.last_job = id.0;
        let run_at_ms = run_at_ms(new.when, now);
        let tag = self.fair_tag(now, new);
        let inherited = edges
            .iter()
            .filter(|_| new.inherit_priority)
            .filter_map(|edge| Some(self.jobs.get(&edge.parent)?.base));
        let base = base(new.priority, inherited);
        let place = Place::of(new.ordering, run_at_ms, tag);
        let mut arrival = Arrival::default();
        for edge in edges {
            let parent = self.jobs.get(&edge.parent).map(|parent| parent.state);
            let state = arrival.add(edge.on, edge.unmet, parent);
            let row = EdgeRow {
                child: id,
                edge: *edge,
                state,
            };
            self.edges.insert((id, edge.parent), row);
            self.children.insert((edge.parent, id));
        }
        let end = arrival.judged.end;
        let job = Job {
            id,
            kind: new.kind.clone(),
            queue: new.queue.clone(),
            payload: new.payload.clone(),
            tenant: new.tenant.clone(),
            unique_key: new.unique_key.clone(),
            inherits: new.inherit_priority,
            state: arrival.state(run_at_ms, now),
            own: new.priority,
            base,
            effective: base,
            place,
            key: place.key(base),
            attempt: 0,
            max_attempts: new.max_attempts,
            crashes: 0,
            max_crashes: new.max_crashes,
            timeout: new.timeout,
            epoch: None,
            worker: None,
            cancel_requested: false,
            last_end: None,
            pending: arrival.pending,
            holds: arrival.judged.holding,
            enqueued_ms: now,
            run_at_ms,
            ended_ms: end.map(|_| now),
            progress: None,
            last_error: unmet_error(end),
            result: None,
        };
        self.jobs.insert(id, job);
    }

    fn fair_tag(&mut self, now: i64, new: &NewJob) -> i64 {
        let Ordering::Fair { weight } = new.ordering else {
            return 0;
        };
        let ready = self
            .jobs
            .values()
            .filter(|job| job.queue == new.queue)
            .filter(|job| job.state.as_of(job.run_at_ms, now) == JobState::Ready);
        let least_ready = ready.map(|job| job.key).min();
        let tenants = self
            .fair
            .iter()
            .filter(|((queue, _), _)| *queue == new.queue);
        let highest = tenants.map(|(_, finish)| *finish).max();
        let own = (new.queue.clone(), new.tenant.clone().unwrap_or_default());
        let own_finish = self.fair.get(&own).copied();
        let (tag, finish) = fair(now, least_ready, highest, own_finish, weight);
        self.fair.insert(own, finish);
        tag
    }

    /// Carries the ends of jobs along their edges, and so on, until nothing is left to do.
    pub(super) fn resolve(&mut self, now: i64, ended: Vec<JobId>) {
        if ended.is_empty() {
            return;
        }
        let mut wave = ended;
        while !wave.is_empty() {
            let mut children: BTreeMap<JobId, Resolution> = BTreeMap::new();
            for parent in wave.drain(..) {
                self.resolve_edges(parent, &mut children);
            }
            for (child, resolution) in children {
                let Some(job) = self.jobs.get_mut(&child) else {
                    continue;
                };
                job.pending -= resolution.resolved;
                job.holds += resolution.holding;
                if job.state.is_terminal() {
                    continue;
                }
                if let Some(end) = resolution.end {
                    job.state = end;
                    job.ended_ms = Some(now);
                    job.last_error = unmet_error(Some(end)).or(job.last_error.take());
                    wave.push(child);
                } else {
                    job.state = waiting(job.pending, job.holds, job.run_at_ms, now);
                }
            }
        }
        self.refresh_urgency();
    }

    fn resolve_edges(&mut self, parent: JobId, children: &mut BTreeMap<JobId, Resolution>) {
        let Some(end) = self.jobs.get(&parent).map(|job| job.state) else {
            return;
        };
        for child in self.children_of(parent) {
            if let Some(row) = self.edges.get_mut(&(child, parent))
                && row.state == EdgeState::Open
            {
                let verdict = judge(row.edge.on, row.edge.unmet, end);
                row.state = EdgeState::after(verdict);
                children.entry(child).or_default().add(verdict);
            }
        }
    }

    pub(super) fn cancel(&mut self, now: i64, id: JobId) -> Option<bool> {
        let job = self.jobs.get_mut(&id)?;
        match job.state {
            state if state.is_terminal() => return Some(false),
            JobState::Running => job.cancel_requested = true,
            _ => {
                job.state = JobState::Cancelled;
                job.ended_ms = Some(now);
                self.resolve(now, vec![id]);
            }
        }
        Some(true)
    }

    pub(super) fn retry(&mut self, now: i64, id: JobId) -> Option<bool> {
        let job = self.jobs.get(&id)?;
        match job.state {
            JobState::Held => self.forgive(id, |edge| edge.state == EdgeState::Holding),
            JobState::Dead | JobState::Cancelled => {
                let key = job.unique_key.as_deref();
                if key.is_some_and(|key| self.bearer(key).is_some()) {
                    return Some(false);
                }
                self.settle_edges_anew(id);
                self.revive(now, id);
                self.reopen(id);
            }
            _ => return Some(false),
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            job.state = waiting(job.pending, job.holds, job.run_at_ms, now);
        }
        self.refresh_urgency();
        Some(true)
    }

    /// Meets those edges of a child, whatever they asked for.
    fn forgive(&mut self, child: JobId, which: impl Fn(&EdgeRow) -> bool) {
        self.set_edges(child, |row| {
            if which(row) {
                EdgeState::Met
            } else {
                row.state
            }
        });
    }

    /// Edges to parents that have ended are met, all others are open.
    fn settle_edges_anew(&mut self, child: JobId) {
        let ended: BTreeSet<JobId> = self
            .parents_of(child)
            .map(|row| row.edge.parent)
            .filter(|parent| {
                self.jobs
                    .get(parent)
                    .is_none_or(|job| job.state.is_terminal())
            })
            .collect();
        self.set_edges(child, |row| {
            if ended.contains(&row.edge.parent) {
                EdgeState::Met
            } else {
                EdgeState::Open
            }
        });
    }

    fn set_edges(&mut self, child: JobId, state: impl Fn(&EdgeRow) -> EdgeState) {
        let range = (child, JobId(i64::MIN))..=(child, JobId(i64::MAX));
        let (mut pending, mut holds) = (0, 0);
        for row in self.edges.range_mut(range).map(|(_, row)| row) {
            row.state = state(row);
            pending += u32::from(row.state == EdgeState::Open);
            holds += u32::from(row.state == EdgeState::Holding);
        }
        if let Some(job) = self.jobs.get_mut(&child) {
            (job.pending, job.holds) = (pending, holds);
        }
    }

    fn revive(&mut self, now: i64, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            (job.max_attempts, job.max_crashes) =
                revive(job.attempt, job.max_attempts, job.crashes, job.max_crashes);
            job.run_at_ms = now;
            job.ended_ms = None;
        }
    }

    /// Whoever is held by this parent waits for it again.
    fn reopen(&mut self, parent: JobId) {
        for child in self.children_of(parent) {
            let held = self
                .jobs
                .get_mut(&child)
                .filter(|job| job.state == JobState::Held);
            if let Some(job) = held
                && let Some(row) = self.edges.get_mut(&(child, parent))
                && row.state == EdgeState::Holding
            {
                row.state = EdgeState::Open;
                job.pending += 1;
                job.holds -= 1;
                job.state = waiting(job.pending, job.holds, job.run_at_ms, job.run_at_ms);
            }
        }
    }

    pub(super) fn reprioritise(&mut self, id: JobId, priority: Priority) -> Option<bool> {
        let job = self.jobs.get_mut(&id)?;
        if job.state.is_terminal() {
            return Some(false);
        }
        job.own = priority;
        let mut below = BTreeSet::from([id]);
        while let Some(id) = below.pop_first() {
            self.refresh_base(id);
            for child in self.children_of(id) {
                let follows = |job: &&Job| job.inherits && !job.state.is_terminal();
                below.extend(self.jobs.get(&child).filter(follows).map(|job| job.id));
            }
        }
        self.refresh_urgency();
        Some(true)
    }

    fn refresh_base(&mut self, id: JobId) {
        let parents: Vec<Priority> = self
            .parents_of(id)
            .filter_map(|row| Some(self.jobs.get(&row.edge.parent)?.base))
            .collect();
        if let Some(job) = self.jobs.get_mut(&id) {
            job.base = base(job.own, parents.into_iter().filter(|_| job.inherits));
        }
    }

    /// Settles effective priority and key of every job that has not ended, children first.
    ///
    /// All of them, whatever has changed: nothing to get wrong.
    fn refresh_urgency(&mut self) {
        let ids: Vec<JobId> = self.jobs.keys().rev().copied().collect();
        for id in ids {
            let Some(job) = self.jobs.get(&id).filter(|job| !job.state.is_terminal()) else {
                continue;
            };
            let (priority, key) = effective(job.base, job.place, self.dependents(id));
            if let Some(job) = self.jobs.get_mut(&id) {
                (job.effective, job.key) = (priority, key);
            }
        }
    }

    fn dependents(&self, parent: JobId) -> Vec<(Priority, i64)> {
        self.heirs(parent)
            .map(|job| (job.effective, job.key))
            .collect()
    }

    /// The unended inheriting children over open edges.
    pub(super) fn heirs(&self, parent: JobId) -> impl Iterator<Item = &Job> {
        self.children_of(parent)
            .into_iter()
            .filter(move |child| {
                let row = self.edges.get(&(*child, parent));
                row.is_some_and(|row| row.state == EdgeState::Open)
            })
            .filter_map(|child| self.jobs.get(&child))
            .filter(|job| job.inherits && !job.state.is_terminal())
    }

    pub(super) fn parents_of(&self, child: JobId) -> impl Iterator<Item = &EdgeRow> {
        let range = (child, JobId(i64::MIN))..=(child, JobId(i64::MAX));
        self.edges.range(range).map(|(_, row)| row)
    }

    pub(super) fn children_of(&self, parent: JobId) -> Vec<JobId> {
        let range = (parent, JobId(i64::MIN))..=(parent, JobId(i64::MAX));
        self.children
            .range(range)
            .map(|(_, child)| *child)
            .collect()
    }

    /// The job that has not ended and bears that key.
    fn bearer(&self, key: &str) -> Option<JobId> {
        self.jobs
            .values()
            .find(|job| job.unique_key.as_deref() == Some(key) && !job.state.is_terminal())
            .map(|job| job.id)
    }
}

fn unmet_error(end: Option<JobState>) -> Option<String> {
    (end == Some(JobState::Dead)).then(|| UNMET_ERROR.to_owned())
}
