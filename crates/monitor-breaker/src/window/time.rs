//! The calls of the last so much time, without a lock: a success is one compare-and-swap on a
//! cache line of its thread's own, however many calls are in the window.

mod cell;

use std::{num::NonZeroU64, time::Duration};

use self::cell::{Added, Cell, Stamp};
use crate::{
    sync::{Ordering, TICKS, fence},
    window::{Counts, Record},
    word::nanos,
};

/// A ring of ticks for each of a few shards; a thread always records in the same shard. It slides
/// by a tick, of which there are 16: it is never older than the span, and never younger than the
/// span less one tick.
///
/// INV-BREAKER-7: a call is counted once, in its tick, and only in the epoch that admitted it.
#[derive(Debug)]
pub(crate) struct TimeWindow {
    shards: Box<[Shard]>,
    /// `2^64 / tick`, rounded up: a multiplication tells the tick where a division would.
    ticks_per_nano: NonZeroU64,
}

/// Aligned so that no two shards share a cache line, nor the pair that is fetched together.
#[derive(Debug)]
#[repr(align(128))]
struct Shard([Bucket; TICKS]);

#[derive(Debug, Default)]
struct Bucket {
    calls: Cell,
    failures: Cell,
    slow_calls: Cell,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// It counts, unless it was so late that its tick has left the window.
    Counted,
    /// It is of an older epoch: nothing changed.
    Stale,
}

impl TimeWindow {
    /// Returns an empty window with `shards` shards, rounded up to a power of two.
    pub(crate) fn new(span: Duration, shards: usize) -> TimeWindow {
        let tick = (nanos(span) / TICKS as u64).max(2);
        let shard = |_| Shard(std::array::from_fn(|_| Bucket::default()));
        TimeWindow {
            shards: (0..shards.next_power_of_two()).map(shard).collect(),
            ticks_per_nano: NonZeroU64::MIN.saturating_add(u64::MAX / tick),
        }
    }

    /// Returns as many shards as there are processors, up to 8.
    pub(crate) fn default_shards() -> usize {
        std::thread::available_parallelism().map_or(1, |count| count.get().min(8))
    }

    /// Counts a call that ended at `now`, if `is_current` says that its epoch is. `thread` chooses
    /// the shard.
    #[inline]
    pub(crate) fn record(
        &self,
        thread: usize,
        now: Duration,
        call: Record,
        is_current: impl Fn() -> bool,
    ) -> Recorded {
        let stamp = self.stamp(now);
        let shard = &self.shards[thread & (self.shards.len() - 1)];
        let bucket = &shard.0[stamp.index()];
        // The call first: whoever sees its failure sees it as well.
        if bucket.calls.add(stamp, &is_current) == Added::Stale {
            return Recorded::Stale;
        }
        if call.is_bad() {
            Self::record_bad(bucket, stamp, call, &is_current);
        }
        Recorded::Counted
    }

    /// Should the epoch end in between, the call that was counted already is cleared with it.
    #[cold]
    fn record_bad(bucket: &Bucket, stamp: Stamp, call: Record, is_current: &impl Fn() -> bool) {
        if call.failed {
            let _stale = bucket.failures.add(stamp, is_current);
        }
        if call.slow {
            let _stale = bucket.slow_calls.add(stamp, is_current);
        }
        // INV-BREAKER-8: of two threads that record here and then sum up, on whatever shards, one
        // sees both records: without this fence each might miss the other's.
        fence(Ordering::SeqCst);
    }

    /// Sums up the calls of the span that ends at `now`, or at the latest call where another thread
    /// brought a later time: of two that record and then sum up, the older must not miss the newer.
    pub(crate) fn counts(&self, now: Duration) -> Counts {
        let now = self.latest(self.stamp(now));
        let mut sum = Counts::default();
        for bucket in self.shards.iter().flat_map(|shard| &shard.0) {
            // In the opposite order of recording, so that no failure is seen without its call.
            let [slow_calls, failures, calls] =
                [&bucket.slow_calls, &bucket.failures, &bucket.calls].map(Cell::read);
            let Some(stamp) = calls.stamp().filter(|stamp| stamp.age_at(now) < TICKS) else {
                continue;
            };
            sum.calls += calls.count();
            sum.failures += failures.count_if(stamp);
            sum.slow_calls += slow_calls.count_if(stamp);
        }
        sum
    }

    /// Returns the latest tick that counts calls, if that is after `now` and no jump of a clock.
    fn latest(&self, now: Stamp) -> Stamp {
        let buckets = self.shards.iter().flat_map(|shard| &shard.0);
        let stamps = buckets.filter_map(|bucket| bucket.calls.read().stamp());
        let later = stamps.filter(|stamp| stamp.is_ahead_of(now));
        later.max_by_key(|stamp| now.age_at(*stamp)).unwrap_or(now)
    }

    /// Forgets every call. `epoch` is larger than at any call before. Called under the breaker's
    /// lock, when the word says already that no verdict of an older epoch counts, and before a call
    /// of the new one is admitted: records that race with this fail or find themselves stale.
    pub(crate) fn clear(&self, epoch: u64) {
        for bucket in self.shards.iter().flat_map(|shard| &shard.0) {
            for cell in [&bucket.calls, &bucket.failures, &bucket.slow_calls] {
                cell.clear(epoch);
            }
        }
    }

    fn stamp(&self, now: Duration) -> Stamp {
        let product = u128::from(nanos(now)) * u128::from(self.ticks_per_nano.get());
        Stamp::of_tick((product >> 64) as u64)
    }
}

#[cfg(test)]
mod tests;
