//! The invariants of the kernel, checked after each step of a build with debug assertions.

#[cfg(test)]
use super::newcomers::is_newcomer;
use super::{
    Core, Keyed,
    entry::{Doing, Life, Stage},
};
#[cfg(test)]
use crate::{Class, Pace};

impl<H: Keyed> Core<H> {
    /// Checks one key after a step that changed it.
    pub(super) fn check(&self, index: u32) {
        if cfg!(debug_assertions)
            && let Some(entry) = self.entries.get(index)
        {
            let (stage, nothing) = (entry.stage(), matches!(entry.doing, Doing::Nothing));
            match entry.life {
                Life::Active => assert!(
                    !nothing,
                    "INV-SCHEDULER-1: an active key has either a wait or a run"
                ),
                Life::Paused => assert!(
                    nothing || stage.is_some(),
                    "INV-SCHEDULER-1: a paused key waits for nothing"
                ),
                Life::Removed => assert!(
                    stage.is_some(),
                    "INV-SCHEDULER-1: a removed key is kept for its run only"
                ),
            }
            let timer = match &entry.doing {
                Doing::Timer(_) => true,
                Doing::Queue(_) => self.max_wait_ms.is_some(),
                Doing::Run(run) => match run.stage {
                    Stage::Running | Stage::Cancelled => true,
                    Stage::Stuck => entry.is_active(),
                    Stage::Starting => false,
                },
                Doing::Nothing => false,
            };
            assert_eq!(
                self.wheel.at(index).is_some(),
                timer,
                "INV-SCHEDULER-1: the timer that it needs"
            );
            if let Doing::Queue(queued) = &entry.doing {
                assert_eq!(
                    self.queue.at(self.class(index), queued.place),
                    Some(index),
                    "INV-SCHEDULER-1: the queue place that it has"
                );
            }
        }
    }

    /// Checks everything, key by key and as a whole.
    #[cfg(test)]
    pub(super) fn check_all(&self) {
        for index in self.entries.indices() {
            self.check(index);
        }
        let mut held = [0; 3];
        let mut runs = 0;
        let mut queued = 0;
        let mut pasts = 0;
        for index in self.entries.indices() {
            let entry = &self.entries[index];
            pasts += usize::from(self.past(index).is_some());
            queued += usize::from(matches!(entry.doing, Doing::Queue(_)));
            if let Some(run) = entry.run() {
                runs += 1;
                held[self.class(index).index()] += usize::from(run.permit.is_some());
            }
        }
        assert_eq!(self.runs, runs, "runs that are counted go on");
        assert_eq!(self.pasts.iter().count(), pasts, "histories are of keys");
        assert_eq!(
            self.kinds.keys(),
            self.entries.iter().count(),
            "each key is of one kind"
        );
        assert_eq!(
            self.permits.held(),
            held.iter().sum::<usize>(),
            "INV-SCHEDULER-4: held permits are those of runs"
        );
        assert_eq!(
            self.queue.len(),
            queued,
            "INV-SCHEDULER-1: the queue holds waiting keys only"
        );
        for class in Class::ALL {
            let idle = self.permits.has_free(class) && self.queue.of(class).next().is_some();
            assert!(
                !idle,
                "INV-SCHEDULER-5: nobody waits while a permit is free"
            );
            let comes = |index: &u32| {
                let newcomer = self.entries.get(*index).filter(|entry| is_newcomer(entry));
                matches!(newcomer?.doing, Doing::Timer(armed) if armed.due > self.now).then_some(())
            };
            let line = &self.newcomers[class.index()];
            let waits = line.iter().any(|index| comes(index).is_some());
            let free = self.permits.has_free(class) && !self.closed;
            let may_start = free && self.paces[class.index()] != Pace::Suspended;
            assert!(
                !(may_start && waits),
                "INV-SCHEDULER-5: no newcomer waits for its slot while a permit is free"
            );
        }
    }
}
