//! Settings of a scheduler as a whole.

use std::{num::NonZeroUsize, time::Duration};

use crate::Classes;

/// Settings of a scheduler as a whole; those of one key are in [`Spec`](crate::Spec).
///
/// # Defaults
///
/// | Field | Default |
/// |---|---|
/// | `max_concurrent` | 20 |
/// | `saturation` | queue of 1024 |
/// | `cleanup_grace` | 5 s |
/// | `origin_unix` | 0: due times in unix time count from the start |
/// | `seed` | 0: the same jitter in every process |
/// | `max_wait` | none |
/// | `classes` | weights 1, 2 and 4, no limits |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How many runs may hold a process permit at once.
    pub max_concurrent: NonZeroUsize,
    /// What happens to a key that is due while every permit is taken.
    pub saturation: Saturation,
    /// How long a run may take to end after it was cancelled. Then its task is aborted and its
    /// permit is given back.
    pub cleanup_grace: Duration,
    /// The unix time at which the scheduler is made, cut to whole milliseconds. Slots lie on a
    /// grid in unix time, so that a restart does not move them; the wall clock is not looked at
    /// again.
    pub origin_unix: Duration,
    /// The seed of the jitter. Give each process its own.
    pub seed: u64,
    /// How long a key may wait for a permit. Then its due time is reported as missed and it waits
    /// for its next one.
    pub max_wait: Option<Duration>,
    /// How the permits are shared between classes of keys.
    pub classes: Classes,
}

/// What happens to a key that is due while every process permit is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Saturation {
    /// The due time is reported as missed and the key waits for its next slot.
    Skip,
    /// The key waits for a permit: first come first served within its class, and between classes
    /// the oldest first, by a clock that runs as many times faster as the class weighs. A due time
    /// that came to nothing before counts as an interval waited. Only if `bound` keys are waiting
    /// already is its due time reported as missed; or, if it came to nothing the last time as well
    /// and is older than one of those by now, that of the youngest, whose place it takes. So nobody
    /// comes to nothing for ever.
    Queue {
        /// How many keys may wait.
        bound: usize,
    },
    /// The same; but if `bound` keys are waiting already, the one with the least right by that
    /// count always gives up its place, and its due time is reported as shed.
    Shed {
        /// How many keys may wait.
        bound: usize,
    },
}

impl Default for Config {
    fn default() -> Self {
        const TWENTY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(19);
        Self {
            max_concurrent: TWENTY,
            saturation: Saturation::Queue { bound: 1024 },
            cleanup_grace: Duration::from_secs(5),
            origin_unix: Duration::ZERO,
            seed: 0,
            max_wait: None,
            classes: Classes::default(),
        }
    }
}
