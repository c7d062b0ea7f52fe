//! Why a key is or is not being run now.

use std::time::Duration;

use super::{
    Core, Keyed,
    entry::{AGAIN, Armed, Doing, Entry, Running, Stage},
    tick::Tick,
};
use crate::{
    Pace, Saturation,
    explain::{Explanation, Limit, Why},
};

impl<H: Keyed> Core<H> {
    pub(crate) fn explain(&mut self, key: &H::Key, now: Tick) -> Option<Explanation<H>> {
        self.clock(now);
        let index = self.find(key)?;
        let (entry, class) = (&self.entries[index], self.class(index));
        let (why, next) = match &entry.doing {
            Doing::Timer(armed) => (self.why_armed(index, *armed), Some(self.due(armed.due))),
            Doing::Queue(queued) => {
                let why = Why::Queued {
                    due: self.due(queued.due),
                    since: self.ago(queued.since),
                    before: self.queue.before(class, queued.place),
                };
                (why, Some(self.due(queued.due)))
            }
            Doing::Run(run) => (self.why_running(entry, run), None),
            Doing::Nothing => (Why::Paused, None),
        };
        Some(Explanation {
            key: entry.handler.clone(),
            now: self.now.duration(),
            class,
            state: self.state(index),
            why,
            next,
            limits: self.limits(index),
        })
    }

    fn why_armed(&self, index: u32, armed: Armed) -> Why {
        let kind = self.kinds.of(self.entries[index].kind);
        let interval = Duration::from_millis(u64::from(kind.interval_ms));
        let jitter = kind.policy.jitter();
        match self.failures(index) {
            _ if armed.on_grid && jitter.normal_interval => Why::WaitsForSlot {
                jitter: interval.mul_f64(jitter.ratio() / 2.0),
            },
            _ if armed.on_grid => Why::WaitsForSlot {
                jitter: Duration::ZERO,
            },
            0 => Why::WaitsBesideSlots,
            failures => Why::WaitsForBackoff {
                failures,
                wait: kind.policy.nominal(failures, interval),
            },
        }
    }

    fn why_running(&self, entry: &Entry<H>, run: &Running) -> Why {
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

    fn limits(&self, index: u32) -> Vec<Limit> {
        let (class, not_before) = (self.class(index), self.not_before(index));
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
        if not_before > self.now {
            let at = not_before.duration();
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
