//! Counters of all calls of one `Retry`.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::Stop;
use crate::{Class, nanos::nanos};

/// What all calls of a [`Retry`](crate::Retry) came to, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryStats {
    /// Calls that were begun.
    pub calls: u64,
    /// Attempts that were begun, first ones included.
    pub attempts: u64,
    /// Calls that succeeded after at least one retry.
    pub recovered: u64,
    /// How long all of them waited between attempts, or are still waiting.
    pub delay: Duration,
    /// Calls that were given up.
    pub gave_up: GaveUp,
    /// Failed attempts by [`Class`], in the order of [`Class::ALL`]. Permanent errors have none.
    pub failures: [u64; Class::COUNT],
}

/// Calls that were given up, by [`Stop`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GaveUp {
    /// [`Stop::Permanent`].
    pub permanent: u64,
    /// [`Stop::Exhausted`].
    pub exhausted: u64,
    /// [`Stop::Deadline`].
    pub deadline: u64,
    /// [`Stop::BudgetExhausted`].
    pub budget: u64,
    /// [`Stop::PushBack`].
    pub push_back: u64,
}

/// The counters themselves. A call that succeeds at once touches one of them.
#[derive(Debug, Default)]
pub(super) struct Counters {
    calls: AtomicU64,
    retries: AtomicU64,
    recovered: AtomicU64,
    delay_nanos: AtomicU64,
    gave_up: [AtomicU64; 5],
    failures: [AtomicU64; Class::COUNT],
}

impl Counters {
    pub(super) fn call(&self) {
        self.calls.fetch_add(1, Relaxed);
    }

    pub(super) fn failure(&self, class: Class) {
        self.failures[class.index()].fetch_add(1, Relaxed);
    }

    pub(super) fn wait(&self, delay: Duration) {
        // Wraps after 584 years of waiting.
        self.delay_nanos.fetch_add(nanos(delay), Relaxed);
    }

    pub(super) fn retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(super) fn recovery(&self) {
        self.recovered.fetch_add(1, Relaxed);
    }

    pub(super) fn give_up(&self, stop: &Stop) {
        self.gave_up[place(stop)].fetch_add(1, Relaxed);
    }

    pub(super) fn read(&self) -> RetryStats {
        let (calls, retries) = (self.calls.load(Relaxed), self.retries.load(Relaxed));
        let [permanent, exhausted, deadline, budget, push_back] =
            [0, 1, 2, 3, 4].map(|place: usize| self.gave_up[place].load(Relaxed));
        RetryStats {
            calls,
            attempts: calls.saturating_add(retries),
            recovered: self.recovered.load(Relaxed),
            delay: Duration::from_nanos(self.delay_nanos.load(Relaxed)),
            gave_up: GaveUp {
                permanent,
                exhausted,
                deadline,
                budget,
                push_back,
            },
            failures: Class::ALL.map(|class| self.failures[class.index()].load(Relaxed)),
        }
    }
}

const fn place(stop: &Stop) -> usize {
    match stop {
        Stop::Permanent => 0,
        Stop::Exhausted { .. } => 1,
        Stop::Deadline { .. } => 2,
        Stop::BudgetExhausted(_) => 3,
        Stop::PushBack { .. } => 4,
    }
}
