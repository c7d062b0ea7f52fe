//! The state word: what an admission needs to know, in one atomic load.

use std::time::Duration;

/// The breaker's state as its fast paths see it, published by whoever changed it.
///
/// From the top: 60 bits of epoch, one bit for shadow mode, three bits of phase. At a transition
/// per microsecond the epoch lasts for 36 000 years, so no permit ever meets its epoch again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u64);

/// The phase bits of a [`Word`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bits {
    /// Closed, and a success would change nothing.
    Clean = 0,
    /// Closed, and a success has something to record or to reset.
    Counting = 1,
    Open = 2,
    HalfOpen = 3,
    Recovering = 4,
    /// Every call is admitted and none is counted.
    Disabled = 5,
}

const SHADOW: u64 = 1 << 3;
const EPOCH_SHIFT: u32 = 4;

impl Word {
    pub(crate) const fn new(epoch: u64, bits: Bits) -> Word {
        Word(epoch << EPOCH_SHIFT | bits as u64)
    }

    pub(crate) const fn in_shadow(self, shadow: bool) -> Word {
        Word(self.0 & !SHADOW | if shadow { SHADOW } else { 0 })
    }

    pub(crate) const fn from_raw(raw: u64) -> Word {
        Word(raw)
    }

    pub(crate) const fn raw(self) -> u64 {
        self.0
    }

    pub(crate) const fn epoch(self) -> u64 {
        self.0 >> EPOCH_SHIFT
    }

    pub(crate) const fn is_shadow(self) -> bool {
        self.0 & SHADOW != 0
    }

    pub(crate) const fn bits(self) -> Bits {
        match self.0 & (SHADOW - 1) {
            0 => Bits::Clean,
            1 => Bits::Counting,
            2 => Bits::Open,
            3 => Bits::HalfOpen,
            4 => Bits::Recovering,
            _ => Bits::Disabled,
        }
    }

    /// Returns whether it is `epoch`, closed, and a success there changes nothing: one comparison.
    pub(crate) const fn is_clean_in(self, epoch: u64) -> bool {
        self.0 & !SHADOW == epoch << EPOCH_SHIFT
    }
}

/// Returns `time` in whole nanoseconds; above 584 years it saturates.
pub(crate) const fn nanos(time: Duration) -> u64 {
    let whole = time.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(time.subsec_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_keeps_its_epoch_its_mode_and_its_phase() {
        let phases = [
            Bits::Clean,
            Bits::Counting,
            Bits::Open,
            Bits::HalfOpen,
            Bits::Recovering,
            Bits::Disabled,
        ];
        for epoch in [0, 1, 5, (1 << 60) - 1] {
            for bits in phases {
                for shadow in [false, true] {
                    let word = Word::from_raw(Word::new(epoch, bits).in_shadow(shadow).raw());
                    let parts = (word.epoch(), word.bits(), word.is_shadow());
                    assert_eq!(parts, (epoch, bits, shadow));
                    assert_eq!(word.is_clean_in(epoch), bits == Bits::Clean);
                    assert!(!word.is_clean_in(epoch ^ 2));
                }
            }
        }
    }
}
