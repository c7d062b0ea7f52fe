//! The status: everything at one instant.

use std::{hash::Hash, sync::Arc, time::Duration};

use super::{
    Core,
    entry::{Entry, Life, Stage, Wait},
    tick::Tick,
};
use crate::status::{KeyState, ProbeStatus, Status};

impl<K: Eq + Hash, H: Clone> Core<K, H> {
    pub(crate) fn status(&mut self, now: Tick) -> Status<Arc<K>> {
        self.clock(now);
        let states = self.listed().map(|entry| self.probe(entry)).collect();
        let oldest = self
            .queue
            .values()
            .next()
            .and_then(|index| match self.entries[*index].wait {
                Wait::Queue(queued) => Some(Duration::from_millis(self.now.since(queued.since))),
                _ => None,
            });
        Status {
            ongoing: self.keys_with(|entry| entry.run.is_some_and(|run| run.permit)),
            scheduled: self.keys_with(Entry::is_active),
            states,
            concurrency_limit: self.limit,
            current_concurrency: self.held,
            stuck: self.keys_with(|entry| entry.run.is_some_and(|run| run.stage == Stage::Stuck)),
            queue_depth: self.queue.len(),
            queue_oldest: oldest,
            started_total: self.started_total,
            missed_total: self.missed_total,
            lost: self
                .entries
                .iter()
                .filter(|e| e.is_active() && e.run.is_none() && e.wait == Wait::Nothing)
                .count(),
        }
    }

    pub(crate) fn probe_status(&mut self, key: &K, now: Tick) -> Option<ProbeStatus<Arc<K>>> {
        self.clock(now);
        let index = self.find(key)?;
        Some(self.probe(&self.entries[index]))
    }

    /// The keys in the schedule, and those that have left it and still run.
    fn listed(&self) -> impl Iterator<Item = &Entry<K, H>> {
        self.entries.iter()
    }

    fn keys_with(&self, which: impl Fn(&Entry<K, H>) -> bool) -> Vec<Arc<K>> {
        self.listed()
            .filter(|entry| which(entry))
            .map(|entry| Arc::clone(&entry.key))
            .collect()
    }

    fn probe(&self, entry: &Entry<K, H>) -> ProbeStatus<Arc<K>> {
        let failures = entry.streak.consecutive();
        let interval = entry.spec.interval();
        let until = |tick: Tick| Duration::from_millis(tick.since(self.now));
        let since = |tick: Tick| Duration::from_millis(self.now.since(tick));
        ProbeStatus {
            service: Arc::clone(&entry.key),
            interval,
            current_backoff: match failures {
                0 => Duration::ZERO,
                _ => entry.spec.backoff().nominal(failures, interval),
            },
            consecutive_failures: failures,
            last_probe_at: entry.past.started.map(|at| self.unix(at)),
            last_success_at: entry.past.succeeded.map(|at| self.unix(at)),
            last_error_at: entry.past.failed.map(|at| self.unix(at)),
            last_error: entry.past.error.clone(),
            is_active: entry.is_active(),
            state: state(entry),
            next_due: match entry.wait {
                Wait::Timer(armed) => Some(self.unix(armed.due)),
                Wait::Nothing | Wait::Queue(_) => None,
            },
            running_for: entry.run.map(|run| since(run.started)),
            deadline_in: entry.run.map(|run| until(run.deadline)),
            last_duration: entry.past.took_ms.map(Duration::from_millis),
            failures_total: entry.streak.failures_total(),
            successes_total: entry.streak.successes_total(),
            missed_total: entry.past.missed,
        }
    }
}

fn state<K, H>(entry: &Entry<K, H>) -> KeyState {
    match (entry.run.map(|run| run.stage), entry.wait) {
        (Some(Stage::Stuck), _) => KeyState::Stuck,
        (Some(_), _) => KeyState::Running,
        (None, Wait::Queue(_)) => KeyState::Queued,
        (None, Wait::Timer(_)) => KeyState::Armed,
        (None, Wait::Nothing) if entry.life == Life::Active => KeyState::Running,
        (None, Wait::Nothing) => KeyState::Paused,
    }
}
