//! To make, check and close connections: orders for somebody within a runtime, and their results.

use rand::{Rng, RngExt};

use super::{
    Actions, ConnectTicket, Kernel, Orders, SlotId, Span, Tick, queue::Failure, slots::State,
};
use crate::{OnConnectError, Phase};

impl<C, E: Clone> Kernel<C, E> {
    /// Takes all that is to be done by somebody within a runtime.
    pub(crate) fn take_orders(&mut self, now: Tick) -> Orders<C> {
        let mut orders = std::mem::take(&mut self.orders);
        for _ in 0..self.connects_due(now) {
            self.numbers += 1;
            let slot = self.slots.occupy(self.numbers, self.epoch);
            self.slots.get_mut(slot).since = now;
            orders.connects.push(ConnectTicket {
                slot,
                number: self.numbers,
                round: self.governor.round(),
            });
        }
        #[cfg(any(test, monitor_loom))]
        self.assert_demand(now);
        orders
    }

    /// Whether there is something for somebody within a runtime.
    pub(crate) fn has_orders(&self, now: Tick) -> bool {
        !self.orders.is_empty() || self.connects_due(now) > 0
    }

    /// Takes the closes alone: where no runtime is, they are dropped in place.
    pub(crate) fn take_closes(&mut self) -> super::Few<(SlotId, C, crate::CloseReason)> {
        self.orders.closes.take()
    }

    /// How many attempts to connect are to be started now (INV-POOL-4).
    pub(super) fn connects_due(&self, now: Tick) -> usize {
        if self.governor.waits_until(now).is_some() {
            return 0;
        }
        let (limit, connecting) = (
            self.governor.limit(),
            self.slots.counts.of(State::Connecting),
        );
        let missing = self.wanted(now).saturating_sub(connecting);
        missing
            .min(limit.saturating_sub(connecting))
            .min(self.max.saturating_sub(self.slots.counts.live()))
    }

    /// How many connections have to be in the making: one for each waiter who does not wait for a
    /// check, and what is missing of the idle ones to be kept.
    pub(super) fn wanted(&self, now: Tick) -> usize {
        if self.phase != Phase::Open {
            return 0;
        }
        let counts = &self.slots.counts;
        let waiting = self
            .queue
            .queued()
            .saturating_sub(counts.of(State::Checking));
        let lasting = match self.rules.min_idle {
            0 => 0,
            _ => self.lasting_idle(now),
        };
        waiting + self.rules.min_idle.saturating_sub(lasting)
    }

    /// An attempt to connect succeeded.
    pub(crate) fn connected(
        &mut self,
        ticket: &ConnectTicket,
        value: C,
        now: Tick,
        rng: &mut impl Rng,
        actions: &mut Actions<E>,
    ) {
        self.totals.connected += 1;
        let expires = now.after(self.draw_lifetime(rng));
        let check_at = now.after(self.rules.check_after);
        let slot = self.slots.get_mut(ticket.slot);
        slot.value = Some(value);
        slot.expires = expires;
        slot.fresh_until = check_at.min(expires);
        slot.since = now;
        let error = self.governor.succeeded();
        Self::spend(error, actions);
        self.hand_over(ticket.slot, now, &mut actions.wakes);
        self.schedule_upkeep(now);
        self.finish(now, actions);
    }

    /// An attempt to connect failed.
    pub(crate) fn connect_failed(
        &mut self,
        ticket: &ConnectTicket,
        error: E,
        permanent: bool,
        now: Tick,
        rng: &mut impl Rng,
        actions: &mut Actions<E>,
    ) {
        self.totals.connect_failures += 1;
        self.slots.vacate(ticket.slot);
        let shared = error.clone();
        let old = self
            .governor
            .failed(ticket.round, error, permanent, now, rng);
        Self::spend(old, actions);
        // While a connection is alive it may come back to who waits: then even a permanent error
        // ends no wait.
        let hopeless = permanent && self.slots.counts.alive() == 0;
        let failures = match self.rules.on_connect_error {
            _ if hopeless => usize::MAX,
            OnConnectError::Retry => 0,
            OnConnectError::FailFirst => 1,
            OnConnectError::FailAll => usize::MAX,
        };
        for _ in 0..failures {
            let Some(waiter) = self.queue.head() else {
                break;
            };
            self.give_up_on(waiter, Failure::Connect(shared.clone()), actions);
        }
        Self::spend(Some(shared), actions);
        self.finish(now, actions);
    }

    /// An attempt to connect was dropped, as a runtime does with its tasks when it ends.
    pub(crate) fn connect_dropped(
        &mut self,
        ticket: &ConnectTicket,
        now: Tick,
        actions: &mut Actions<E>,
    ) {
        self.slots.vacate(ticket.slot);
        self.finish(now, actions);
    }

    /// A connection passed its check.
    pub(crate) fn checked(&mut self, id: SlotId, value: C, now: Tick, actions: &mut Actions<E>) {
        let check_at = now.after(self.rules.check_after);
        let slot = self.slots.get_mut(id);
        slot.value = Some(value);
        slot.since = now;
        slot.fresh_until = check_at.min(slot.expires);
        self.hand_over(id, now, &mut actions.wakes);
        self.balance(now, &mut actions.wakes);
        self.finish(now, actions);
    }

    /// A connection did not pass its check, and is gone; so is one whose check was dropped.
    pub(crate) fn check_failed(&mut self, id: SlotId, now: Tick, actions: &mut Actions<E>) {
        self.totals.check_failures += 1;
        self.vacate(id);
        self.balance(now, &mut actions.wakes);
        self.finish(now, actions);
    }

    /// A connection is closed for good: only now its slot is free.
    pub(crate) fn closed(&mut self, id: SlotId, now: Tick, actions: &mut Actions<E>) {
        self.vacate(id);
        self.finish(now, actions);
    }

    /// How long a connection lives, drawn once: never longer than the maximum.
    fn draw_lifetime(&self, rng: &mut impl Rng) -> Span {
        let Span(longest) = self.rules.max_lifetime;
        if longest == u64::MAX {
            return Span::NEVER;
        }
        let window = (u128::from(longest) * u128::from(self.rules.lifetime_jitter)) >> 32;
        let window = u64::try_from(window).unwrap_or(longest).min(longest);
        Span(longest - rng.random_range(0..=window))
    }
}
