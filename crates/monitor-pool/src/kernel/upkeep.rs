//! What happens because time passes.

use super::{Actions, Kernel, Leak, SlotId, Span, Tick, slots::State};
use crate::CloseReason;

/// Into how many looks a limit is divided: it is kept to that part of it.
const LOOKS: u64 = 8;

impl<C, E: Clone> Kernel<C, E> {
    /// Does all that is due. Cheap if nothing is.
    pub(crate) fn tick(&mut self, now: Tick, actions: &mut Actions<E>) {
        if now >= self.alarms.upkeep {
            self.upkeep(now, actions);
        }
        if now >= self.alarms.offer {
            self.revoke_offers(now, actions);
        }
        if now >= self.alarms.deadline {
            self.expire_waiters(now, actions);
        }
        self.finish(now, actions);
    }

    /// When the next thing is due; the caller will look then, and need not be woken before.
    pub(crate) fn arm(&mut self, now: Tick) -> Tick {
        self.alarms.armed = self.next_due(now);
        self.alarms.armed
    }

    pub(super) fn next_due(&self, now: Tick) -> Tick {
        let retry = match self.governor.waits_until(now) {
            Some(at) if self.wanted(now) > 0 => at,
            _ => Tick::NEVER,
        };
        let alarms = &self.alarms;
        alarms
            .deadline
            .min(alarms.offer)
            .min(alarms.upkeep)
            .min(retry)
    }

    /// Ends every wait whose deadline has come.
    fn expire_waiters(&mut self, now: Tick, actions: &mut Actions<E>) {
        loop {
            let overdue = self
                .queue
                .in_order()
                .find(|(_, waiter)| now >= waiter.deadline)
                .map(|(id, _)| id);
            let Some(id) = overdue else { break };
            self.time_out(id, actions);
        }
        let deadlines = self.queue.in_order().map(|(_, waiter)| waiter.deadline);
        self.alarms.deadline = deadlines.min().unwrap_or(Tick::NEVER);
    }

    /// Looks at every slot: expired, idle for too long, to be kept alive, leaked.
    fn upkeep(&mut self, now: Tick, actions: &mut Actions<E>) {
        let mut looked_at = 0;
        while looked_at < self.idle.len() {
            let id = self.idle[looked_at];
            if !self.tend_idle(id, looked_at, now) {
                looked_at += 1;
            }
        }
        let leak_after = self.rules.leak_after;
        while let Some(id) = self.slots.find(|slot| {
            slot.state == State::Leased && !slot.leak_told && now >= slot.since.after(leak_after)
        }) {
            self.slots.get_mut(id).leak_told = true;
            actions.leaks.push(Leak(id));
        }
        self.balance(now, &mut actions.wakes);
        self.alarms.upkeep = Tick::NEVER;
        self.schedule_upkeep(now);
    }

    /// Tends one idle connection; says whether it left the idle ones.
    fn tend_idle(&mut self, id: SlotId, position: usize, now: Tick) -> bool {
        let surplus = self.idle.len() > self.rules.min_idle;
        let slot = self.slots.get_mut(id);
        let idle_since = *slot.idle_since.get_or_insert(now);
        let unused_for = now.since(slot.since);
        if now >= slot.expires {
            self.start_close(id, CloseReason::Expired);
        } else if surplus && now.since(idle_since) >= self.rules.idle_timeout {
            self.start_close(id, CloseReason::Idle);
        } else if unused_for >= self.rules.keepalive {
            self.start_check(id);
        } else {
            return false;
        }
        self.idle.remove(position);
        true
    }

    /// Makes sure that the slots are looked at in time.
    pub(super) fn schedule_upkeep(&mut self, now: Tick) {
        let rules = &self.rules;
        let limits = [
            rules.idle_timeout,
            rules.keepalive,
            rules.leak_after,
            rules.max_lifetime,
        ];
        let shortest = limits.into_iter().min().unwrap_or(Span::NEVER);
        if self.slots.counts.live() == 0 {
            return;
        }
        let look = match shortest {
            Span::NEVER => Tick::NEVER,
            Span(limit) => now.after(Span((limit / LOOKS).max(1))),
        };
        self.alarms.upkeep = self.alarms.upkeep.min(look).min(self.next_expiry(now));
    }

    /// When the next idle connection expires, or has to be replaced before it does.
    fn next_expiry(&self, now: Tick) -> Tick {
        let idle = self.idle.iter().map(|id| self.slots.get(*id).expires);
        let first = idle.min().unwrap_or(Tick::NEVER);
        if first == Tick::NEVER {
            return first;
        }
        let replace = Tick(first.0.saturating_sub(self.rules.replace_ahead.0));
        if self.rules.min_idle > 0 && now < replace {
            replace
        } else {
            first.max(Tick(now.0.saturating_add(1)))
        }
    }

    /// The idle connections that are not about to expire.
    pub(super) fn lasting_idle(&self, now: Tick) -> usize {
        let ahead = now.after(self.rules.replace_ahead);
        self.idle
            .iter()
            .filter(|id| self.slots.get(**id).expires > ahead)
            .count()
    }

    /// Whether a waiter has let its turn pass: out of the queue without an offer it may take.
    #[cfg(test)]
    pub(crate) fn is_dormant(&self, id: super::WaiterId, now: Tick) -> bool {
        match self.queue.get(id).wait {
            super::queue::Wait::Dormant => true,
            super::queue::Wait::Offered(slot) => self.is_stale_offer(slot, now),
            _ => false,
        }
    }
}
