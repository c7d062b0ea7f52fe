//! What a call of `enqueue` comes to, decided without the database: ids, edges, places.

use std::collections::{BTreeMap, HashMap};

use crate::kernel::edges::{Arrival, EdgeState};
use crate::kernel::ordering::{Place, base, effective, fair, run_at_ms};
use crate::{Edge, EnqueueError, Enqueued, JobId, JobState, NewJob, Ordering, Parent, Priority};

/// What is known of a job that may be a parent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) state: JobState,
    pub(super) base: Priority,
    pub(super) effective: Priority,
    pub(super) key: i64,
}

/// What start-time fair queueing knows of a queue and its tenants.
#[derive(Debug, Default)]
pub(super) struct Fair {
    pub(super) least_ready: HashMap<String, i64>,
    pub(super) highest: HashMap<String, i64>,
    pub(super) finish: HashMap<(String, String), i64>,
}

/// What a call wants: which jobs it puts in, and with which edges to which places.
#[derive(Debug)]
pub(super) struct Wanted {
    /// At the places of the call: the job that has the key, or the place among the new ones.
    pub(super) answers: Vec<Answer>,
    /// Where the new ones stand in the call, and their edges in the order of the parents.
    pub(super) new: Vec<(usize, Vec<Edge<Target>>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// One that was in before: always less than any that is put in now.
    Old(JobId),
    /// One of the new ones.
    New(usize),
}

pub(super) type Answer = Target;

/// Judges parents and keys. `holders` has whom a key belongs to already.
pub(super) fn wanted(
    jobs: &[NewJob],
    holders: &HashMap<&str, JobId>,
    known: &HashMap<JobId, Known>,
) -> Result<Wanted, EnqueueError> {
    let mut answers: Vec<Answer> = Vec::with_capacity(jobs.len());
    let mut new = Vec::new();
    let mut keys: HashMap<&str, usize> = HashMap::new();
    for (place, job) in jobs.iter().enumerate() {
        let key = job.unique_key.as_deref();
        let bearer = key.and_then(|key| {
            let holder = holders.get(key).copied().map(Target::Old);
            holder.or_else(|| keys.get(key).copied().map(Target::New))
        });
        if let Some(bearer) = bearer {
            answers.push(bearer);
            continue;
        }
        let edges = edges(job, &answers, known)?;
        keys.extend(key.map(|key| (key, new.len())));
        answers.push(Target::New(new.len()));
        new.push((place, edges));
    }
    Ok(Wanted { answers, new })
}

fn edges(
    job: &NewJob,
    answers: &[Answer],
    known: &HashMap<JobId, Known>,
) -> Result<Vec<Edge<Target>>, EnqueueError> {
    let mut edges: BTreeMap<Target, Edge<Target>> = BTreeMap::new();
    for Edge { parent, on, unmet } in job.parents.iter().copied() {
        let (target, named) = match parent {
            Parent::Job(id) if !known.contains_key(&id) => {
                return Err(EnqueueError::UnknownParent { parent: id });
            }
            Parent::Job(id) => (Target::Old(id), id),
            Parent::Earlier(earlier) => match answers.get(earlier).copied() {
                Some(Target::Old(id)) => (Target::Old(id), id),
                Some(new) => (new, JobId(0)),
                // Refused by `limits::jobs` before.
                None => continue,
            },
        };
        let edge = Edge {
            parent: target,
            on,
            unmet,
        };
        if edges.insert(target, edge).is_some() {
            return Err(EnqueueError::DuplicateParent { parent: named });
        }
    }
    Ok(edges.into_values().collect())
}

impl Wanted {
    /// What to answer, once ids are minted.
    pub(super) fn answers(&self, ids: &[i64]) -> Vec<Enqueued> {
        let mut seen = vec![false; ids.len()];
        let answer = |answer: &Answer| match *answer {
            Target::Old(id) => Enqueued::Existing(id),
            Target::New(place) => {
                let id = JobId(ids.get(place).copied().unwrap_or_default());
                match seen.get_mut(place) {
                    Some(seen) if !*seen => {
                        *seen = true;
                        Enqueued::New(id)
                    }
                    _ => Enqueued::Existing(id),
                }
            }
        };
        self.answers.iter().map(answer).collect()
    }
}

/// A job as it is put in.
#[derive(Debug)]
pub(super) struct Planned<'j> {
    pub(super) id: JobId,
    pub(super) job: &'j NewJob,
    pub(super) state: JobState,
    pub(super) place: Place,
    pub(super) run_at_ms: i64,
    pub(super) base: Priority,
    pub(super) effective: Priority,
    pub(super) key: i64,
    pub(super) pending: u32,
    pub(super) holds: u32,
    /// Edges to children of the same call.
    pub(super) outdeg: u32,
    /// All its edges, ascending, and where each stands.
    pub(super) edges: Vec<(Edge, EdgeState)>,
}

/// All that is to be written.
#[derive(Debug)]
pub(super) struct Plan<'j> {
    pub(super) jobs: Vec<Planned<'j>>,
    /// Edges that each job of before gets.
    pub(super) degrees: BTreeMap<JobId, i32>,
    /// Those that are more urgent than a parent of before.
    pub(super) urgent: Vec<JobId>,
}

