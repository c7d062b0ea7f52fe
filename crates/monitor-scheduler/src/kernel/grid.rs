//! The slots of a key: a fixed grid, so that its rate neither drifts nor bunches.

use super::tick::Tick;

/// The ticks `offset + n × interval`, both of which a spec keeps below 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    offset_ms: u32,
    interval_ms: u32,
}

impl Grid {
    /// The grid with these slots. The interval must not be zero, and no spec has such a one.
    pub(crate) fn new(offset_ms: u32, interval_ms: u32) -> Self {
        Self {
            offset_ms,
            interval_ms,
        }
    }

    /// The grid whose slots in unix time are `phase_ms + n × interval_ms`, seen from an origin at
    /// `origin_unix_ms`.
    pub(crate) fn of_unix(phase_ms: u64, interval_ms: u32, origin_unix_ms: u64) -> Self {
        let interval = u64::from(interval_ms);
        let (phase, origin) = (phase_ms % interval, origin_unix_ms % interval);
        Self {
            // Below the interval.
            offset_ms: ((phase + interval - origin) % interval) as u32,
            interval_ms,
        }
    }

    pub(crate) fn offset_ms(&self) -> u32 {
        self.offset_ms
    }

    pub(crate) fn interval_ms(&self) -> u64 {
        u64::from(self.interval_ms)
    }

    /// The first slot that is not before `at`.
    pub(crate) fn at_or_after(&self, at: Tick) -> Tick {
        let interval = self.interval_ms();
        let into = at.0 % interval;
        let wait = u64::from(self.offset_ms) + interval - into;
        at.plus(if wait >= interval {
            wait - interval
        } else {
            wait
        })
    }

    /// Which slot this one is.
    pub(crate) fn number(&self, slot: Tick) -> u64 {
        slot.0 / self.interval_ms()
    }

    /// How many slots there are from `first`, itself one, up to but without `end`.
    pub(crate) fn slots(&self, first: Tick, end: Tick) -> u32 {
        let slots = end.since(first).div_ceil(self.interval_ms());
        u32::try_from(slots).unwrap_or(u32::MAX)
    }

    /// The last of `slots` slots from `first` on.
    pub(crate) fn last(&self, first: Tick, slots: u32) -> Tick {
        let between = u64::from(slots.saturating_sub(1));
        first.plus(self.interval_ms().saturating_mul(between))
    }
}
