//! To give a connection back, and to hand it to who waits.

use std::task::Waker;

use super::{
    Actions, Few, Kernel, SlotId, Tick, WaiterId, actions::Spent, queue::Wait, slots::State,
};
use crate::{CloseReason, Phase};

/// Whether a connection that comes back may be used again.
pub(crate) type Fitness = Result<(), CloseReason>;

impl<C, E: Clone> Kernel<C, E> {
    /// Takes a connection back when nothing else is to be done. The hot path.
    ///
    /// # Errors
    /// Gives it back if there is more to do, which [`release`](Kernel::release) does.
    #[inline]
    pub(crate) fn try_park(&mut self, id: SlotId, number: u64, value: C) -> Result<(), C> {
        if self.queue.queued() > 0 || !self.slots.is_leased(id, number) || self.unfit(id).is_some()
        {
            return Err(value);
        }
        self.slots.get_mut(id).value = Some(value);
        self.push_idle(id);
        #[cfg(any(test, monitor_loom))]
        self.assert_invariants(Tick(0));
        Ok(())
    }

    /// Takes a connection back and hands it to who has waited longest, when nothing else is to be
    /// done. The hot path of a pool for which callers queue. Returns who is to be woken.
    ///
    /// # Errors
    /// As [`try_park`](Kernel::try_park).
    #[inline]
    pub(crate) fn try_pass(
        &mut self,
        id: SlotId,
        number: u64,
        value: C,
        now: Tick,
    ) -> Result<Option<Waker>, C> {
        let Some(waiter) = self.queue.head() else {
            return Err(value);
        };
        if !self.slots.is_leased(id, number)
            || self.unfit(id).is_some()
            || now >= self.slots.get(id).expires
            || now.after(self.rules.offer_grace) < self.alarms.armed
        {
            return Err(value);
        }
        self.slots.get_mut(id).value = Some(value);
        let waker = self.offer(id, waiter, now);
        #[cfg(any(test, monitor_loom))]
        self.assert_invariants(now);
        Ok(waker)
    }

    /// Takes a connection back: for who waits, for later, or to be closed.
    ///
    /// # Errors
    /// Gives it back if it was not out. Its owner drops it; the slot stays whose it is.
    pub(crate) fn release(
        &mut self,
        id: SlotId,
        number: u64,
        value: C,
        fitness: Fitness,
        now: Tick,
        actions: &mut Actions<E>,
    ) -> Result<(), C> {
        if !self.slots.is_leased(id, number) {
            self.totals.races += 1;
            return Err(value);
        }
        self.slots.get_mut(id).value = Some(value);
        match fitness {
            Ok(()) => self.hand_over(id, now, &mut actions.wakes),
            Err(reason) => self.start_close(id, reason),
        }
        self.balance(now, &mut actions.wakes);
        self.finish(now, actions);
        Ok(())
    }

    /// A connection that was out is no longer the pool's.
    pub(crate) fn detach(&mut self, id: SlotId, number: u64, now: Tick, actions: &mut Actions<E>) {
        if self.slots.is_leased(id, number) {
            self.vacate(id);
        } else {
            self.totals.races += 1;
        }
        self.finish(now, actions);
    }

    /// Gives the connection in a slot to who has waited longest, or keeps it idle, or closes it.
    pub(super) fn hand_over(&mut self, id: SlotId, now: Tick, wakes: &mut Few<Waker>) {
        if let Some(reason) = self.unfit(id) {
            return self.start_close(id, reason);
        }
        if now >= self.slots.get(id).expires {
            return self.start_close(id, CloseReason::Expired);
        }
        let Some(waiter) = self.queue.head() else {
            return self.push_idle(id);
        };
        if let Some(waker) = self.offer(id, waiter, now) {
            wakes.push(waker);
        }
    }

