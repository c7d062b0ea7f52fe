//! What has to be done once the lock is free.

use std::{iter::Chain, option, task::Waker, vec};

use super::{Leak, SlotId};
use crate::CloseReason;

/// Some values, nearly always two at most (a waiter and the driver): to collect those allocates
/// nothing.
#[derive(Debug)]
pub(crate) struct Few<T> {
    first: Option<T>,
    second: Option<T>,
    rest: Vec<T>,
}

/// What a step of the kernel leaves to be done, by whoever held the lock, after letting go of it.
///
/// Nothing in here may be dropped, called or woken under the lock: it is the users'.
#[derive(Debug)]
#[must_use = "whoever is in here would wait for ever"]
pub(crate) struct Actions<E> {
    /// Callers whose turn it is, or whose wait is over.
    pub(crate) wakes: Few<Waker>,
    /// Errors and wakers that nobody needs any more.
    pub(crate) spent: Few<Spent<E>>,
    /// Connections that have been out for too long.
    pub(crate) leaks: Few<Leak>,
    /// There is something to connect, check or close, or a time limit has moved forward.
    pub(crate) wake_driver: bool,
    /// The last connection of a closed pool is gone.
    pub(crate) drained: bool,
}

/// Something to be dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "kept only to be dropped in the right place")]
pub(crate) enum Spent<E> {
    Waker(Waker),
    Error(E),
}

/// What only somebody within a runtime can do.
#[derive(Debug)]
#[must_use = "these connections would hang in the air"]
pub(crate) struct Orders<C> {
    pub(crate) connects: Few<ConnectTicket>,
    pub(crate) checks: Few<(SlotId, C)>,
    pub(crate) closes: Few<(SlotId, C, CloseReason)>,
}

/// The right, and the duty, to fill one slot: ends in `connected` or `connect_failed`.
#[derive(Debug)]
pub(crate) struct ConnectTicket {
    pub(crate) slot: SlotId,
    /// The number of the connection.
    pub(crate) number: u64,
    /// The round of the governor it was started in.
    pub(crate) round: u64,
}

impl<T> Few<T> {
    pub(crate) fn push(&mut self, value: T) {
        if self.first.is_none() {
            self.first = Some(value);
        } else if self.second.is_none() {
            self.second = Some(value);
        } else {
            self.rest.push(value);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = Chain<Chain<option::IntoIter<T>, option::IntoIter<T>>, vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.second).chain(self.rest)
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self {
            first: None,
            second: None,
            rest: Vec::new(),
        }
    }
}

impl<E> Actions<E> {
    /// Whether there is nothing but somebody to wake.
    pub(crate) fn is_plain(&self) -> bool {
        self.spent.is_empty() && self.leaks.is_empty() && !self.drained
    }
}

impl<E> Default for Actions<E> {
    fn default() -> Self {
        Self {
            wakes: Few::default(),
            spent: Few::default(),
            leaks: Few::default(),
            wake_driver: false,
            drained: false,
        }
    }
}

impl<C> Default for Orders<C> {
    fn default() -> Self {
        Self {
            connects: Few::default(),
            checks: Few::default(),
            closes: Few::default(),
        }
    }
}

impl<C> Orders<C> {
    pub(crate) fn is_empty(&self) -> bool {
        self.connects.is_empty() && self.checks.is_empty() && self.closes.is_empty()
    }
}
