//! The kernel: who gets which connection, and when one is made, checked or closed.
//!
//! A synchronous state machine behind one lock, over a connection type it knows nothing about. It
//! takes the time and the randomness as arguments and does nothing by itself: each step changes
//! the state and says in [`Actions`] and [`Orders`] what remains to be done. The shell does, in
//! this order: lock, decide, collect, unlock, act.
//!
//! | file | concept |
//! |---|---|
//! | `slots` | every connection that counts has one slot in one state |
//! | `queue` | callers that wait, in the order of their arrival |
//! | `governor` | how often to connect |
//! | `acquire` | to ask, to wait, to give up |
//! | `release` | to give back, and to hand over |
//! | `connect` | to make, to check and to close |
//! | `upkeep` | what happens because time passes |
//! | `lifecycle` | resize, reset, close |
//! | `report` | status and holders |
//! | `invariants` | what holds after each step |

mod acquire;
mod actions;
mod connect;
mod governor;
#[cfg(any(test, monitor_loom))]
pub(crate) mod invariants;
mod lifecycle;
mod queue;
mod release;
mod report;
mod slots;
mod tick;
mod upkeep;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use monitor_backoff::Policy;

pub(crate) use self::{
    acquire::{Acquired, Poll},
    actions::{Actions, ConnectTicket, Few, Orders},
    governor::Governor,
    queue::{Failure, WaiterId},
    release::Fitness,
    slots::SlotId,
    tick::{Span, Tick},
};
use self::{queue::Queue, slots::Slots};
use crate::{IdleOrder, Nested, OnConnectError, Phase, Totals, config::Settings};

/// The whole state of a pool, but for what is out.
#[derive(Debug)]
pub(crate) struct Kernel<C, E> {
    rules: Rules,
    /// INV-POOL-5: left `Open` under the lock with everybody sent away and nothing idle, so that what
    /// comes back later finds it closed. Never goes back.
    phase: Phase,
    max: usize,
    /// Connections of an older epoch are not handed out again.
    epoch: u64,
    slots: Slots<C>,
    /// The idle slots; the one handed out first is last in it.
    idle: VecDeque<SlotId>,
    queue: Queue<E>,
    governor: Governor<E>,
    /// Checks and closes that nobody has taken yet.
    orders: Orders<C>,
    alarms: Alarms,
    /// The number of the newest connection.
    numbers: u64,
    totals: Totals,
    /// Waiters that `close` turned away.
    turned_away: usize,
}

/// The settings that decide something here.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) min_idle: usize,
    pub(crate) max_waiters: usize,
    pub(crate) order: IdleOrder,
    pub(crate) nested: Nested,
    pub(crate) on_connect_error: OnConnectError,
    pub(crate) offer_grace: Span,
    pub(crate) check_after: Span,
    pub(crate) idle_timeout: Span,
    pub(crate) max_lifetime: Span,
    /// The share of `max_lifetime` that is drawn, in parts of 2^32.
    pub(crate) lifetime_jitter: u64,
    pub(crate) max_uses: u32,
    pub(crate) keepalive: Span,
    pub(crate) leak_after: Span,
    /// How long before its end a kept connection is replaced.
    pub(crate) replace_ahead: Span,
}

/// When the next thing is due. Each is a lower bound: to look too early is cheap.
#[derive(Debug)]
struct Alarms {
    /// The first deadline of a waiter.
    deadline: Tick,
    /// The first offer that may be taken back.
    offer: Tick,
    /// The next look at all slots.
    upkeep: Tick,
    /// When the driver will look by itself.
    armed: Tick,
}

/// A connection that has been out for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leak(pub(crate) SlotId);

impl<C, E: Clone> Kernel<C, E> {
    pub(crate) fn new(rules: Rules, max: usize, connect_limit: usize, backoff: Policy) -> Self {
        Self {
            rules,
            phase: Phase::Open,
            max,
            epoch: 0,
            slots: Slots::new(max),
            idle: VecDeque::with_capacity(max),
            queue: Queue::new(),
            governor: Governor::new(backoff, connect_limit),
            orders: Orders::default(),
            alarms: Alarms {
                deadline: Tick::NEVER,
                offer: Tick::NEVER,
                upkeep: Tick::NEVER,
                armed: Tick(0),
            },
            numbers: 0,
            totals: Totals::default(),
            turned_away: 0,
        }
    }

    /// The last thing of every step that is not on the hot path: whoever does the rest is told.
    fn finish(&mut self, now: Tick, actions: &mut Actions<E>) {
        if self.phase == Phase::Draining && self.slots.counts.live() == 0 {
            self.phase = Phase::Closed;
            actions.drained = true;
            // The driver has nothing left to do, and ends.
            actions.wake_driver = true;
        }
        if self.next_due(now) < self.alarms.armed {
            // A driver that is already on its way need not be woken again.
            actions.wake_driver = true;
            self.alarms.armed = Tick(0);
        }
        #[cfg(any(test, monitor_loom))]
        self.assert_invariants(now);
    }
}

impl Rules {
    pub(crate) fn new(settings: &Settings) -> Self {
        let lifetime = Span::from(settings.max_lifetime);
        Self {
            min_idle: settings.min_idle,
            max_waiters: settings.max_waiters,
            order: settings.order,
            nested: settings.nested,
            on_connect_error: settings.on_connect_error,
            offer_grace: Span::from(settings.offer_grace),
            check_after: Span::from(settings.check_if_idle_for),
            idle_timeout: Span::from(settings.idle_timeout),
            max_lifetime: lifetime,
            lifetime_jitter: (settings.lifetime_jitter * 4_294_967_296.0) as u64,
            max_uses: settings.max_uses.unwrap_or(u32::MAX),
            keepalive: Span::from(settings.keepalive),
            leak_after: Span::from(settings.leak_after),
            replace_ahead: Span(Span::from(settings.connect_timeout).0.min(lifetime.0 / 10)),
        }
    }
}