    /// Offers the connection in a slot to somebody in the queue; returns the waker to wake.
    #[inline]
    fn offer(&mut self, id: SlotId, waiter: WaiterId, now: Tick) -> Option<Waker> {
        let slot = self.slots.set(id, State::Offered);
        slot.offered_to = waiter;
        slot.since = now;
        let patience = now.after(self.rules.offer_grace);
        self.alarms.offer = self.alarms.offer.min(patience);
        self.queue.settle(waiter, Wait::Offered(id))
    }

    /// INV-POOL-2: after this, idle connections and waiters are not there side by side, but for
    /// waiters for whom a check is under way. What is fresh is handed over, what is not is
    /// checked first.
    pub(super) fn balance(&mut self, now: Tick, wakes: &mut Few<Waker>) {
        while self.queue.queued() > self.slots.counts.of(State::Checking)
            && let Some(id) = self.pop_idle(now)
        {
            let slot = self.slots.get(id);
            if now >= slot.expires {
                self.start_close(id, CloseReason::Expired);
            } else if now < slot.fresh_until {
                self.hand_over(id, now, wakes);
            } else {
                self.start_check(id);
            }
        }
    }

    /// Takes the next idle connection by the order, one that needs no check before one that does.
    fn pop_idle(&mut self, now: Tick) -> Option<SlotId> {
        let is_fresh = |id: &SlotId| now < self.slots.get(*id).fresh_until;
        match self.idle.iter().rposition(is_fresh) {
            Some(position) => self.idle.remove(position),
            None => self.idle.pop_back(),
        }
    }

    /// Takes back every offer of which `overdue` says so; who did not take it waits on at its old
    /// place, but is passed over until it is polled.
    pub(super) fn revoke_offers(&mut self, now: Tick, actions: &mut Actions<E>) {
        let grace = self.rules.offer_grace;
        while self.queue.queued() > 0 {
            let overdue = self
                .slots
                .find(|slot| slot.state == State::Offered && now >= slot.since.after(grace));
            let Some(id) = overdue else { break };
            self.queue.get_mut(self.slots.get(id).offered_to).wait = Wait::Dormant;
            self.totals.offers_revoked += 1;
            self.hand_over(id, now, &mut actions.wakes);
        }
        let offers = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.state == State::Offered);
        self.alarms.offer = match self.queue.queued() {
            0 => Tick::NEVER,
            _ => offers
                .map(|(_, slot)| slot.since.after(grace))
                .min()
                .unwrap_or(Tick::NEVER),
        };
    }

    /// Why a connection may not be used again, but for its age.
    #[inline]
    fn unfit(&self, id: SlotId) -> Option<CloseReason> {
        let slot = self.slots.get(id);
        if self.phase != Phase::Open {
            Some(CloseReason::PoolClosed)
        } else if slot.epoch != self.epoch {
            Some(CloseReason::Reset)
        } else if slot.uses >= self.rules.max_uses {
            Some(CloseReason::Worn)
        } else if self.slots.counts.live() > self.max {
            Some(CloseReason::Shrunk)
        } else {
            None
        }
    }

    /// Has the connection in a slot closed. It counts until it is.
    pub(super) fn start_close(&mut self, id: SlotId, reason: CloseReason) {
        let slot = self.slots.set(id, State::Closing);
        if let Some(value) = slot.value.take() {
            self.orders.closes.push((id, value, reason));
        }
    }

    /// Has the connection in a slot checked.
    pub(super) fn start_check(&mut self, id: SlotId) {
        let slot = self.slots.set(id, State::Checking);
        if let Some(value) = slot.value.take() {
            self.orders.checks.push((id, value));
        }
    }

    /// A slot is free again.
    pub(super) fn vacate(&mut self, id: SlotId) {
        self.totals.closed += 1;
        self.slots.vacate(id);
    }

    /// Drops an error later.
    pub(super) fn spend(error: Option<E>, actions: &mut Actions<E>) {
        if let Some(error) = error {
            actions.spent.push(Spent::Error(error));
        }
    }
}
