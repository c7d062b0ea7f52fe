//! Why a key is or is not being run now.

use std::{hash::Hash, sync::Arc, time::Duration};

use super::{
    Core,
    entry::{AGAIN, Armed, Doing, Entry, Running, Stage},
    tick::Tick,
};
use crate::{
    Pace, Saturation,
    explain::{Explanation, Limit, Why},
};

impl<K: Eq + Hash, H: Clone> Core<K, H> {
    pub(crate) fn explain(&mut self, key: &K, now: Tick) -> Option<Explanation<Arc<K>>> {
        self.clock(now);
        let entry = &self.entries[self.find(key)?];
        let (why, next) = match &entry.doing {
            Doing::Timer(armed) => (self.why_armed(entry, *armed), Some(self.due(armed.due))),
            Doing::Queue(queued) => {
                let why = Why::Queued {
                    due: self.due(queued.due),
                    since: self.ago(queued.since),
                    before: self.queue.before(entry.class, queued.place),
                };
                (why, Some(self.due(queued.due)))
            }
            Doing::Run(run) => (self.why_running(entry, run), None),
            Doing::Nothing => (Why::Paused, None),
        };
        Some(Explanation {
            key: Arc::clone(&entry.key),
            now: self.now.duration(),
            class: entry.class,
            state: self.state(entry),
            why,
            next,
            limits: self.limits(entry),
        })
    }

    fn why_armed(&self, entry: &Entry<K, H>, armed: Armed) -> Why {
        let interval = Duration::from_millis(entry.grid.interval_ms());
        let jitter = entry.policy.jitter();
        match entry.failures() {
            _ if armed.on_grid && jitter.normal_interval => Why::WaitsForSlot {
                jitter: interval.mul_f64(jitter.ratio() / 2.0),
            },
            _ if armed.on_grid => Why::WaitsForSlot {
                jitter: Duration::ZERO,
            },
            0 => Why::WaitsBesideSlots,
            failures => Why::WaitsForBackoff {
                failures,
                wait: entry.policy.nominal(failures, interval),
            },
        }
    }

    fn why_running(&self, entry: &Entry<K, H>, run: &Running) -> Why {
        let since = self.ago(run.started);
        if run.stage == Stage::Stuck {
            return Why::Stuck { since };
        }
        Why::Running {
            due: self.due(run.due),
            trigger: run.trigger,
            since,
            deadline_in: Duration::from_millis(run.deadline.since(self.now)),
            again: entry.marks.has(AGAIN),
        }
    }

    fn limits(&self, entry: &Entry<K, H>) -> Vec<Limit> {
        let class = entry.class;
        let mut limits = vec![Limit::Process {
            held: self.permits.held(),
            limit: self.permits.limit(),
        }];
        let held = self.permits.held_by(class);
        limits.extend(
            self.permits
                .limit_of(class)
                .map(|limit| Limit::Class { held, limit }),
        );
        if let Saturation::Queue { bound } | Saturation::Shed { bound } = self.saturation {
            let depth = self.queue.len();
            limits.push(Limit::Queue { depth, bound });
        }
        if entry.not_before > self.now {
            let at = entry.not_before.duration();
            limits.push(Limit::NotBefore { at });
        }
        match self.pace(class) {
            Pace::Full => {}
            Pace::Stretched(factor) => limits.push(Limit::Stretched { factor }),
            Pace::Suspended => limits.push(Limit::Suspended),
        }
        if self.closed {
            limits.push(Limit::ShutDown);
        }
        limits
    }

    fn ago(&self, tick: Tick) -> Duration {
        Duration::from_millis(self.now.since(tick))
    }
}
