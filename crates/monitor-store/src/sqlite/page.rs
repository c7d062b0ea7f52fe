//! Pages of buckets: the minutes of an hour, the hours of a day, the days of 32, in one row each.
//!
//! A row for a bucket would be three quarters key and header. A page is a run of buckets, those
//! left out in which nothing was due:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | place in the page, rising |
//! | 1 | which of the optional numbers follow |
//! | 1 to 10 | up, as a varint of 7 bits a byte, the lowest first, as all numbers here |
//! | optional | degraded; down; due and none of the three |
//! | optional | of the latencies: count where it is not up + degraded; least, greatest - least, sum |

use monitor_model::{Bucket, Latency, Resolution, Tally};

const DEGRADED: u8 = 1;
const DOWN: u8 = 2;
const OTHER: u8 = 4;
const LATENCY: u8 = 8;
const COUNT: u8 = 16;
const ALL: u8 = DEGRADED | DOWN | OTHER | LATENCY | COUNT;

/// How long a page is, in milliseconds.
const fn length_ms(resolution: Resolution) -> i64 {
    match resolution {
        Resolution::Minute => Resolution::Hour.length_ms(),
        Resolution::Hour => Resolution::Day.length_ms(),
        Resolution::Day => 32 * Resolution::Day.length_ms(),
    }
}

/// The number of the page that an instant lies in.
pub(crate) const fn number(resolution: Resolution, unix_ms: i64) -> i64 {
    unix_ms.div_euclid(length_ms(resolution))
}

fn place(resolution: Resolution, start_unix_ms: i64) -> u8 {
    let within = start_unix_ms.rem_euclid(length_ms(resolution)) / resolution.length_ms();
    // Below 60, 24 or 32.
    u8::try_from(within).unwrap_or(u8::MAX)
}

/// When the bucket at a place of a page begins.
pub(crate) fn start(resolution: Resolution, number: i64, place: u8) -> i64 {
    let page = i128::from(number) * i128::from(length_ms(resolution));
    let start = page + i128::from(place) * i128::from(resolution.length_ms());
    // As `Resolution::start_of` has it, which is cut off at the least number.
    i64::try_from(start).unwrap_or(if start < 0 { i64::MIN } else { i64::MAX })
}

/// The bytes of a page. The buckets are of one page, oldest first, each once.
pub(crate) fn encode(resolution: Resolution, buckets: &[Bucket]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(buckets.len() * 12);
    for bucket in buckets {
        let (tally, latency) = (&bucket.tally, &bucket.latency);
        let other = tally.due.saturating_sub(tally.observed());
        let answered = tally.up.saturating_add(tally.degraded);
        let is_timed = latency.count > 0;
        let optional = [
            (DEGRADED, tally.degraded > 0, tally.degraded),
            (DOWN, tally.down > 0, tally.down),
            (OTHER, other > 0, other),
            (COUNT, is_timed && latency.count != answered, latency.count),
            (LATENCY, is_timed, latency.min_us),
            (
                LATENCY,
                is_timed,
                latency.max_us.saturating_sub(latency.min_us),
            ),
            (LATENCY, is_timed, latency.sum_us),
        ];
        let present = |mask, &(bit, is_present, _): &(u8, bool, u64)| {
            if is_present { mask | bit } else { mask }
        };
        bytes.push(place(resolution, bucket.start_unix_ms));
        bytes.push(optional.iter().fold(0, present));
        put(&mut bytes, tally.up);
        for (_, _, number) in optional.iter().filter(|(_, is_present, _)| *is_present) {
            put(&mut bytes, *number);
        }
    }
    bytes
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// The buckets of a page, or what is wrong with its bytes.
pub(crate) fn decode(
    resolution: Resolution,
    number: i64,
    bytes: &[u8],
) -> Result<Vec<Bucket>, &'static str> {
    let mut rest = bytes.iter().copied();
    let places = length_ms(resolution) / resolution.length_ms();
    let mut buckets: Vec<Bucket> = Vec::new();
    let mut next = 0;
    while let Some(place) = rest.next() {
        if place < next || i64::from(place) >= places {
            return Err("a place that cannot be there");
        }
        next = place + 1;
        let mask = rest.next().ok_or(CUT)?;
        if mask & !ALL != 0 {
            return Err("a mask that cannot be");
        }
        buckets.push(Bucket {
            start_unix_ms: start(resolution, number, place),
            ..numbers(mask, &mut rest)?
        });
    }
    Ok(buckets)
}

const CUT: &str = "cut off";

