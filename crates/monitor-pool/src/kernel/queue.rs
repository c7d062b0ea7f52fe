//! The queue of callers that wait: first come, first served, and removal from anywhere in O(1).

use std::task::Waker;

use super::{SlotId, Tick};
use crate::{Stage, caller::Caller};

/// The index of a waiter. Only its own caller removes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaiterId(pub(crate) u32);

/// The end of a list, and the waiter that does not exist.
const NONE: u32 = u32::MAX;

/// Why a wait ended without a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure<E> {
    Timeout(Stage),
    Deadlock,
    Connect(E),
    Overloaded,
    Closed,
}

#[derive(Debug)]
pub(crate) enum Wait<E> {
    /// In the queue, with a waker.
    Queued,
    /// A slot is offered; woken.
    Offered(SlotId),
    /// An offer was taken back, because nobody came; woken. Out of the queue until it comes, and
    /// then at its old place.
    Dormant,
    /// Over; woken.
    Failed(Failure<E>),
}

#[derive(Debug)]
pub(crate) struct Waiter<E> {
    pub(crate) wait: Wait<E>,
    /// INV-POOL-6: there while `Queued`; whoever moves it out of `Queued` takes the waker to wake.
    pub(crate) waker: Option<Waker>,
    pub(crate) caller: Caller,
    pub(crate) since: Tick,
    pub(crate) deadline: Tick,
    /// The order of arrival.
    arrival: u64,
    previous: u32,
    next: u32,
}

#[derive(Debug)]
pub(crate) struct Queue<E> {
    waiters: Vec<Option<Waiter<E>>>,
    free: Vec<u32>,
    head: u32,
    tail: u32,
    queued: usize,
    arrivals: u64,
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Self {
        Self {
            waiters: Vec::new(),
            free: Vec::new(),
            head: NONE,
            tail: NONE,
            queued: 0,
            arrivals: 0,
        }
    }

    /// How many stand in the queue.
    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// How many there are, in whatever state.
    pub(crate) fn len(&self) -> usize {
        self.waiters.len() - self.free.len()
    }

    /// Puts a caller at the end of the queue.
    pub(crate) fn push(
        &mut self,
        waker: Waker,
        caller: Caller,
        now: Tick,
        deadline: Tick,
    ) -> WaiterId {
        self.arrivals += 1;
        let waiter = Waiter {
            wait: Wait::Queued,
            waker: Some(waker),
            caller,
            since: now,
            deadline,
            arrival: self.arrivals,
            previous: NONE,
            next: NONE,
        };
        let index = if let Some(index) = self.free.pop() {
            self.waiters[index as usize] = Some(waiter);
            index
        } else {
            self.waiters.push(Some(waiter));
            self.waiters.len() as u32 - 1
        };
        self.link(index);
        WaiterId(index)
    }

    /// Who has waited longest in the queue.
    #[inline]
    pub(crate) fn head(&self) -> Option<WaiterId> {
        (self.head != NONE).then_some(WaiterId(self.head))
    }

    /// Takes a waiter out of the queue and sets what became of it; returns the waker to wake.
    pub(crate) fn settle(&mut self, id: WaiterId, wait: Wait<E>) -> Option<Waker> {
        self.unlink(id.0);
        let waiter = self.get_mut(id);
        waiter.wait = wait;
        waiter.waker.take()
    }

    /// Puts a waiter without an offer back where it belongs by its arrival.
    pub(crate) fn requeue(&mut self, id: WaiterId, waker: Waker) {
        let waiter = self.get_mut(id);
        waiter.wait = Wait::Queued;
        waiter.waker = Some(waker);
        self.link(id.0);
    }

    /// Removes a waiter altogether.
    #[inline]
    pub(crate) fn remove(&mut self, id: WaiterId) -> Option<Waiter<E>> {
        if matches!(self.get(id).wait, Wait::Queued) {
            self.unlink(id.0);
        }
        self.free.push(id.0);
        self.waiters[id.0 as usize].take()
    }

    pub(crate) fn get(&self, id: WaiterId) -> &Waiter<E> {
        let waiter = self.waiters[id.0 as usize].as_ref();
        waiter.expect("an id is given up by its only owner, when it removes the waiter")
    }

    pub(crate) fn get_mut(&mut self, id: WaiterId) -> &mut Waiter<E> {
        let waiter = self.waiters[id.0 as usize].as_mut();
        waiter.expect("an id is given up by its only owner, when it removes the waiter")
    }

    /// All waiters, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (WaiterId, &Waiter<E>)> {
        let ids = (0..).map(WaiterId);
        ids.zip(&self.waiters)
            .filter_map(|(id, waiter)| Some((id, waiter.as_ref()?)))
    }

    /// The queue, in order.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (WaiterId, &Waiter<E>)> {
        std::iter::successors(self.head(), |id| {
            let next = self.get(*id).next;
            (next != NONE).then_some(WaiterId(next))
        })
        .map(|id| (id, self.get(id)))
    }

    /// Links a waiter in by its arrival: at the end for a new one, else behind those who came
    /// before it, which are few: only who was offered something ever comes back.
    fn link(&mut self, index: u32) {
        let arrival = self.at(index).arrival;
        let (mut previous, mut next) = (self.tail, NONE);
        if self.tail != NONE && self.at(self.tail).arrival > arrival {
            (previous, next) = (NONE, self.head);
            while next != NONE && self.at(next).arrival < arrival {
                (previous, next) = (next, self.at(next).next);
            }
        }
        self.join(previous, index);
        self.join(index, next);
        self.queued += 1;
    }

    fn unlink(&mut self, index: u32) {
        let (previous, next) = (self.at(index).previous, self.at(index).next);
        self.join(previous, next);
        self.queued -= 1;
    }

    /// Makes two waiters neighbours; either may be the end.
    fn join(&mut self, previous: u32, next: u32) {
        match previous {
            NONE => self.head = next,
            _ => self.get_mut(WaiterId(previous)).next = next,
        }
        match next {
            NONE => self.tail = previous,
            _ => self.get_mut(WaiterId(next)).previous = previous,
        }
    }

    fn at(&self, index: u32) -> &Waiter<E> {
        self.get(WaiterId(index))
    }
}