/// Settles where each new job stands, as if they came one after the other.
pub(super) fn plan<'j>(
    jobs: &'j [NewJob],
    wanted: &Wanted,
    ids: &[i64],
    now_ms: i64,
    mut known: HashMap<JobId, Known>,
    fair: &mut Fair,
) -> Plan<'j> {
    let mut plan = Plan {
        jobs: Vec::with_capacity(ids.len()),
        degrees: BTreeMap::new(),
        urgent: Vec::new(),
    };
    for ((place, edges), id) in wanted.new.iter().zip(ids) {
        let Some(job) = jobs.get(*place) else {
            continue;
        };
        let planned = put_in(JobId(*id), job, edges, ids, now_ms, &known, fair);
        for edge in edges {
            match edge.parent {
                Target::Old(id) => *plan.degrees.entry(id).or_default() += 1,
                Target::New(place) => {
                    if let Some(parent) = plan.jobs.get_mut(place) {
                        parent.outdeg += 1;
                    }
                }
            }
        }
        known.insert(planned.id, planned.known());
        plan.jobs.push(planned);
    }
    let inherited = raise(&mut plan.jobs);
    plan.urgent = urgent(&inherited, &known);
    plan
}

fn put_in<'j>(
    id: JobId,
    job: &'j NewJob,
    edges: &[Edge<Target>],
    ids: &[i64],
    now_ms: i64,
    known: &HashMap<JobId, Known>,
    fair: &mut Fair,
) -> Planned<'j> {
    let run_at_ms = run_at_ms(job.when, now_ms);
    let tag = fair.tag(now_ms, job);
    let mut arrival = Arrival::default();
    let mut bases = Vec::new();
    let edges: Vec<(Edge, EdgeState)> = edges
        .iter()
        .map(|&Edge { parent, on, unmet }| {
            let parent = match parent {
                Target::Old(id) => id,
                Target::New(place) => JobId(ids.get(place).copied().unwrap_or_default()),
            };
            let it = known.get(&parent);
            bases.extend(it.map(|it| it.base));
            let state = arrival.add(on, unmet, it.map(|it| it.state));
            (Edge { parent, on, unmet }, state)
        })
        .collect();
    let base = base(
        job.priority,
        bases.into_iter().filter(|_| job.inherit_priority),
    );
    let place = Place::of(job.ordering, run_at_ms, tag);
    let state = arrival.state(run_at_ms, now_ms);
    let key = place.key(base);
    if state == JobState::Ready {
        fair.note_ready(&job.queue, key);
    }
    Planned {
        id,
        job,
        state,
        place,
        run_at_ms,
        base,
        effective: base,
        key,
        pending: arrival.pending,
        holds: arrival.judged.holding,
        outdeg: 0,
        edges,
    }
}

impl Planned<'_> {
    fn known(&self) -> Known {
        Known {
            state: self.state,
            base: self.base,
            effective: self.effective,
            key: self.key,
        }
    }
}

/// Carries urgency from the new children to the new parents. Returns what each job that is open
/// and inherits passes on along its open edges.
fn raise(jobs: &mut [Planned<'_>]) -> Vec<(JobId, JobId, Priority, i64)> {
    let mut heirs: HashMap<JobId, Vec<(Priority, i64)>> = HashMap::new();
    let mut inherited = Vec::new();
    for job in jobs.iter_mut().rev() {
        if job.state.is_terminal() {
            continue;
        }
        let dependents = heirs.remove(&job.id).unwrap_or_default();
        (job.effective, job.key) = effective(job.base, job.place, dependents);
        if !job.job.inherit_priority {
            continue;
        }
        for (edge, _) in job
            .edges
            .iter()
            .filter(|(_, state)| *state == EdgeState::Open)
        {
            let passed_on = (job.effective, job.key);
            heirs.entry(edge.parent).or_default().push(passed_on);
            inherited.push((job.id, edge.parent, job.effective, job.key));
        }
    }
    inherited
}

/// Which of them are more urgent than a parent: never one of the same call, which was raised.
fn urgent(
    inherited: &[(JobId, JobId, Priority, i64)],
    known: &HashMap<JobId, Known>,
) -> Vec<JobId> {
    let mut urgent: Vec<JobId> = inherited
        .iter()
        .filter(|(_, parent, priority, key)| {
            let less = |it: &Known| it.effective < *priority || it.key > *key;
            known.get(parent).is_some_and(less)
        })
        .map(|(child, ..)| *child)
        .collect();
    urgent.sort_unstable();
    urgent.dedup();
    urgent
}

impl Fair {
    fn tag(&mut self, now_ms: i64, job: &NewJob) -> i64 {
        let Ordering::Fair { weight } = job.ordering else {
            return 0;
        };
        let own = (job.queue.clone(), job.tenant.clone().unwrap_or_default());
        let least_ready = self.least_ready.get(&job.queue).copied();
        let highest = self.highest.get(&job.queue).copied();
        let (tag, finish) = fair(
            now_ms,
            least_ready,
            highest,
            self.finish.get(&own).copied(),
            weight,
        );
        let top = self.highest.entry(job.queue.clone()).or_insert(finish);
        *top = finish.max(*top);
        self.finish.insert(own, finish);
        tag
    }

    fn note_ready(&mut self, queue: &str, key: i64) {
        match self.least_ready.get_mut(queue) {
            Some(least) => *least = key.min(*least),
            None => {
                self.least_ready.insert(queue.to_owned(), key);
            }
        }
    }
}
