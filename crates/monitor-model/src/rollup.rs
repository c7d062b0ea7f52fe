//! Counts and latencies of a span of time: what is left of history once its lines are gone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Outcome, Record, Tally, UnknownOutcome};

/// How long the span of a [`Bucket`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// 24 hours, from midnight UTC.
    Day,
}

impl Resolution {
    /// All of them, the finest first.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// The name in JSON and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// The length of a span in milliseconds.
    #[must_use]
    pub const fn length_ms(self) -> i64 {
        match self {
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        }
    }

    /// When the span begins that `unix_ms` lies in. Spans begin at whole multiples of their length,
    /// before 1970 too.
    ///
    /// ```
    /// use monitor_model::Resolution;
    /// assert_eq!(Resolution::Minute.start_of(60_001), 60_000);
    /// assert_eq!(Resolution::Minute.start_of(-1), -60_000);
    /// ```
    #[must_use]
    pub const fn start_of(self, unix_ms: i64) -> i64 {
        unix_ms.saturating_sub(unix_ms.rem_euclid(self.length_ms()))
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Resolution {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<Self, UnknownOutcome> {
        let named = Self::ALL.into_iter().find(|each| each.as_str() == text);
        named.ok_or_else(|| UnknownOutcome(text.to_owned()))
    }
}

/// The due times of a monitor in one span of time, by what became of them.
///
/// A record that stands for several due times is counted, whole, in the span of the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// When the span begins, in unix milliseconds.
    pub start_unix_ms: i64,
    /// Due times by what became of them.
    #[serde(flatten)]
    pub tally: Tally,
    /// How long the checks took that were answered.
    pub latency: Latency,
}

impl Bucket {
    /// An empty span that begins at `start_unix_ms`.
    #[must_use]
    pub const fn new(start_unix_ms: i64) -> Self {
        let (tally, latency) = (Tally::ZERO, Latency::NONE);
        Self {
            start_unix_ms,
            tally,
            latency,
        }
    }

    /// The span of one record.
    #[must_use]
    pub fn of(record: &Record, resolution: Resolution) -> Self {
        let mut bucket = Self::new(resolution.start_of(record.due_unix_ms));
        bucket.add(record);
        bucket
    }

    /// Counts a record, wherever it lies.
    pub fn add(&mut self, record: &Record) {
        self.tally.add(record.outcome(), record.slots);
        self.latency.merge(&Latency::of(record));
    }

    /// Counts what another span has counted. In whatever order spans are merged, the sum is the
    /// same.
    pub fn merge(&mut self, other: &Self) {
        self.tally.merge(&other.tally);
        self.latency.merge(&other.latency);
    }
}

/// How long checks took, in microseconds.
///
/// Only checks that came to up or degraded: the time of a failure is that of a timeout or of a
/// refusal, and says nothing about how fast the target answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// How many checks. While it is 0, the others are 0 and mean nothing.
    pub count: u64,
    /// The quickest.
    pub min_us: u64,
    /// All together.
    pub sum_us: u64,
    /// The slowest.
    pub max_us: u64,
}

impl Latency {
    /// Of no check.
    pub const NONE: Self = Self {
        count: 0,
        min_us: 0,
        sum_us: 0,
        max_us: 0,
    };

    /// That of one record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let answered = matches!(record.outcome(), Outcome::Up | Outcome::Degraded);
        let Some(took) = record.took.filter(|_| answered) else {
            return Self::NONE;
        };
        // A store keeps signed 64 bits.
        let limit = i64::MAX.unsigned_abs();
        let us = u64::try_from(took.as_micros()).map_or(limit, |us| us.min(limit));
        Self {
            count: 1,
            min_us: us,
            sum_us: us,
            max_us: us,
        }
    }

    /// Counts what another has counted.
    pub fn merge(&mut self, other: &Self) {
        let limit = i64::MAX.unsigned_abs();
        *self = match (self.count, other.count) {
            (_, 0) => *self,
            (0, _) => *other,
            _ => Self {
                count: self.count.saturating_add(other.count).min(limit),
                min_us: self.min_us.min(other.min_us),
                sum_us: self.sum_us.saturating_add(other.sum_us).min(limit),
                max_us: self.max_us.max(other.max_us),
            },
        };
    }

    /// The mean in microseconds, cut to whole ones. `None` without any check.
    #[must_use]
    pub const fn mean_us(&self) -> Option<u64> {
        self.sum_us.checked_div(self.count)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use monitor_fault::{Fault, Layer, Reason};
    use monitor_operation::Epoch;
    use proptest::prelude::*;

    use super::*;
    use crate::{Observation, Phases, Unobserved};

    fn record(due_unix_ms: i64, kind: u8, took_us: u64) -> Record {
        let (id, epoch) = ("a".parse().unwrap(), Epoch::new(1));
        let fault = Fault::new(Layer::Connect, Reason::Refused);
        let observation = match kind {
            0 => Observation::up(),
            1 => Observation::fault(fault),
            _ => return Record::unobserved(id, epoch, due_unix_ms, 3, Unobserved::Overload),
        };
        let mut record = Record::observed(id, epoch, due_unix_ms, observation, Phases::default());
        record.took = Some(Duration::from_micros(took_us));
        record
    }

    #[test]
    fn spans_hold_the_time_they_are_of() {
        for resolution in Resolution::ALL {
            assert_eq!(resolution.as_str().parse(), Ok(resolution));
            for time in [i64::MIN, -86_400_001, -1, 0, 59_999, 1_800_000_000_123] {
                let start = resolution.start_of(time);
                assert!(start <= time, "{resolution} of {time} begins at {start}");
                assert!(time.abs_diff(start) < resolution.length_ms().unsigned_abs());
            }
        }
    }

    #[test]
    fn only_answers_have_a_latency() {
        let mut bucket = Bucket::new(0);
        for each in [record(0, 0, 30), record(1, 1, 9_000_000), record(2, 2, 0)] {
            bucket.add(&each);
        }
        let tally = bucket.tally;
        assert_eq!((tally.up, tally.down, tally.due), (1, 1, 5));
        assert_eq!(bucket.latency.mean_us(), Some(30));
        assert_eq!(Latency::NONE.mean_us(), None);
    }

    proptest! {
        /// Hours of minutes are hours of records: what is rolled up is neither lost nor doubled.
        #[test]
        fn a_sum_of_sums_is_the_sum(
            records in proptest::collection::vec((0i64..7_200_000, 0u8..3, 0u64..9_000), 0..40),
            cut in 0usize..40,
        ) {
            let add = |part: &[(i64, u8, u64)]| {
                let mut bucket = Bucket::new(0);
                part.iter().for_each(|&(due, kind, us)| bucket.add(&record(due, kind, us)));
                bucket
            };
            let (early, late) = records.split_at(cut.min(records.len()));
            let (mut one, mut other) = (add(early), add(late));
            one.merge(&add(late));
            other.merge(&add(early));
            prop_assert_eq!(one, add(&records));
            prop_assert_eq!(one, other);
        }
    }
}
