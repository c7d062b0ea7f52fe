//! Operation ids: parsed once at the edge, never empty, numbers inside.

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::{BuildHasher, Hasher},
    num::NonZeroU128,
    str::FromStr,
};

use thiserror::Error;

/// The id of one operation: 128 random bits that are not all zero.
///
/// It is for tracing. Whether an operation may commit is decided by its epoch, so that an id that
/// should ever come up again cannot let an old result in. It is not a secret either.
///
/// Written and read as exactly 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(NonZeroU128);

impl OperationId {
    const DIGITS: usize = 32;

    /// Makes an id of this number, or none of zero.
    #[must_use]
    pub const fn new(number: u128) -> Option<Self> {
        match NonZeroU128::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0.get()
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperationId({self})")
    }
}

/// Why a text is not an operation id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseIdError {
    /// The text has another length.
    #[error("an operation id has 32 hexadecimal digits, this text has {length} bytes")]
    Length {
        /// Bytes in the text.
        length: usize,
    },
    /// A byte is not one of `0-9a-f`.
    #[error("an operation id has digits 0-9 and a-f only, byte {position} is another")]
    Digit {
        /// Position of the first such byte, from zero.
        position: usize,
    },
    /// All digits are zero.
    #[error("an operation id is not all zeros")]
    Zero,
}

impl FromStr for OperationId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The length first, so that the time taken never depends on how long a hostile text is.
        if text.len() != Self::DIGITS {
            return Err(ParseIdError::Length { length: text.len() });
        }
        let mut number = 0_u128;
        for (position, byte) in text.bytes().enumerate() {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                _ => return Err(ParseIdError::Digit { position }),
            };
            number = number << 4 | u128::from(digit);
        }
        Self::new(number).ok_or(ParseIdError::Zero)
    }
}

/// Makes ids without asking anybody: no two that it makes from different numbers are alike.
///
/// The lower half is the number, scrambled by a bijection; the upper half is noise from the same
/// number. Both are keyed, so that no two processes make the same ids.
#[derive(Clone, Copy)]
pub(crate) struct IdMaker {
    lower: u64,
    upper: u64,
}

impl IdMaker {
    /// A maker that no two processes share: the keys that the standard library hashes with come
    /// from the operating system, so a hash of nothing is 64 bits of its randomness.
    pub(crate) fn from_system() -> Self {
        let random = || RandomState::new().build_hasher().finish();
        Self {
            lower: random(),
            upper: random(),
        }
    }

    pub(crate) fn from_seed(seed: u64) -> Self {
        Self {
            lower: scramble(seed),
            upper: scramble(!seed),
        }
    }

    pub(crate) const fn make(self, number: u64) -> OperationId {
        let lower = scramble(number ^ self.lower);
        let upper = scramble(number.wrapping_add(self.upper));
        match NonZeroU128::new((upper as u128) << 64 | lower as u128) {
            Some(id) => OperationId(id),
            // Of all pairs of halves this one is zero. Its number makes the id of one half more.
            None => OperationId(NonZeroU128::MIN.saturating_add(1 << 64)),
        }
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): a bijection of 64 bits in which every
/// bit of the result depends on every bit of the number.
const fn scramble(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