fn numbers(mask: u8, rest: &mut impl Iterator<Item = u8>) -> Result<Bucket, &'static str> {
    let up = take(rest)?;
    let mut optional = |bit: u8, otherwise: u64| match mask & bit {
        0 => Ok(otherwise),
        _ => take(rest),
    };
    let (degraded, down) = (optional(DEGRADED, 0)?, optional(DOWN, 0)?);
    let other = optional(OTHER, 0)?;
    let mut tally = Tally {
        up,
        degraded,
        down,
        due: 0,
    };
    tally.due = tally.observed().saturating_add(other);
    let count = optional(COUNT, up.saturating_add(degraded))?;
    let min_us = optional(LATENCY, 0)?;
    let (more_us, sum_us) = (optional(LATENCY, 0)?, optional(LATENCY, 0)?);
    let latency = match mask & LATENCY {
        0 => Latency::NONE,
        _ => Latency {
            count,
            min_us,
            sum_us,
            max_us: min_us.saturating_add(more_us),
        },
    };
    Ok(Bucket {
        start_unix_ms: 0,
        tally,
        latency,
    })
}

fn take(rest: &mut impl Iterator<Item = u8>) -> Result<u64, &'static str> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = rest.next().ok_or(CUT)?;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part {
            break;
        }
        number |= part << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err("a number of more than 64 bits")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count() -> impl Strategy<Value = u64> {
        prop_oneof![3 => Just(0), 5 => 0u64..9_000_000, 1 => Just(i64::MAX.unsigned_abs())]
    }

    fn bucket() -> impl Strategy<Value = Bucket> {
        let latency = (count(), count(), count(), count());
        (count(), count(), count(), count(), latency).prop_map(|(up, degraded, down, other, of)| {
            let mut tally = Tally {
                up,
                degraded,
                down,
                due: 0,
            };
            tally.due = tally.observed().saturating_add(other);
            let latency = match of {
                (0, ..) => Latency::NONE,
                (count, min_us, more, sum_us) => Latency {
                    count,
                    min_us,
                    sum_us,
                    max_us: min_us.saturating_add(more),
                },
            };
            Bucket {
                start_unix_ms: 0,
                tally,
                latency,
            }
        })
    }

    fn resolution() -> impl Strategy<Value = Resolution> {
        proptest::sample::select(&Resolution::ALL[..])
    }

    proptest! {
        #[test]
        fn a_page_reads_back(
            resolution in resolution(),
            time in prop_oneof![Just(i64::MIN), Just(i64::MAX), any::<i64>(), -9i64..9],
            buckets in proptest::collection::btree_map(0u8..24, bucket(), 0..24),
        ) {
            let page = number(resolution, time);
            let buckets: Vec<_> = buckets
                .into_iter()
                .map(|(place, bucket)| Bucket {
                    start_unix_ms: start(resolution, page, place),
                    ..bucket
                })
                // Before the least number there is one bucket only, cut off.
                .filter(|bucket| bucket.start_unix_ms > i64::MIN && bucket.start_unix_ms < i64::MAX)
                .collect();
            let bytes = encode(resolution, &buckets);
            prop_assert_eq!(decode(resolution, page, &bytes), Ok(buckets));
        }

        /// OPS-19: whatever a row holds, reading it ends, and in an error if it is no page.
        #[test]
        fn no_bytes_panic(
            resolution in resolution(),
            page in any::<i64>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            if let Ok(buckets) = decode(resolution, page, &bytes) {
                prop_assert!(buckets.len() <= 60);
            }
        }

        #[test]
        fn the_start_of_a_bucket_is_that_of_its_record(
            resolution in resolution(),
            time in prop_oneof![Just(i64::MIN), Just(i64::MAX), any::<i64>()],
        ) {
            let bucket = Bucket { tally: Tally { due: 1, ..Tally::ZERO }, ..Bucket::new(resolution.start_of(time)) };
            let page = number(resolution, time);
            prop_assert_eq!(decode(resolution, page, &encode(resolution, &[bucket])), Ok(vec![bucket]));
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let wrong = |bytes: &[u8]| decode(Resolution::Minute, 0, bytes).unwrap_err();
        assert_eq!(wrong(&[0]), CUT);
        assert_eq!(wrong(&[0, 0]), CUT);
        assert_eq!(wrong(&[0, DOWN, 1]), CUT);
        assert_eq!(wrong(&[60, 0, 1]), "a place that cannot be there");
        assert_eq!(wrong(&[5, 0, 1, 5, 0, 1]), "a place that cannot be there");
        assert_eq!(wrong(&[0, 0x80, 1]), "a mask that cannot be");
        assert_eq!(
            wrong(&[[0, 0].as_slice(), &[0xff; 10]].concat()),
            "a number of more than 64 bits"
        );
    }

    /// A minute of a check every ten seconds takes a dozen bytes.
    #[test]
    fn a_plain_bucket_is_small() {
        let tally = Tally {
            up: 6,
            degraded: 0,
            down: 0,
            due: 6,
        };
        let latency = Latency {
            count: 6,
            min_us: 48_000,
            sum_us: 310_000,
            max_us: 61_000,
        };
        let bytes = encode(
            Resolution::Minute,
            &[Bucket {
                start_unix_ms: 0,
                tally,
                latency,
            }],
        );
        assert_eq!(bytes.len(), 11);
    }
}
