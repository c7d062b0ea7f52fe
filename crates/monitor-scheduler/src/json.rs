//! The status as the admin API writes it.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::{MissedCounts, MissedReason, Pace, ProbeStatus};

pub(crate) fn ms<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) fn optional_ms<S: Serializer>(
    duration: &Option<Duration>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => ms(duration, to),
        None => to.serialize_none(),
    }
}

pub(crate) fn rfc3339<S: Serializer>(unix: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match unix {
        Some(unix) => to.collect_str(&timestamp(*unix)),
        None => to.serialize_none(),
    }
}

/// The pace as a text.
pub(crate) fn pace<S: Serializer>(pace: &Pace, to: S) -> Result<S::Ok, S::Error> {
    match pace {
        Pace::Full => to.serialize_str("full"),
        Pace::Stretched(factor) => to.collect_str(&format_args!("stretched x{factor}")),
        Pace::Suspended => to.serialize_str("suspended"),
    }
}

impl Serialize for MissedCounts {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(MissedReason::ALL.map(|reason| (reason.as_str(), self.of(reason))))
    }
}

/// The states as a map by key. The key has to serialize as a text.
pub(crate) fn by_service<K: Serialize, S: Serializer>(
    states: &[ProbeStatus<K>],
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_map(states.iter().map(|state| (&state.service, state)))
}

/// A unix time as RFC 3339 writes it, in UTC with milliseconds.
///
/// # Source
///
/// The days are made into a date as by H. Hinnant, "chrono-Compatible Low-Level Date Algorithms",
/// `civil_from_days`.
fn timestamp(unix: Duration) -> String {
    let (seconds, ms) = (unix.as_secs(), unix.subsec_millis());
    // Counted from 1 March of the year 0, so that a leap day is the last of its year.
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps() {
        let at = |seconds, ms: u32| timestamp(Duration::new(seconds, ms * 1_000_000));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400, 1), "2000-02-29T00:00:00.001Z");
        assert_eq!(at(1_709_251_199, 999), "2024-02-29T23:59:59.999Z");
        assert_eq!(at(1_795_230_245, 120), "2026-11-21T03:04:05.120Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
    }
}
