//! The status: the whole at one instant, and the keys a page at a time.

use std::time::Duration;

use super::{
    Core, Keyed,
    entry::{Doing, Life, Past, Stage},
    tick::Tick,
};
use crate::{
    Class, Pace,
    status::{ClassStatus, KeyState, Overview, ProbeStatus, Seen},
};

impl<H: Keyed> Core<H> {
    /// The numbers of the whole.
    pub(crate) fn overview(&mut self, now: Tick) -> Overview {
        self.clock(now);
        let heads = Class::ALL
            .into_iter()
            .filter_map(|class| self.queue.of(class).next());
        let since = heads.filter_map(|index| match &self.entries[index].doing {
            Doing::Queue(queued) => Some(queued.since),
            _ => None,
        });
        Overview {
            concurrency_limit: self.permits.limit(),
            queue_depth: self.queue.len(),
            queue_oldest: since
                .min()
                .map(|since| Duration::from_millis(self.now.since(since))),
            started_total: self.started_total,
            missed: self.missed,
            classes: Class::ALL.map(|class| ClassStatus {
                class,
                concurrency_limit: self.permits.limit_of(class),
                current_concurrency: self.permits.held_by(class),
                pace: self.pace(class),
            }),
            sequence: self.sequence,
            added_total: self.added_total,
        }
    }

    /// The keys with so many numbers from `from` on, and the number to go on with.
    pub(crate) fn page(
        &mut self,
        from: u32,
        most: usize,
        now: Tick,
    ) -> (Vec<Seen<H>>, Option<u32>) {
        self.clock(now);
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let end = from.saturating_add(most).min(self.entries.end());
        let entries = (from..end).filter_map(|index| Some((index, self.entries.get(index)?)));
        let seen = entries.map(|(index, entry)| Seen {
            status: self.probe(index),
            holds_permit: entry.run().is_some_and(|run| run.permit.is_some()),
            is_lost: entry.is_active() && matches!(entry.doing, Doing::Nothing),
        });
        (seen.collect(), (end < self.entries.end()).then_some(end))
    }

    pub(crate) fn probe_status(&mut self, key: &H::Key, now: Tick) -> Option<ProbeStatus<H>> {
        self.clock(now);
        let index = self.find(key)?;
        Some(self.probe(index))
    }

    fn probe(&self, index: u32) -> ProbeStatus<H> {
        let entry = &self.entries[index];
        let kind = self.kinds.of(entry.kind);
        let none = Past::default();
        let past = self.past(index).unwrap_or(&none);
        let failed = past.failed.as_deref();
        let failures = past.streak.consecutive();
        let interval = Duration::from_millis(u64::from(kind.interval_ms));
        let until = |tick: Tick| Duration::from_millis(tick.since(self.now));
        let since = |tick: Tick| Duration::from_millis(self.now.since(tick));
        ProbeStatus {
            service: entry.handler.clone(),
            interval,
            class: kind.class,
            current_backoff: match failures {
                0 => Duration::ZERO,
                _ => kind.policy.nominal(failures, interval),
            },
            consecutive_failures: failures,
            last_probe_at: past.started.get().map(|at| self.unix(at)),
            last_success_at: past.succeeded.get().map(|at| self.unix(at)),
            last_error_at: failed.map(|failed| self.unix(failed.at)),
            last_error: failed.and_then(|failed| failed.error.as_deref().map(str::to_owned)),
            is_active: entry.is_active(),
            state: self.state(index),
            next_due: match &entry.doing {
                Doing::Timer(armed) => Some(self.unix(armed.due)),
                Doing::Nothing | Doing::Queue(_) | Doing::Run(_) => None,
            },
            running_for: entry.run().map(|run| since(run.started)),
            deadline_in: entry.run().map(|run| until(run.deadline)),
            last_duration: past
                .took
                .map(|took| Duration::from_millis(u64::from(took.get()) - 1)),
            failures_total: past.streak.failures_total(),
            successes_total: past.streak.successes_total(),
            missed_total: u64::from(past.missed),
            sequence: self.sequence,
        }
    }

    pub(super) fn state(&self, index: u32) -> KeyState {
        let entry = &self.entries[index];
        match &entry.doing {
            Doing::Run(run) if run.stage == Stage::Stuck => KeyState::Stuck,
            Doing::Run(_) => KeyState::Running,
            Doing::Queue(_) => KeyState::Queued,
            Doing::Timer(_) if self.pace(self.class(index)) == Pace::Suspended => {
                KeyState::Suspended
            }
            Doing::Timer(_) => KeyState::Armed,
            // Only a paused key waits for nothing: INV-SCHEDULER-1.
            Doing::Nothing if entry.life == Life::Active => KeyState::Running,
            Doing::Nothing => KeyState::Paused,
        }
    }
}
