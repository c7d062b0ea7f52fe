//! Times and spans in words.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The moment for which a page is made, and the zone whose clock it shows.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    /// Unix time in milliseconds.
    pub(crate) unix_ms: i64,
    /// The zone of the reader, as far as the server knows: its own.
    pub(crate) zone: TimeZone,
}

impl Moment {
    /// The time of day of `unix_ms`, with the day when it is not today: `13:51`, `20 Nov 13:51`.
    pub(crate) fn clock(&self, unix_ms: i64) -> String {
        let now = self.zoned(self.unix_ms);
        let then = self.zoned(unix_ms);
        let format = if now.date() == then.date() {
            "%H:%M"
        } else {
            "%-d %b %H:%M"
        };
        then.strftime(format).to_string()
    }

    /// The time of day of `unix_ms` to the second, `14:02:31`.
    pub(crate) fn clock_seconds(&self, unix_ms: i64) -> String {
        self.zoned(unix_ms).strftime("%H:%M:%S").to_string()
    }

    /// What the zone is called, such as `UTC` or `CET`.
    pub(crate) fn zone_name(&self) -> String {
        self.zoned(self.unix_ms).strftime("%Z").to_string()
    }

    /// How far the zone's clock is ahead of UTC, in seconds.
    pub(crate) fn offset_seconds(&self) -> i32 {
        self.zoned(self.unix_ms).offset().seconds()
    }

    /// For how long `since_unix_ms` is past, in words.
    pub(crate) fn since(&self, since_unix_ms: i64) -> String {
        span(millis(self.unix_ms.saturating_sub(since_unix_ms)))
    }

    /// `in 4 s`, `now`.
    pub(crate) fn until(&self, unix_ms: i64) -> String {
        let ahead = millis(unix_ms.saturating_sub(self.unix_ms));
        if ahead < Duration::from_millis(500) {
            return "now".to_owned();
        }
        // Whole seconds: the figure counts down on the page.
        let seconds = (ahead.as_millis() + 500) / 1000;
        format!(
            "in {}",
            brief(Duration::from_secs(
                u64::try_from(seconds).unwrap_or(u64::MAX)
            ))
        )
    }

    fn zoned(&self, unix_ms: i64) -> jiff::Zoned {
        // Out of range only beyond the year 9999, where the epoch is as good an answer as any.
        let timestamp = Timestamp::from_millisecond(unix_ms).unwrap_or(Timestamp::UNIX_EPOCH);
        timestamp.to_zoned(self.zone.clone())
    }
}

/// A non-negative span of milliseconds.
pub(crate) fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// A span for a sentence: `a moment`, `12 seconds`, `11 minutes`, `3 hours`, `2 days`.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (count, unit) = match seconds {
        0..2 => return "a moment".to_owned(),
        2..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// A setting or a rest for a table: `250 ms`, `1.5 s`, `30 s`, `5 min`, `1 h 30 min`, `2 d`.
pub(crate) fn brief(span: Duration) -> String {
    let ms = span.as_millis();
    let two = |whole: u128, unit: &str, rest: u128, small: &str| match rest {
        0 => format!("{whole} {unit}"),
        rest => format!("{whole} {unit} {rest} {small}"),
    };
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 if !ms.is_multiple_of(1000) && ms < 10_000 => {
            format!("{}.{} s", ms / 1000, ms % 1000 / 100)
        }
        1000..60_000 => format!("{} s", ms / 1000),
        60_000..3_600_000 => two(ms / 60_000, "min", ms % 60_000 / 1000, "s"),
        3_600_000..86_400_000 => two(ms / 3_600_000, "h", ms % 3_600_000 / 60_000, "min"),
        _ => two(ms / 86_400_000, "d", ms % 86_400_000 / 3_600_000, "h"),
    }
}

