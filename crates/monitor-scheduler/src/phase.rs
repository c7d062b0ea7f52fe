//! Where in its interval a key runs: a stable hash, so that keys spread and restarts move nothing.

use std::{
    hash::{Hash, Hasher},
    time::Duration,
};

/// Where in its interval a key runs.
///
/// The slots of a key are the unix times `phase + n × interval`. A phase that is hashed from an id
/// spreads any number of keys evenly over the interval and is the same in every process, so that
/// neither a restart nor a move to another machine bunches them up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// The hash of the key, through its `Hash` implementation. Stable within one build of the
    /// program; for more than that take [`Phase::of`].
    #[default]
    Key,
    /// This hash, modulo the interval in milliseconds.
    Hashed(u64),
    /// This far into the interval, cut to whole milliseconds, modulo the interval.
    Offset(Duration),
}

impl Phase {
    /// Returns the phase of an id, the same for ever and everywhere.
    ///
    /// # Source
    ///
    /// FNV-1a with 64 bits, followed by the finalizer of MurmurHash3 (`fmix64`), for the low bits
    /// of FNV-1a alone follow the last byte too closely.
    ///
    /// # Examples
    ///
    /// ```
    /// use monitor_scheduler::Phase;
    ///
    /// assert_eq!(Phase::of(b"web"), Phase::Hashed(0x8b8f_9c35_7cbd_25a9));
    /// ```
    #[must_use]
    pub fn of(id: &[u8]) -> Self {
        let mut hasher = StableHasher::new();
        hasher.write(id);
        Self::Hashed(hasher.finish())
    }

    /// The offset into an interval of so many milliseconds.
    pub(crate) fn offset_ms(self, key: &impl Hash, interval_ms: u64) -> u64 {
        let hash = match self {
            Self::Key => {
                let mut hasher = StableHasher::new();
                key.hash(&mut hasher);
                hasher.finish()
            }
            Self::Hashed(hash) => hash,
            Self::Offset(offset) => u64::try_from(offset.as_millis()).unwrap_or(u64::MAX),
        };
        hash % interval_ms
    }
}

/// FNV-1a with a finalizer.
struct StableHasher(u64);

impl StableHasher {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        let mut hash = self.0;
        hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ hash >> 33
    }
}
