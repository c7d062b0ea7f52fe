//! What can go wrong on a connection, and where.

use std::time::Duration;

use rand::{Rng, RngExt};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Both sides see the end of the stream. After a number of bytes this is a partial frame.
    Fin,
    /// Both sides see a reset.
    Rst,
    /// The server sees a reset and the client sees nothing: what it sends is swallowed.
    HalfOpen,
    /// The bytes of this direction are held back, until [healed](super::Proxy::heal).
    Stall,
    /// The bytes of this direction come this much later, until healed.
    Delay(Duration),
    /// One byte is combined with this by exclusive or; 0 would change nothing.
    Corrupt(u8),
}

impl Effect {
    pub(super) fn ends_the_link(self) -> bool {
        matches!(self, Self::Fin | Self::Rst | Self::HalfOpen)
    }
}

/// Something that goes wrong once, at one byte of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The direction whose bytes are counted, and in which bytes are held back or changed.
    pub direction: Direction,
    /// How many bytes pass unharmed before.
    pub after: u64,
    /// What happens then.
    pub effect: Effect,
}

impl Fault {
    /// `effect` after `after` bytes in `direction`. A cut after 0 bytes happens at once.
    pub const fn new(direction: Direction, after: u64, effect: Effect) -> Self {
        Self {
            direction,
            after,
            effect,
        }
    }

    /// Any effect, in any direction, after at most `max_after` bytes; a delay is 1 to 20 ms.
    pub fn random(rng: &mut impl Rng, max_after: u64) -> Self {
        let direction = if rng.random() {
            Direction::ToServer
        } else {
            Direction::ToClient
        };
        let effect = match rng.random_range(0..6) {
            0 => Effect::Fin,
            1 => Effect::Rst,
            2 => Effect::HalfOpen,
            3 => Effect::Stall,
            4 => Effect::Delay(Duration::from_millis(rng.random_range(1..=20))),
            _ => Effect::Corrupt(rng.random_range(1..=u8::MAX)),
        };
        Self::new(direction, rng.random_range(0..=max_after), effect)
    }
}
