//! To ask for a connection, to wait for it, and to give up.

use std::task::Waker;

use super::{
    Actions, Kernel, SlotId, Tick,
    actions::Spent,
    queue::{Failure, Wait, WaiterId},
    slots::State,
};
use crate::{IdleOrder, Nested, Phase, Stage, caller::Caller};

/// The answer to somebody who asks.
#[derive(Debug)]
pub(crate) enum Acquired<C, E> {
    Hit(C),
    Waits(WaiterId),
    Failed(Failure<E>),
}

/// The answer to somebody who waits. After the first two the waiter is gone.
#[derive(Debug)]
pub(crate) enum Poll<C, E> {
    Ready(C),
    Failed(Failure<E>),
    Pending,
}

impl<C, E: Clone> Kernel<C, E> {
    /// Takes an idle connection that needs no check.
    ///
    /// The hot path. Whether the pool is open, and whether somebody waits, need not be looked at:
    /// then nothing that is fresh is idle (INV-POOL-2).
    #[inline]
    pub(crate) fn try_hit(&mut self, now: Tick, caller: Caller) -> Option<C> {
        let id = *self.idle.back()?;
        if now >= self.slots.get(id).fresh_until {
            return None;
        }
        self.idle.pop_back();
        let value = self.lease(id, now, caller);
        #[cfg(any(test, monitor_loom))]
        self.assert_invariants(now);
        value
    }

    /// Whether the last hit took one of the idle connections to be kept, and it is to be replaced.
    #[inline]
    pub(crate) fn wants_refill(&self, now: Tick) -> bool {
        self.idle.len() < self.rules.min_idle && self.has_orders(now)
    }

    /// Takes a place in the queue, when nothing else is to be done: as many connections are out as
    /// there may be, so none is idle. The hot path of a pool for which callers queue.
    ///
    /// # Errors
    /// Gives the waker back if there is more to do, which [`acquire`](Kernel::acquire) does.
    #[inline]
    pub(crate) fn try_wait(
        &mut self,
        now: Tick,
        deadline: Tick,
        caller: Caller,
        waker: Waker,
    ) -> Result<WaiterId, Waker> {
        let counts = &self.slots.counts;
        let (leased, offered) = (counts.of(State::Leased), counts.of(State::Offered));
        let due = match offered {
            0 => deadline,
            _ => deadline.min(now.after(self.rules.offer_grace)),
        };
        if self.phase != Phase::Open
            || leased + offered < self.max
            || self.queue.len() >= self.rules.max_waiters
            || self.rules.nested == Nested::AtOnce
            || due < self.alarms.armed
        {
            return Err(waker);
        }
        let id = self.enqueue(now, deadline, caller, waker);
        #[cfg(any(test, monitor_loom))]
        self.assert_invariants(now);
        Ok(id)
    }

    /// Asks for a connection: one that is idle, or a place in the queue.
    pub(crate) fn acquire(
        &mut self,
        now: Tick,
        deadline: Tick,
        caller: Caller,
        waker: Waker,
        actions: &mut Actions<E>,
    ) -> Acquired<C, E> {
        if self.phase != Phase::Open {
            actions.spent.push(Spent::Waker(waker));
            return Acquired::Failed(Failure::Closed);
        }
        if let Some(value) = self.try_hit(now, caller) {
            actions.spent.push(Spent::Waker(waker));
            return Acquired::Hit(value);
        }
        if let Some(failure) = self.refusal(now, &caller) {
            actions.spent.push(Spent::Waker(waker));
            return Acquired::Failed(failure);
        }
        let id = self.enqueue(now, deadline, caller, waker);
        self.balance(now, &mut actions.wakes);
        let answer = match self.take_offer(id, now) {
            Some(value) => Acquired::Hit(value),
            None => Acquired::Waits(id),
        };
        self.finish(now, actions);
        answer
    }

    #[inline]
    fn enqueue(&mut self, now: Tick, deadline: Tick, caller: Caller, waker: Waker) -> WaiterId {
        self.alarms.deadline = self.alarms.deadline.min(deadline);
        if self.slots.counts.of(State::Offered) > 0 {
            // Now somebody wants what another does not take.
            let patience = now.after(self.rules.offer_grace);
            self.alarms.offer = self.alarms.offer.min(patience);
        }
        self.queue.push(waker, caller, now, deadline)
    }

    /// Takes what is offered to somebody who waits. The hot path of hand-overs.
    #[inline]
    pub(crate) fn try_accept(&mut self, id: WaiterId, now: Tick) -> Option<(C, Tick)> {
        let since = self.queue.get(id).since;
        let value = self.take_offer(id, now)?;
        self.totals.acquired_after_wait += 1;
        #[cfg(any(test, monitor_loom))]
        self.assert_invariants(now);
        Some((value, since))
    }

    /// Asks how the wait is going, and leaves a waker for when that changes.
    pub(crate) fn poll(
        &mut self,
        id: WaiterId,
        now: Tick,
        waker: Waker,
        actions: &mut Actions<E>,
    ) -> Poll<C, E> {
        if let Some((value, _)) = self.try_accept(id, now) {
            actions.spent.push(Spent::Waker(waker));
            return Poll::Ready(value);
        }
        let deadline = self.queue.get(id).deadline;
        if !matches!(self.queue.get(id).wait, Wait::Failed(_)) && now >= deadline {
            self.time_out(id, actions);
        }
        let waiter = self.queue.get_mut(id);
        let answer = match &waiter.wait {
            Wait::Failed(_) => {
                actions.spent.push(Spent::Waker(waker));
                self.fail(id)
            }
            Wait::Queued => {
                if let Some(old) = waiter.waker.replace(waker) {
                    actions.spent.push(Spent::Waker(old));
                }
                Poll::Pending
            }
            // It is being polled, so it takes part again. An idle connection may have come up.
            Wait::Dormant | Wait::Offered(_) => {
                self.queue.requeue(id, waker);
                self.balance(now, &mut actions.wakes);
                Poll::Pending
            }
        };
        self.finish(now, actions);
        answer
    }

