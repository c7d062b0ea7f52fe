//! What a task is given, and what is known about it.

use std::{sync::Arc, time::Duration};

use crate::{FailureKind, Outcome};

/// How deep a tick should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Depth {
    /// At everything, dependencies included: the first tick, and every so many if asked for.
    Deep,
    /// At what is cheap. Leave out what you cannot miss, and you will not see it fail.
    Light,
}

/// One tick, handed to the task's function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tick {
    /// Its number, from 1.
    pub number: u64,
    /// How deep to look.
    pub depth: Depth,
}

/// How many ticks ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// All was well.
    pub healthy: u64,
    /// Something was not.
    pub unhealthy: u64,
    /// An error was returned.
    pub error: u64,
    /// A panic.
    pub panic: u64,
    /// No answer in time.
    pub timeout: u64,
}

impl Counts {
    /// Returns how many failed in this way.
    #[must_use]
    pub const fn of(&self, kind: FailureKind) -> u64 {
        match kind {
            FailureKind::Unhealthy => self.unhealthy,
            FailureKind::Error => self.error,
            FailureKind::Panic => self.panic,
            FailureKind::Timeout => self.timeout,
        }
    }

    /// Returns how many failed in any way.
    #[must_use]
    pub fn failures(&self) -> u64 {
        let failures = FailureKind::ALL.map(|kind| self.of(kind));
        failures.into_iter().fold(0, u64::saturating_add)
    }

    /// Returns how many have ended.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.failures().saturating_add(self.healthy)
    }
}

/// A task at one time. Times are since the supervisor was made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TaskStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Its interval.
    pub interval: Duration,
    /// How many ticks have begun.
    pub ticks: u64,
    /// Whether one is under way.
    pub is_running: bool,
    /// Whether one has had its time and does not end: it blocks its thread, or all of them.
    pub is_stuck: bool,
    /// What became of the last tick that has ended.
    pub last: Option<Outcome>,
    /// When that was.
    pub checked_at: Option<Duration>,
    /// How long ago.
    pub age: Option<Duration>,
    /// Whether that is longer ago than two intervals. What is stale tells nothing.
    pub is_stale: bool,
    /// How many ticks have failed in a row.
    pub failures_in_a_row: u32,
    /// Whether that is worth an alert.
    pub is_alerting: bool,
    /// How ticks ended.
    pub counts: Counts,
    /// Due times that passed while a tick was under way.
    pub missed: u64,
    /// How long until the next tick; zero when it is due.
    pub due_in: Duration,
    /// How long the last tick took.
    pub last_took: Duration,
    /// How long the longest took.
    pub longest_took: Duration,
    /// How long one takes on average.
    pub mean_took: Duration,
}

impl TaskStatus {
    /// Returns whether the last tick was well and is not stale.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.last == Some(Outcome::Healthy) && !self.is_stale
    }
}
