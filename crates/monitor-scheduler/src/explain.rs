//! Why a key is or is not being run now, when next, and which limits hold.

use std::{fmt, num::NonZeroU32, time::Duration};

use crate::{Class, Due, KeyState, Trigger};

/// Why a key is or is not being run now, at one instant. `Display` says it in lines of text.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation<K> {
    /// The key.
    pub key: K,
    /// When this was so, since the scheduler was made.
    pub now: Duration,
    /// How much the key matters.
    pub class: Class,
    /// What it is doing, in a word.
    pub state: KeyState,
    /// Why it is doing that.
    pub why: Why,
    /// When it will be run next, as far as is known: not for a key that is paused or whose run
    /// goes on. Where its class is suspended nothing will be run then.
    pub next: Option<Due>,
    /// All limits that hold for the key now, also those that do not stand in its way.
    pub limits: Vec<Limit>,
}

/// What a key does, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// Its run goes on.
    Running {
        /// The due time it is for.
        due: Due,
        /// What set it off.
        trigger: Trigger,
        /// For how long it has been going on.
        since: Duration,
        /// How long it may still go on; zero when it has been told to stop.
        deadline_in: Duration,
        /// Another run was asked for and follows.
        again: bool,
    },
    /// Its run was told to stop and has not: until it does, the key is not run.
    Stuck {
        /// For how long it has been going on.
        since: Duration,
    },
    /// It is due and waits for a permit.
    Queued {
        /// The due time.
        due: Due,
        /// For how long it has been waiting.
        since: Duration,
        /// How many of its class are before it.
        before: usize,
    },
    /// It waits for its next slot.
    WaitsForSlot {
        /// How far the jitter may move the start before or after the slot.
        jitter: Duration,
    },
    /// It waits out the backoff after failures.
    WaitsForBackoff {
        /// The failures in a row.
        failures: u32,
        /// The wait after the last of them, before jitter.
        wait: Duration,
    },
    /// It waits for a time beside its slots: an interval after a manual run, or at once when new.
    WaitsBesideSlots,
    /// It is paused.
    Paused,
}

/// A limit that holds for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// The permits of the process.
    Process {
        /// How many runs hold one.
        held: usize,
        /// How many there are.
        limit: usize,
    },
    /// The permits of its class.
    Class {
        /// How many runs hold one.
        held: usize,
        /// How many there are.
        limit: usize,
    },
    /// The places in the queue; none if whoever finds no permit is skipped.
    Queue {
        /// How many are taken.
        depth: usize,
        /// How many there are.
        bound: usize,
    },
    /// Its handler asked not to be run by the timer before this, since the scheduler was made.
    NotBefore {
        /// The time.
        at: Duration,
    },
    /// Its class runs at one slot of so many.
    Stretched {
        /// So many.
        factor: NonZeroU32,
    },
    /// Its class is suspended.
    Suspended,
    /// The scheduler has shut down.
    ShutDown,
}

impl Limit {
    /// Returns whether this alone keeps the key from being run by its timer now.
    #[must_use]
    pub const fn is_reached(&self, now: Duration) -> bool {
        match *self {
            Self::Process { held, limit } | Self::Class { held, limit } => held >= limit,
            Self::Queue { depth, bound } => depth >= bound,
            Self::NotBefore { at } => at.as_nanos() > now.as_nanos(),
            Self::Stretched { .. } => false,
            Self::Suspended | Self::ShutDown => true,
        }
    }
}

impl<K> Explanation<K> {
    pub(crate) fn map<T>(self, with: impl FnOnce(K) -> T) -> Explanation<T> {
        Explanation {
            key: with(self.key),
            now: self.now,
            class: self.class,
            state: self.state,
            why: self.why,
            next: self.next,
            limits: self.limits,
        }
    }
}

impl<K: fmt::Display> fmt::Display for Explanation<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({}): {}", self.key, self.class.as_str(), self.why)?;
        if let Some(next) = self.next {
            let wait = next.at.saturating_sub(self.now);
            writeln!(f, "next: in {wait:?}, at unix time {:?}", next.unix)?;
        }
        for limit in &self.limits {
            let reached = if limit.is_reached(self.now) {
                " (reached)"
            } else {
                ""
            };
            writeln!(f, "limit: {limit}{reached}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running {
                since,
                deadline_in,
                again,
                ..
            } => {
                let once_more = if *again {
                    ", and once more after it"
                } else {
                    ""
                };
                write!(
                    f,
                    "running for {since:?}, {deadline_in:?} until its deadline{once_more}"
                )
            }
            Self::Stuck { since } => {
                write!(f, "its run of {since:?} ago was told to stop and has not")
            }
            Self::Queued { since, before, .. } => write!(
                f,
                "due, and waiting for a permit for {since:?} behind {before} of its class"
            ),
            Self::WaitsForSlot { jitter } if jitter.is_zero() => {
                f.write_str("waiting for its next slot")
            }
            Self::WaitsForSlot { jitter } => {
                write!(f, "waiting for its next slot, give or take {jitter:?}")
            }
            Self::WaitsForBackoff { failures, wait } => {
                write!(f, "waiting {wait:?} after {failures} failures in a row")
            }
            Self::WaitsBesideSlots => f.write_str("waiting for a time beside its slots"),
            Self::Paused => f.write_str("paused"),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { held, limit } => write!(f, "{held} of {limit} runs of the process"),
            Self::Class { held, limit } => write!(f, "{held} of {limit} runs of its class"),
            Self::Queue { depth, bound } => write!(f, "{depth} of {bound} places in the queue"),
            Self::NotBefore { at } => write!(f, "its handler asked for a pause until {at:?}"),
            Self::Stretched { factor } => write!(f, "its class runs at one slot of {factor}"),
            Self::Suspended => f.write_str("its class is suspended"),
            Self::ShutDown => f.write_str("the scheduler has shut down"),
        }
    }
}
