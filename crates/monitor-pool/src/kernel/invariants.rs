//! What holds after each step; asserted in tests and models, on the real kernel.

use super::{Kernel, Tick, queue::Wait, slots::State};
use crate::Phase;

impl<C, E: Clone> Kernel<C, E> {
    /// Asserts all but the demand rule, which holds once orders have been taken.
    pub(crate) fn assert_invariants(&self, _now: Tick) {
        self.assert_slots();
        self.assert_waiters();
        let counts = &self.slots.counts;
        if self.phase != Phase::Open {
            let served = counts.of(State::Idle) + counts.of(State::Offered);
            assert_eq!(
                served, 0,
                "INV-POOL-5: a closed pool keeps a connection for somebody"
            );
            assert_eq!(
                self.queue.queued(),
                0,
                "INV-POOL-5: somebody waits for a closed pool"
            );
        }
        if self.phase == Phase::Closed {
            assert_eq!(
                counts.live(),
                0,
                "INV-POOL-5: a closed pool has a connection"
            );
        }
        assert!(
            self.idle.is_empty() || self.queue.queued() <= counts.of(State::Checking),
            "INV-POOL-2: a connection is idle while somebody waits"
        );
    }

    fn assert_slots(&self) {
        let counts = &self.slots.counts;
        for state in [
            State::Vacant,
            State::Connecting,
            State::Idle,
            State::Offered,
            State::Leased,
            State::Checking,
            State::Closing,
        ] {
            let found = self
                .slots
                .iter()
                .filter(|(_, slot)| slot.state == state)
                .count();
            assert_eq!(
                found,
                counts.of(state),
                "INV-POOL-3: slots that are {state:?}"
            );
        }
        let occupied = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.state != State::Vacant);
        assert_eq!(occupied.count(), counts.live(), "INV-POOL-3: live");
        for (id, slot) in self.slots.iter() {
            let kept = matches!(slot.state, State::Idle | State::Offered);
            assert_eq!(slot.value.is_some(), kept, "INV-POOL-3: {:?}", slot.state);
            let listed = self.idle.iter().filter(|idle| **idle == id).count();
            assert_eq!(
                listed,
                usize::from(slot.state == State::Idle),
                "INV-POOL-3: listed"
            );
            if slot.state == State::Offered {
                let offered = &self.queue.get(slot.offered_to).wait;
                assert!(
                    matches!(offered, Wait::Offered(to) if *to == id),
                    "INV-POOL-3: an offer nobody has: {id:?}"
                );
            }
        }
    }

    fn assert_waiters(&self) {
        let mut offered = 0;
        for (_, waiter) in self.queue.iter() {
            let queued = matches!(waiter.wait, Wait::Queued);
            assert_eq!(
                waiter.waker.is_some(),
                queued,
                "INV-POOL-6: who leaves the queue is woken, who is in it can be"
            );
            offered += usize::from(matches!(waiter.wait, Wait::Offered(_)));
        }
        assert_eq!(
            offered,
            self.slots.counts.of(State::Offered),
            "INV-POOL-3: offers"
        );
        let in_order: Vec<_> = self.queue.in_order().map(|(id, _)| id).collect();
        assert_eq!(in_order.len(), self.queue.queued(), "INV-POOL-3: the queue");
    }

    /// INV-POOL-1: never more than the maximum; after it was lowered, never more than there were.
    pub(crate) fn assert_size(&self, before: usize) {
        let live = self.slots.counts.live();
        assert!(
            live <= self.max.max(before),
            "INV-POOL-1: {live} of {}",
            self.max
        );
    }

    /// INV-POOL-4: who waits is provided for: enough attempts run, or the back-off does.
    pub(crate) fn assert_demand(&self, now: Tick) {
        if self.governor.waits_until(now).is_some() {
            return;
        }
        let counts = &self.slots.counts;
        let connecting = counts.of(State::Connecting);
        let room = self.max.saturating_sub(counts.live());
        let needed = self
            .wanted(now)
            .min(self.governor.limit())
            .min(connecting + room);
        assert!(
            connecting >= needed,
            "INV-POOL-4: {connecting} connecting, {needed} needed"
        );
    }

    pub(crate) fn live(&self) -> usize {
        self.slots.counts.live()
    }
}
