//! The slots: each connection that counts against the maximum has exactly one.

use super::{Tick, WaiterId};
use crate::caller::Caller;

/// The index of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotId(pub(crate) u32);

/// What a slot is doing. INV-POOL-3: exactly one of these, and only `Idle` and `Offered` keep the
/// connection in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Vacant,
    Connecting,
    Idle,
    Offered,
    Leased,
    Checking,
    Closing,
}

/// How many slots are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    by_state: [u32; 7],
    /// All but the vacant ones.
    live: usize,
}

#[derive(Debug)]
pub(crate) struct Slot<C> {
    pub(crate) state: State,
    /// There in `Idle` and `Offered` only; in all other states the connection is somewhere else.
    pub(crate) value: Option<C>,
    /// The number of the connection; no two are equal.
    pub(crate) number: u64,
    /// The epoch in which connecting began.
    pub(crate) epoch: u64,
    /// When it was handed out, offered or checked last.
    pub(crate) since: Tick,
    /// When it was first seen idle, if it has been.
    pub(crate) idle_since: Option<Tick>,
    /// From then on it is not handed out. Drawn once.
    pub(crate) expires: Tick,
    /// Until then it may be handed out without a check.
    pub(crate) fresh_until: Tick,
    pub(crate) uses: u32,
    /// Who has it, while it is leased; then who had it last.
    pub(crate) caller: Option<Caller>,
    /// Who is to take it, while it is offered.
    pub(crate) offered_to: WaiterId,
    /// The leak of this lease has been told.
    pub(crate) leak_told: bool,
}

#[derive(Debug)]
pub(crate) struct Slots<C> {
    slots: Vec<Slot<C>>,
    vacant: Vec<SlotId>,
    pub(crate) counts: Counts,
}

impl Counts {
    #[inline]
    pub(crate) fn of(&self, state: State) -> usize {
        self.by_state[state as usize] as usize
    }

    /// All that count against the maximum.
    #[inline]
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Those that may come back to who waits.
    pub(crate) fn alive(&self) -> usize {
        self.live() - self.of(State::Closing)
    }
}

impl<C> Slots<C> {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            slots: Vec::with_capacity(max),
            vacant: Vec::with_capacity(max),
            counts: Counts::default(),
        }
    }

    #[inline]
    pub(crate) fn get(&self, id: SlotId) -> &Slot<C> {
        &self.slots[id.0 as usize]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: SlotId) -> &mut Slot<C> {
        &mut self.slots[id.0 as usize]
    }

    /// Moves a slot to another state.
    #[inline]
    pub(crate) fn set(&mut self, id: SlotId, state: State) -> &mut Slot<C> {
        let slot = &mut self.slots[id.0 as usize];
        self.counts.by_state[slot.state as usize] -= 1;
        self.counts.by_state[state as usize] += 1;
        slot.state = state;
        slot
    }

    /// Takes a vacant slot for a connection that is being made.
    pub(crate) fn occupy(&mut self, number: u64, epoch: u64) -> SlotId {
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Slot::vacant());
            self.counts.by_state[State::Vacant as usize] += 1;
            SlotId(self.slots.len() as u32 - 1)
        });
        self.counts.live += 1;
        let slot = self.set(id, State::Connecting);
        slot.number = number;
        slot.epoch = epoch;
        slot.uses = 0;
        id
    }

    /// Gives a slot back.
    pub(crate) fn vacate(&mut self, id: SlotId) {
        self.counts.live -= 1;
        self.set(id, State::Vacant).caller = None;
        self.vacant.push(id);
    }

    /// Whether this connection is out, and not only said to be.
    #[inline]
    pub(crate) fn is_leased(&self, id: SlotId, number: u64) -> bool {
        self.slots
            .get(id.0 as usize)
            .is_some_and(|slot| slot.state == State::Leased && slot.number == number)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SlotId, &Slot<C>)> {
        let ids = (0..).map(SlotId);
        ids.zip(&self.slots)
    }

    /// The slots in a state. Collects nothing: for loops that change what they find, ask again.
    pub(crate) fn find(&self, mut wanted: impl FnMut(&Slot<C>) -> bool) -> Option<SlotId> {
        self.iter().find(|(_, slot)| wanted(slot)).map(|(id, _)| id)
    }
}

impl<C> Slot<C> {
    fn vacant() -> Self {
        Self {
            state: State::Vacant,
            value: None,
            number: 0,
            epoch: 0,
            since: Tick(0),
            idle_since: None,
            expires: Tick::NEVER,
            fresh_until: Tick(0),
            uses: 0,
            caller: None,
            offered_to: WaiterId(0),
            leak_told: false,
        }
    }
}
