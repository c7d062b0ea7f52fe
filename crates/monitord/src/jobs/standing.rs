//! What has become of the daemon's own jobs: for `/health`, for the metrics and for the log.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use monitor_core::supervisor::Health;
use monitor_jobs::{JobFilter, JobId, JobState, JobView, Jobs, QueueView, Stats, StoreError};
use serde_json::{Value, json};

use super::examine::Examined;
use super::{QUEUE, schedule_of};
use crate::config::Timetable;

/// Jobs that are read at once.
const PAGE: u32 = 100;
/// Jobs wait for a worker no longer than that, unless a queue is paused or one hangs; nor does a due
/// time wait for its job, unless nothing can be put in.
const LONG_WAIT_MS: i64 = 600_000;

/// Looks at the jobs now and then; what is shown is of the last look.
pub(crate) struct Watch {
    jobs: Jobs,
    timetables: Vec<(&'static str, Timetable)>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    /// When it was looked first.
    since_unix_ms: Option<i64>,
    kinds: BTreeMap<&'static str, Followed>,
    queue: Option<QueueView>,
}

/// The jobs of one kind.
#[derive(Debug, Clone, Default)]
struct Followed {
    /// Up to this one all have ended, and are not read again.
    ended: Option<JobId>,
    last: Option<JobView>,
    completed: Option<JobView>,
    /// The due time that had no job at the last look.
    awaited_unix_ms: Option<i64>,
    problem: Option<String>,
}

/// What there is to count and to measure at one moment.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) stats: Stats,
    pub(crate) queue: Option<QueueView>,
    /// When a job of that kind last ended well, in unix milliseconds.
    pub(crate) completed: Vec<(&'static str, i64)>,
    /// Operations, and by what share they became slower; 0: they did not.
    pub(crate) slower: Vec<(String, f64)>,
}

impl Watch {
    pub(super) fn new(jobs: Jobs, timetables: Vec<(&'static str, Timetable)>) -> Self {
        Self {
            jobs,
            timetables,
            seen: Mutex::default(),
        }
    }

    /// Looks. Unhealthy: the last job of a kind is dead or fails again and again, waits for nobody,
    /// or has found a defect; or nobody puts in the next one.
    pub(super) async fn look(&self) -> Result<Health, StoreError> {
        let mut seen = self.lock().clone();
        let backend = self.jobs.backend();
        let now = backend.now_unix_ms().await?;
        let since = *seen.since_unix_ms.get_or_insert(now);
        for (kind, timetable) in &self.timetables {
            let followed = seen.kinds.entry(kind).or_default();
            followed.follow(&self.jobs, kind).await?;
            let last = backend.last_tick(&schedule_of(kind)).await?;
            let due = timetable.cron.next_after(last.unwrap_or(since));
            let overdue = followed.overdue(due.filter(|due| now - due > LONG_WAIT_MS));
            let of_last = followed.last.as_ref().and_then(|job| problem(job, now));
            followed.problem = of_last.or_else(|| Some(format!("{kind}: {}", overdue?)));
        }
        let queues = backend.queues().await?;
        seen.queue = queues.into_iter().find(|queue| queue.name == QUEUE);
        let problems = seen.kinds.values();
        let health = Health::of(problems.filter_map(|followed| followed.problem.clone()));
        *self.lock() = seen;
        Ok(health)
    }

    /// Each kind with its schedule, its next time and its last job; the result of that only if
    /// `verbose`.
    pub(crate) fn json(&self, now_unix_ms: i64, verbose: bool) -> Value {
        let seen = self.lock();
        let kinds = self.timetables.iter().map(|(kind, timetable)| {
            let followed = seen.kinds.get(kind);
            let last = followed.and_then(|followed| followed.last.as_ref());
            let problem = followed.and_then(|followed| followed.problem.as_ref());
            json!({
                "kind": kind,
                "schedule": timetable.to_string(),
                "next_unix_ms": timetable.cron.next_after(now_unix_ms),
                "healthy": problem.is_none(),
                "problem": problem,
                "last": last.map(|job| last_json(job, verbose)),
            })
        });
        kinds.collect()
    }

    /// For the metrics.
    pub(crate) fn reading(&self) -> Reading {
        let seen = self.lock().clone();
        let ended = |(kind, followed): (&&'static str, &Followed)| {
            Some((*kind, followed.completed.as_ref()?.ended_unix_ms?))
        };
        let results = seen.kinds.values();
        let examined = results.filter_map(|followed| examined(followed.completed.as_ref()?));
        let slower = examined.flat_map(|examined| {
            let Examined {
                seconds, slower, ..
            } = examined;
            let by = move |name: String| (slower.get(&name).copied().unwrap_or(0.0), name);
            seconds.into_keys().map(by)
        });
        Reading {
            stats: self.jobs.stats(),
            completed: seen.kinds.iter().filter_map(ended).collect(),
            slower: slower.map(|(by, name)| (name, by)).collect(),
            queue: seen.queue,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Followed {
    /// Takes in the due time for which there should be a job and is none. What is wrong if that was
    /// so at the last look: at the start, what was missed is only about to be made up for.
    fn overdue(&mut self, due_unix_ms: Option<i64>) -> Option<String> {
        let before = std::mem::replace(&mut self.awaited_unix_ms, due_unix_ms);
        let due = Timestamp::from_millisecond(before.filter(|_| before == due_unix_ms)?);
        Some(format!(
            "was due at {}, and no job could be put in",
            due.ok()?
        ))
    }

    /// Reads the jobs that came, and those that had not ended.
    async fn follow(&mut self, jobs: &Jobs, kind: &str) -> Result<(), StoreError> {
        let mut filter = JobFilter {
            queue: Some(QUEUE.to_owned()),
            kind: Some(kind.to_owned()),
            after: self.ended,
            limit: PAGE,
            ..JobFilter::default()
        };
        let mut all_ended = true;
        loop {
            let page = jobs.backend().list(&filter).await?;
            let is_last = u32::try_from(page.len()).is_ok_and(|read| read < PAGE);
            for job in page {
                filter.after = Some(job.id);
                all_ended &= job.state.is_terminal();
                if all_ended {
                    self.ended = Some(job.id);
                }
                if job.state == JobState::Completed {
                    self.completed = Some(job.clone());
                }
                self.last = Some(job);
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

/// What is wrong with a job, and with what it found.
fn problem(job: &JobView, now_unix_ms: i64) -> Option<String> {
    let JobView {
        id, kind, attempt, ..
    } = job;
    let error = job.last_error.as_deref().unwrap_or_default();
    let waited = now_unix_ms - job.run_at_unix_ms.max(job.enqueued_unix_ms);
    match job.state {
        JobState::Dead => Some(format!("{kind}: job {id} is dead: {error}")),
        JobState::Completed => {
            let examined = examined(job).filter(|examined| examined.defects > 0)?;
            let first = examined.findings.first().map_or("", String::as_str);
            Some(format!("{kind}: job {id} found {examined}: {first}"))
        }
        JobState::Cancelled => None,
        JobState::Ready if waited > LONG_WAIT_MS => {
            let minutes = waited / 60_000;
            Some(format!(
                "{kind}: job {id} has waited {minutes} min for a worker"
            ))
        }
        _ if !error.is_empty() => {
            let of = job.max_attempts;
            Some(format!(
                "{kind}: attempt {attempt} of {of} of job {id} failed: {error}"
            ))
        }
        _ => None,
    }
}

/// What a doctor noted; of other jobs, nothing.
fn examined(job: &JobView) -> Option<Examined> {
    let result = job
        .result
        .as_deref()
        .filter(|_| job.kind == super::DOCTOR)?;
    serde_json::from_str(result).ok()
}

fn last_json(job: &JobView, verbose: bool) -> Value {
    let mut last = json!({
        "job": job.id,
        "state": job.state,
        "attempt": job.attempt,
        "ended_unix_ms": job.ended_unix_ms,
    });
    if verbose {
        let result = job.result.as_deref().unwrap_or("null");
        last["result"] = serde_json::from_str(result).unwrap_or_default();
    }
    last
}
