//! Tells when many callers wait for the connections of a pool, and when few do again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use monitor_model::{EventKind, PoolChange};

use crate::shared::Shared;

/// How often the queues are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Which queues are long: told once when one becomes so, and once when it is short again.
#[derive(Debug)]
struct Queues {
    /// Long is above this, short is half of it and below.
    threshold: usize,
    long: BTreeSet<String>,
}

impl Queues {
    const fn new(threshold: usize) -> Self {
        Self {
            threshold,
            long: BTreeSet::new(),
        }
    }

    /// Takes in how many wait for each pool that there is. One that is gone is forgotten.
    fn observe(&mut self, pools: &[(String, usize)]) -> Vec<(String, PoolChange)> {
        let mut changes = Vec::new();
        self.long
            .retain(|name| pools.iter().any(|(pool, _)| pool == name));
        for (name, waiting) in pools {
            let waiting = *waiting;
            if waiting > self.threshold && self.long.insert(name.clone()) {
                changes.push((name.clone(), PoolChange::QueueLong { waiting }));
            } else if waiting <= self.threshold / 2 && self.long.remove(name) {
                changes.push((name.clone(), PoolChange::QueueShort { waiting }));
            }
        }
        changes
    }
}

/// Looks at the queues of all pools for as long as the core is there.
pub(crate) fn watch(shared: &Arc<Shared>, threshold: usize) {
    let queues = Mutex::new(Queues::new(threshold));
    let weak = Arc::downgrade(shared);
    shared.tasks.spawn_own("pools", LOOK_EVERY, move || {
        if let Some(shared) = weak.upgrade() {
            let pools = shared.pools.handles().into_iter().chain(shared.own_pools());
            let pools: Vec<_> = pools
                .map(|(name, pool)| (name, pool.status().waiting))
                .collect();
            let changes = {
                let mut queues = queues.lock().unwrap_or_else(PoisonError::into_inner);
                queues.observe(&pools)
            };
            for (pool, change) in changes {
                shared.hub.publish(EventKind::Pool { pool, change });
            }
        }
        Ok(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(queues: &mut Queues, waiting: &[(&str, usize)]) -> Vec<(String, PoolChange)> {
        let pools: Vec<_> = waiting
            .iter()
            .map(|(name, waiting)| ((*name).to_owned(), *waiting))
            .collect();
        queues.observe(&pools)
    }

    /// STB-39: told at 11 and at 5, once each; a queue that swings in between is told of once.
    #[test]
    fn a_queue_is_long_above_the_threshold_until_it_is_half_as_long() {
        let mut queues = Queues::new(10);
        for (waiting, told) in [
            (10, None),
            (11, Some(PoolChange::QueueLong { waiting: 11 })),
            (30, None),
            (6, None),
            (11, None),
            (5, Some(PoolChange::QueueShort { waiting: 5 })),
            (10, None),
            (0, None),
            (12, Some(PoolChange::QueueLong { waiting: 12 })),
        ] {
            let changes = look(&mut queues, &[("a", waiting), ("b", 0)]);
            let told = told.map(|change| ("a".to_owned(), change));
            assert_eq!(changes, Vec::from_iter(told), "{waiting} wait");
        }
        look(&mut queues, &[("b", 0)]);
        let again = look(&mut queues, &[("a", 11)]);
        assert_eq!(again.len(), 1, "another pool of the same name");
    }
}