    /// Gives up waiting. What was offered goes to who waits next, or is idle again.
    pub(crate) fn cancel(&mut self, id: WaiterId, now: Tick, actions: &mut Actions<E>) {
        let Some(mut waiter) = self.queue.remove(id) else {
            return;
        };
        if let Some(waker) = waiter.waker.take() {
            actions.spent.push(Spent::Waker(waker));
        }
        match waiter.wait {
            Wait::Offered(slot) => {
                self.hand_over(slot, now, &mut actions.wakes);
                self.balance(now, &mut actions.wakes);
            }
            Wait::Failed(Failure::Connect(error)) => actions.spent.push(Spent::Error(error)),
            Wait::Failed(_) | Wait::Queued | Wait::Dormant => {}
        }
        self.finish(now, actions);
    }

    /// Since when this caller has been waiting.
    pub(crate) fn waiting_since(&self, id: WaiterId) -> Tick {
        self.queue.get(id).since
    }

    /// Lends an idle or offered connection.
    #[inline]
    pub(super) fn lease(&mut self, id: SlotId, now: Tick, caller: Caller) -> Option<C> {
        self.totals.acquired += 1;
        let check_at = now.after(self.rules.check_after);
        let slot = self.slots.set(id, State::Leased);
        slot.since = now;
        slot.fresh_until = check_at.min(slot.expires);
        slot.uses = slot.uses.saturating_add(1);
        slot.caller = Some(caller);
        slot.leak_told = false;
        slot.value.take()
    }

    /// Ends the wait of one whose time is up.
    pub(super) fn time_out(&mut self, id: WaiterId, actions: &mut Actions<E>) {
        let failure = if self.is_deadlocked(None) {
            Failure::Deadlock
        } else {
            Failure::Timeout(self.stage())
        };
        self.totals.timed_out += 1;
        self.give_up_on(id, failure, actions);
    }

    /// Ends a wait without a connection.
    pub(super) fn give_up_on(
        &mut self,
        id: WaiterId,
        failure: Failure<E>,
        actions: &mut Actions<E>,
    ) {
        if matches!(self.queue.get(id).wait, Wait::Queued) {
            if let Some(waker) = self.queue.settle(id, Wait::Failed(failure)) {
                actions.wakes.push(waker);
            }
        } else {
            // Dormant: it has been woken, and will find this.
            self.queue.get_mut(id).wait = Wait::Failed(failure);
        }
    }

    /// Takes what is offered, if something is; the waiter is gone then.
    fn take_offer(&mut self, id: WaiterId, now: Tick) -> Option<C> {
        let Wait::Offered(slot) = self.queue.get(id).wait else {
            return None;
        };
        let caller = self.queue.remove(id)?.caller;
        self.lease(slot, now, caller)
    }

    fn fail(&mut self, id: WaiterId) -> Poll<C, E> {
        match self.queue.remove(id).map(|waiter| waiter.wait) {
            Some(Wait::Failed(failure)) => Poll::Failed(failure),
            _ => Poll::Failed(Failure::Closed),
        }
    }

    /// Why somebody who asks now may not even wait.
    fn refusal(&mut self, now: Tick, caller: &Caller) -> Option<Failure<E>> {
        if self.queue.len() >= self.rules.max_waiters {
            self.totals.overloaded += 1;
            return Some(Failure::Overloaded);
        }
        if self.slots.counts.alive() == 0
            && let Some(error) = self.governor.hopeless(now)
        {
            return Some(Failure::Connect(error.clone()));
        }
        if self.rules.nested == Nested::AtOnce && self.is_deadlocked(Some(caller)) {
            self.totals.timed_out += 1;
            return Some(Failure::Deadlock);
        }
        None
    }

    /// Whether every connection is held by a task that waits, `newcomer` included.
    fn is_deadlocked(&self, newcomer: Option<&Caller>) -> bool {
        let counts = &self.slots.counts;
        counts.of(State::Leased) == self.max
            && counts.live() == self.max
            && self.slots.iter().all(|(_, slot)| {
                slot.caller.is_none_or(|holder| {
                    newcomer.is_some_and(|caller| caller.is_same_task(&holder))
                        || self
                            .queue
                            .iter()
                            .any(|(_, waiter)| waiter.caller.is_same_task(&holder))
                })
            })
    }

    /// What those in the queue are waiting for.
    pub(super) fn stage(&self) -> Stage {
        let counts = &self.slots.counts;
        if counts.of(State::Checking) > 0 {
            Stage::Check
        } else if counts.of(State::Connecting) > 0 || counts.live() < self.max {
            Stage::Connect
        } else {
            Stage::Queue
        }
    }

    /// Puts a slot among the idle ones, where its turn comes by the order.
    pub(super) fn push_idle(&mut self, id: SlotId) {
        self.slots.set(id, State::Idle).idle_since = None;
        match self.rules.order {
            IdleOrder::Lifo => self.idle.push_back(id),
            IdleOrder::Fifo => self.idle.push_front(id),
        }
    }
}