/// A measured time with two or three telling digits: `0.4 ms`, `41 ms`, `812 ms`, `2.4 s`.
pub(crate) fn measured(took: Duration) -> String {
    let us = took.as_micros();
    match us {
        0..10_000 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        10_000..1_000_000 => format!("{} ms", us / 1000),
        1_000_000..100_000_000 => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
        _ => format!("{} s", us / 1_000_000),
    }
}

/// A label of a scale: `250 ms`, `1.5 s`, without digits that say nothing.
pub(crate) fn measured_round(took: Duration) -> String {
    let us = took.as_micros();
    let (whole, thousandths, unit) = match us {
        0..1_000_000 => (us / 1000, us % 1000, "ms"),
        _ => (us / 1_000_000, us % 1_000_000 / 1000, "s"),
    };
    let rest = format!("{thousandths:03}");
    match rest.trim_end_matches('0') {
        "" => format!("{whole} {unit}"),
        rest => format!("{whole}.{rest} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_a_scale_have_no_idle_digits() {
        let cases = [
            (100, "0.1 ms"),
            (1_250, "1.25 ms"),
            (250_000, "250 ms"),
            (1_500_000, "1.5 s"),
        ];
        for (us, text) in cases {
            assert_eq!(measured_round(Duration::from_micros(us)), text);
        }
    }

    #[test]
    fn spans_in_a_table() {
        let cases = [
            (0, "a moment"),
            (1999, "a moment"),
            (2000, "2 seconds"),
            (59_999, "59 seconds"),
            (60_000, "1 minute"),
            (11 * 60_000 + 5, "11 minutes"),
            (3_600_000, "1 hour"),
            (7_300_000, "2 hours"),
            (86_400_000, "1 day"),
            (40 * 86_400_000, "40 days"),
        ];
        for (ms, text) in cases {
            assert_eq!(span(millis(ms)), text, "{ms} ms");
        }
    }

    #[test]
    fn settings_in_a_table() {
        let cases = [
            (0, "0 ms"),
            (250, "250 ms"),
            (1000, "1 s"),
            (1500, "1.5 s"),
            (30_000, "30 s"),
            (60_000, "1 min"),
            (90_000, "1 min 30 s"),
            (5_400_000, "1 h 30 min"),
            (86_400_000, "1 d"),
        ];
        for (ms, text) in cases {
            assert_eq!(brief(millis(ms)), text, "{ms} ms");
        }
    }

    #[test]
    fn measured_times_in_a_table() {
        let cases = [
            (0, "0.0 ms"),
            (412, "0.4 ms"),
            (3_049, "3.0 ms"),
            (41_900, "41 ms"),
            (812_000, "812 ms"),
            (2_449_000, "2.4 s"),
            (120_000_000, "120 s"),
        ];
        for (us, text) in cases {
            assert_eq!(measured(Duration::from_micros(us)), text, "{us} us");
        }
    }

    #[test]
    fn the_day_is_named_when_it_is_not_today() {
        let now = Moment {
            unix_ms: 1_763_733_751_000,
            zone: TimeZone::UTC,
        };
        assert_eq!(now.clock_seconds(now.unix_ms), "14:02:31");
        assert_eq!(now.clock(now.unix_ms - 11 * 60_000), "13:51");
        assert_eq!(now.clock(now.unix_ms - 86_400_000), "20 Nov 14:02");
        assert_eq!(now.zone_name(), "UTC");
        assert_eq!(now.clock(i64::MAX), "1 Jan 00:00");
    }

    #[test]
    fn what_is_ahead_is_rounded_to_whole_seconds() {
        let now = Moment {
            unix_ms: 1_000_000,
            zone: TimeZone::UTC,
        };
        let cases = [
            (-5000, "now"),
            (499, "now"),
            (500, "in 1 s"),
            (4_400, "in 4 s"),
        ];
        for (ahead, text) in cases {
            assert_eq!(now.until(now.unix_ms + ahead), text, "{ahead}");
        }
        assert_eq!(now.until(now.unix_ms + 125_000), "in 2 min 5 s");
    }
}
