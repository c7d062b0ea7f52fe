//! What the pool says of itself: status and holders.

use std::time::Duration;

use super::{
    Kernel, Leak, Tick,
    queue::Wait,
    slots::{Slot, State},
};
use crate::{ConnectionId, Holder, Status};

impl<C, E: Clone> Kernel<C, E> {
    pub(crate) fn status(&self, now: Tick) -> Status {
        let counts = &self.slots.counts;
        let waiters = self.queue.iter().map(|(_, waiter)| waiter);
        let waiting: Vec<_> = waiters
            .filter(|waiter| !matches!(waiter.wait, Wait::Failed(_)))
            .map(|waiter| waiter.since)
            .collect();
        let oldest = waiting.iter().min();
        Status {
            phase: self.phase,
            max_size: self.max,
            size: counts.live(),
            connecting: counts.of(State::Connecting),
            idle: counts.of(State::Idle),
            offered: counts.of(State::Offered),
            leased: counts.of(State::Leased),
            checking: counts.of(State::Checking),
            closing: counts.of(State::Closing),
            waiting: waiting.len(),
            oldest_wait: oldest.map_or(Duration::ZERO, |since| now.since(*since).duration()),
            connect_failures: self.governor.failures(),
            connect_retry_in: self
                .governor
                .waits_until(now)
                .map(|at| at.since(now).duration()),
            totals: self.totals,
        }
    }

    /// Who holds connections, longest first.
    pub(crate) fn holders(&self, now: Tick) -> Vec<Holder> {
        let leased = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.state == State::Leased);
        let mut holders: Vec<_> = leased.filter_map(|(_, slot)| holder(slot, now)).collect();
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.held_for));
        holders
    }

    /// Who holds the connection that leaks.
    pub(crate) fn leak(&self, leak: Leak, now: Tick) -> Option<Holder> {
        holder(self.slots.get(leak.0), now)
    }

    pub(crate) fn last_connect_error(&self) -> Option<E> {
        self.governor.last_error().cloned()
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Whether something is idle that would have to be checked.
    pub(crate) fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }
}

fn holder<C>(slot: &Slot<C>, now: Tick) -> Option<Holder> {
    let caller = slot.caller?;
    Some(Holder {
        connection: ConnectionId(slot.number),
        site: caller.site,
        task: caller.task,
        held_for: now.since(slot.since).duration(),
    })
}
