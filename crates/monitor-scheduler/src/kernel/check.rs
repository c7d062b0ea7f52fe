//! The invariants of the kernel, checked after each step of a build with debug assertions.

use std::hash::Hash;

use super::{
    Core,
    entry::{Life, Stage, Wait},
};

impl<K: Eq + Hash, H> Core<K, H> {
    /// Checks one key after a step that changed it.
    pub(super) fn check(&self, index: u32) {
        if cfg!(debug_assertions)
            && let Some(entry) = self.entries.get(index)
        {
            let stage = entry.run.map(|run| run.stage);
            let waits = entry.wait != Wait::Nothing;
            match entry.life {
                Life::Active => assert!(
                    waits != stage.is_some(),
                    "INV-SCHEDULER-1: an active key has either a wait or a run"
                ),
                Life::Paused => assert!(!waits, "INV-SCHEDULER-1: a paused key waits for nothing"),
                Life::Removed => assert!(
                    !waits && stage.is_some(),
                    "INV-SCHEDULER-1: a removed key is kept for its run only"
                ),
            }
            let timer = match (entry.wait, stage) {
                (Wait::Timer(_), _) | (_, Some(Stage::Running | Stage::Cancelled)) => true,
                (_, Some(Stage::Stuck)) => entry.life == Life::Active,
                _ => false,
            };
            assert_eq!(
                self.wheel.is_set(index),
                timer,
                "INV-SCHEDULER-1: the timer that it needs"
            );
            if let Wait::Queue(queued) = entry.wait {
                assert_eq!(
                    self.queue.get(&queued.ticket),
                    Some(&index),
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
        let permits = self
            .entries
            .iter()
            .filter(|e| e.run.is_some_and(|run| run.permit))
            .count();
        assert_eq!(
            self.held, permits,
            "INV-SCHEDULER-4: held permits are those of runs"
        );
        let queued = self
            .entries
            .iter()
            .filter(|e| matches!(e.wait, Wait::Queue(_)))
            .count();
        assert_eq!(
            self.queue.len(),
            queued,
            "INV-SCHEDULER-1: the queue holds waiting keys only"
        );
        let idle = self.held < self.limit && !self.queue.is_empty();
        assert!(
            !idle,
            "INV-SCHEDULER-5: nobody waits while a permit is free"
        );
    }
}
