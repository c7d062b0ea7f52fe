//! The state word: what an admission needs to know, in one atomic load.

use std::time::Duration;

/// The breaker's state as its fast paths see it, published by whoever changed it.
///
/// Two bits of phase below 62 bits of epoch. At a transition per microsecond the epoch lasts for
/// 146 000 years, so no permit ever meets its epoch again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u64);

/// The phase bits of a [`Word`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bits {
    /// Closed, and a success would change nothing.
    Clean = 0,
    /// Closed, and the next success has something to reset.
    Failing = 1,
    Open = 2,
    HalfOpen = 3,
}

impl Word {
    pub(crate) const fn new(epoch: u64, bits: Bits) -> Word {
        Word(epoch << 2 | bits as u64)
    }

    pub(crate) const fn from_raw(raw: u64) -> Word {
        Word(raw)
    }

    pub(crate) const fn raw(self) -> u64 {
        self.0
    }

    pub(crate) const fn epoch(self) -> u64 {
        self.0 >> 2
    }

    pub(crate) const fn bits(self) -> Bits {
        match self.0 & 3 {
            0 => Bits::Clean,
            1 => Bits::Failing,
            2 => Bits::Open,
            _ => Bits::HalfOpen,
        }
    }
}

/// Returns `time` in whole nanoseconds; above 584 years it saturates.
pub(crate) fn nanos(time: Duration) -> u64 {
    let whole = time.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(u64::from(time.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_keeps_its_epoch_and_its_phase() {
        for epoch in [0, 1, 5, (1 << 62) - 1] {
            for bits in [Bits::Clean, Bits::Failing, Bits::Open, Bits::HalfOpen] {
                let word = Word::from_raw(Word::new(epoch, bits).raw());
                assert_eq!((word.epoch(), word.bits()), (epoch, bits));
            }
        }
    }
}
