//! The epoch of a key: the number that says which work is still entitled to write.

use std::fmt;

/// How many times the right to write a key has been withdrawn.
///
/// Every [`fence`](crate::Operations::fence) moves the key to the next epoch, and work begun under
/// an older one can never commit again. Keep the number in the row it guards, so that the same
/// holds after a restart and against another process.
///
/// The default is the epoch of a key that was never fenced, zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// The largest epoch that [`register`](crate::Operations::register) accepts, 2⁶².
    ///
    /// A signed 64-bit column holds it, and 2⁶² fences remain above it: counting up from an
    /// accepted epoch never reaches the end of the number.
    pub const MAX_REGISTERED: Epoch = Epoch(1 << 62);

    /// Makes the epoch with this number, as read from a store.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number, to be written to a store.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the epoch after this one; the last number stays as it is.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
