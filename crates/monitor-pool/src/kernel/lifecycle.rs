//! Resize, reset, close.

use super::{
    Actions, Kernel, Tick,
    queue::{Failure, Wait},
    slots::State,
};
use crate::{CloseReason, Phase};

impl<C, E: Clone> Kernel<C, E> {
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// How many callers `close` has turned away.
    pub(crate) fn turned_away(&self) -> usize {
        self.turned_away
    }

    /// Changes the maximum. What is too many goes: idle ones now, the rest when they come back.
    pub(crate) fn resize(&mut self, max: usize, now: Tick, actions: &mut Actions<E>) {
        self.max = max;
        while self.slots.counts.live() - self.slots.counts.of(State::Closing) > max
            && let Some(id) = self.idle.pop_front()
        {
            self.start_close(id, CloseReason::Shrunk);
        }
        self.finish(now, actions);
    }

    /// Ends the epoch: no connection begun before now is handed out again.
    pub(crate) fn reset(&mut self, now: Tick, actions: &mut Actions<E>) {
        self.epoch += 1;
        self.close_idle(CloseReason::Reset);
        while let Some(id) = self.slots.find(|slot| slot.state == State::Offered) {
            // It has been woken, so it will come, and stands where it stood.
            self.queue.get_mut(self.slots.get(id).offered_to).wait = Wait::Dormant;
            self.start_close(id, CloseReason::Reset);
        }
        self.finish(now, actions);
    }

    /// Closes the pool: nobody is served from now on. Idempotent.
    pub(crate) fn close(&mut self, now: Tick, actions: &mut Actions<E>) {
        if self.phase == Phase::Open {
            self.phase = Phase::Draining;
            self.close_idle(CloseReason::PoolClosed);
            // Checks that nobody has begun.
            for (id, value) in self.orders.checks.take() {
                self.slots.get_mut(id).value = Some(value);
                self.start_close(id, CloseReason::PoolClosed);
            }
            while let Some(id) = self.slots.find(|slot| slot.state == State::Offered) {
                let waiter = self.slots.get(id).offered_to;
                self.queue.get_mut(waiter).wait = Wait::Dormant;
                self.start_close(id, CloseReason::PoolClosed);
            }
            while let Some(id) = self.unsettled() {
                self.turned_away += 1;
                self.give_up_on(id, Failure::Closed, actions);
            }
        }
        self.finish(now, actions);
    }

    fn close_idle(&mut self, reason: CloseReason) {
        while let Some(id) = self.idle.pop_front() {
            self.start_close(id, reason);
        }
    }

    /// Somebody who waits, in the queue or beside it.
    fn unsettled(&self) -> Option<super::WaiterId> {
        self.queue.head().or_else(|| {
            self.queue
                .iter()
                .find(|(_, waiter)| matches!(waiter.wait, Wait::Dormant))
                .map(|(id, _)| id)
        })
    }
}
