//! A histogram of times with a relative error of 3 %, that many threads may fill at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many buckets double the time.
const PER_OCTAVE: u64 = 32;

/// Up to 2^41 ns, more than half an hour.
const BUCKETS: usize = 37 * PER_OCTAVE as usize;

/// Counts by bucket: the width doubles from octave to octave, as the values do.
pub(super) struct Histogram {
    counts: Box<[AtomicU64]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Histogram {
    pub(super) fn record(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let bucket = index(nanos).min(BUCKETS - 1);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
    }

    /// The least time that such a share of all does not exceed, to the end of its bucket.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        let counts: Vec<u64> = self
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        let wanted = (counts.iter().sum::<u64>() as f64 * share).ceil() as u64;
        let mut seen = 0;
        let reached = counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        Duration::from_nanos(reached.map_or(0, end))
    }
}

/// Exact below `PER_OCTAVE`; above, the leading five bits after the first.
fn index(nanos: u64) -> usize {
    if nanos < PER_OCTAVE {
        return nanos as usize;
    }
    let octave = u64::from(nanos.ilog2() - PER_OCTAVE.ilog2());
    (octave * PER_OCTAVE + (nanos >> octave)) as usize
}

/// The largest value of a bucket.
fn end(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * PER_OCTAVE {
        return index;
    }
    let octave = index / PER_OCTAVE - 1;
    let leading = index - octave * PER_OCTAVE;
    ((leading + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_a_bucket_that_ends_3_percent_above_at_most() {
        for nanos in (0..2000).chain([1 << 20, (1 << 30) + 12_345, 999_999_999_999]) {
            let end = end(index(nanos));
            assert!(end >= nanos && end - nanos <= nanos / 32, "{nanos} {end}");
            assert!(index(nanos) < BUCKETS);
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
        (1..=30).for_each(|nanos| histogram.record(Duration::from_nanos(nanos)));
        assert_eq!(histogram.quantile(0.5), Duration::from_nanos(15));
        assert_eq!(histogram.quantile(1.0), Duration::from_nanos(30));
        histogram.record(Duration::MAX);
        assert!(histogram.quantile(1.0) > Duration::from_secs(1800));
    }
}
