//! When a schedule ticks: five fields, in a time zone, each tick once.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, date};
use jiff::tz::TimeZone;

/// Far enough for the 29th of February on a given weekday.
const LONGEST_SEARCH_DAYS: u32 = 366 * 29;
/// More than any clock is put forward or back at once, in hours.
const WIDEST_SHIFT: i64 = 3;

/// A schedule in the five fields of cron: minute, hour, day of the month, month, day of the week.
///
/// Each field is `*`, a number, a name (`jan`, `mon`), a range `a-b`, each with `/step`, or a list
/// of those with commas. Sunday is 0 and 7. If both days are restricted, either is enough. Also
/// `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
///
/// Times are UTC unless [`in_zone`](Self::in_zone) says otherwise. A time that the clock skips is
/// moved by as much as the clock was, and a time that it shows twice is the first of the two: each
/// tick comes once, and at an instant of its own.
///
/// ```
/// use monitor_jobs::Cron;
///
/// let nightly: Cron = "30 2 * * mon-fri".parse()?;
/// let sunday_noon = 1_700_395_200_000;
/// let monday = nightly.next_after(sunday_noon);
/// assert_eq!(monday, Some(sunday_noon + (14 * 60 + 30) * 60_000));
/// # Ok::<(), monitor_jobs::InvalidCron>(())
/// ```
#[derive(Debug, Clone)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether the days are restricted, and the weekdays.
    restricted: (bool, bool),
    zone: TimeZone,
}

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} of a schedule: {expected}")]
pub struct InvalidCron {
    /// Which part of it.
    pub what: &'static str,
    /// As it was written, cut to 80 characters.
    pub text: String,
    /// What would be right.
    pub expected: &'static str,
}

impl InvalidCron {
    fn new(what: &'static str, text: &str, expected: &'static str) -> Self {
        let text = text.chars().take(80).collect();
        Self {
            what,
            text,
            expected,
        }
    }
}

impl Cron {
    /// By the clocks of that zone, such as `Europe/Berlin`.
    ///
    /// # Errors
    /// When this machine does not know the zone.
    pub fn in_zone(self, name: &str) -> Result<Self, InvalidCron> {
        let zone = TimeZone::get(name).map_err(|_| {
            InvalidCron::new("time zone", name, "it must be one that this machine knows")
        })?;
        Ok(Self { zone, ..self })
    }

    /// The first tick after that unix time, both in milliseconds; none when there is none within
    /// a generation (the 30th of February) or that is not a time at all.
    #[must_use]
    pub fn next_after(&self, unix_ms: i64) -> Option<i64> {
        let after = Timestamp::from_millisecond(unix_ms).ok()?;
        let start = self.zone.to_datetime(after);
        let start = start
            .checked_sub(jiff::Span::new().hours(WIDEST_SHIFT))
            .ok()?;
        let mut first: Option<(DateTime, Timestamp)> = None;
        for civil in self.times_from(start) {
            if let Some((found, _)) = first
                && civil
                    > found
                        .checked_add(jiff::Span::new().hours(WIDEST_SHIFT))
                        .ok()?
            {
                break;
            }
            let Ok(instant) = self.zone.to_ambiguous_timestamp(civil).compatible() else {
                break;
            };
            if instant > after && first.is_none_or(|(_, earliest)| instant < earliest) {
                first = Some((first.map_or(civil, |(found, _)| found), instant));
            }
        }
        first.map(|(_, instant)| instant.as_millisecond())
    }

    /// The ticks after `last` and up to `now`, but at most the latest `most`: what was missed. They
    /// are looked for from the end, so that years without any node take no longer than a day.
    pub(crate) fn missed(&self, last: i64, now: i64, most: usize) -> Vec<i64> {
        let mut ticks = VecDeque::new();
        let mut until = now;
        while ticks.len() < most
            && let Some(tick) = latest(|at| self.next_after(at), last, until)
        {
            ticks.push_front(tick);
            until = tick.saturating_sub(1);
        }
        ticks.into()
    }

    /// Matching times on the clock, in their order.
    fn times_from(&self, start: DateTime) -> impl Iterator<Item = DateTime> {
        let days = std::iter::successors(Some(start.date()), |day| day.tomorrow().ok());
        days.take(LONGEST_SEARCH_DAYS as usize)
            .filter(|day| self.has_day(*day))
            .flat_map(|day| self.times_of(day))
            .skip_while(move |time| *time < start)
    }

    fn times_of(&self, day: Date) -> impl Iterator<Item = DateTime> {
        let hours = (0..24_i8).filter(|hour| self.hours & (1 << hour) != 0);
        hours.flat_map(move |hour| {
            let minutes = (0..60_i8).filter(|minute| self.minutes & (1 << minute) != 0);
            minutes.map(move |minute| day.at(hour, minute, 0, 0))
        })
    }

    fn has_day(&self, day: Date) -> bool {
        let weekday = day.weekday().to_sunday_zero_offset();
        let by_month = self.days & (1 << day.day()) != 0;
        let by_week = self.weekdays & (1 << weekday) != 0;
        let matches = match self.restricted {
            (true, true) => by_month || by_week,
            _ => by_month && by_week,
        };
        matches && self.months & (1 << day.month()) != 0
    }
}

/// The latest tick after `after` and up to `until`, where `next` says the first one after an instant.
/// Asks a few times for each doubling of the span in which there is none, however many are before.
fn latest(next: impl Fn(i64) -> Option<i64>, after: i64, until: i64) -> Option<i64> {
    let next = |at| next(at).filter(|tick| *tick <= until);
    let mut span = 60_000_i64;
    // No tick comes after it.
    let mut end = until;
    let mut found = loop {
        let from = until.saturating_sub(span).max(after);
        match next(from) {
            Some(tick) => break tick,
            None if from <= after => return None,
            None => end = from,
        }
        span = span.saturating_mul(2);
    };
    while let Some(later) = next(found) {
        found = later;
        let middle = found.midpoint(end);
        match next(middle) {
            Some(later) => found = later,
            None => end = middle,
        }
    }
    Some(found)
}

impl FromStr for Cron {
    type Err = InvalidCron;

    fn from_str(text: &str) -> Result<Self, InvalidCron> {
        let fields = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            fields => fields,
        };
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            let expected = "five fields: minute, hour, day of the month, month, day of the week";
            return Err(InvalidCron::new("text", text, expected));
        };
        let mut weekdays = WEEKDAY.parse(weekday)?;
        if weekdays & (1 << 7) != 0 {
            weekdays |= 1;
        }
        let cron = Self {
            minutes: MINUTE.parse(minute)?,
            hours: HOUR.parse(hour)?,
            days: DAY.parse(day)?,
            months: MONTH.parse(month)?,
            weekdays,
            restricted: (!day.starts_with('*'), !weekday.starts_with('*')),
            zone: TimeZone::UTC,
        };
        let never = date(2000, 1, 1).at(0, 0, 0, 0);
        if cron.times_from(never).next().is_none() {
            return Err(InvalidCron::new(
                "day of the month",
                day,
                "there is no such day",
            ));
        }
        Ok(cron)
    }
}

/// One of the five fields.
struct Field {
    what: &'static str,
    least: u64,
    most: u64,
    names: &'static [&'static str],
    expected: &'static str,
}

const MINUTE: Field = Field {
    what: "minute",
    least: 0,
    most: 59,
    names: &[],
    expected: "0 to 59, as *, a, a-b, with /step, or a list of those",
};
const HOUR: Field = Field {
    what: "hour",
    least: 0,
    most: 23,
    names: &[],
    expected: "0 to 23, as *, a, a-b, with /step, or a list of those",
};
const DAY: Field = Field {
    what: "day of the month",
    least: 1,
    most: 31,
    names: &[],
    expected: "1 to 31, as *, a, a-b, with /step, or a list of those",
};
const MONTH: Field = Field {
    what: "month",
    least: 1,
    most: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
    expected: "1 to 12 or jan to dec, as *, a, a-b, with /step, or a list of those",
};
const WEEKDAY: Field = Field {
    what: "day of the week",
    least: 0,
    most: 7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    expected: "0 to 7 or sun to sat, as *, a, a-b, with /step, or a list of those",
};

impl Field {
    /// The set of its numbers, one bit each.
    fn parse(&self, text: &str) -> Result<u64, InvalidCron> {
        let mut set = 0;
        for part in text.split(',') {
            let refused = || InvalidCron::new(self.what, text, self.expected);
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0)),
                None => (part, Some(1)),
            };
            let (first, last) = self.range(range, part.contains('/')).ok_or_else(refused)?;
            let step: usize = step.ok_or_else(refused)?;
            for number in (first..=last).step_by(step) {
                set |= 1 << number;
            }
        }
        Ok(set)
    }

    fn range(&self, text: &str, stepped: bool) -> Option<(u64, u64)> {
        let last = if self.what == WEEKDAY.what {
            6
        } else {
            self.most
        };
        if text == "*" {
            return Some((self.least, last));
        }
        match text.split_once('-') {
            Some((first, last)) => {
                let range = (self.number(first)?, self.number(last)?);
                (range.0 <= range.1).then_some(range)
            }
            None if stepped => Some((self.number(text)?, last)),
            None => self.number(text).map(|number| (number, number)),
        }
    }

    fn number(&self, text: &str) -> Option<u64> {
        let name = text.to_ascii_lowercase();
        let named = self.names.iter().position(|known| *known == name);
        let number = match named {
            Some(place) => place as u64 + self.least,
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
            None => return None,
        };
        (self.least..=self.most).contains(&number).then_some(number)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = self.zone.iana_name().unwrap_or("UTC");
        write!(f, "schedule in {zone}")
    }
}

/// A schedule of jobs: its name, when it ticks, and what it puts in.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Its name: all nodes that bear it share its ticks.
    pub name: String,
    /// When it ticks.
    pub cron: Cron,
    /// The job of each tick.
    pub job: crate::NewJob,
    /// How many missed ticks are made up for after a time without any node, however long that was:
    /// the latest ones, in their order. Those before them never come. 1 by default.
    pub catch_up: usize,
}

impl Schedule {
    /// A schedule that makes up for the latest missed tick.
    pub fn new(name: impl Into<String>, cron: Cron, job: crate::NewJob) -> Self {
        Self {
            name: name.into(),
            cron,
            job,
            catch_up: 1,
        }
    }

    /// Until the next tick, by the time of the database.
    pub(crate) fn until_next(&self, now_ms: i64) -> Option<Duration> {
        let wait = self.cron.next_after(now_ms)? - now_ms;
        u64::try_from(wait).ok().map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(cron: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let cron: Cron = cron.parse().unwrap();
        let cron = cron.in_zone(zone).unwrap();
        let from: Timestamp = from.parse().unwrap();
        let next = |at: &i64| cron.next_after(*at);
        let ticks = std::iter::successors(next(&from.as_millisecond()), next);
        let shown = |at| Timestamp::from_millisecond(at).unwrap().to_string();
        ticks.take(count).map(shown).collect()
    }

    /// JOB-37, R5: ordinary days.
    #[test]
    fn fields_lists_ranges_steps_names() {
        let from = "2024-02-27T23:59:59Z";
        assert_eq!(
            ticks("0 12 29 feb *", "UTC", from, 2),
            ["2024-02-29T12:00:00Z", "2028-02-29T12:00:00Z"]
        );
        assert_eq!(
            ticks("*/25 1,3 * * *", "UTC", from, 4)[1..],
            [
                "2024-02-28T01:25:00Z",
                "2024-02-28T01:50:00Z",
                "2024-02-28T03:00:00Z"
            ]
        );
        assert_eq!(
            ticks("0 0 1 * mon", "UTC", from, 2)[0],
            "2024-03-01T00:00:00Z"
        );
        assert_eq!(
            ticks("0 0 1 * mon", "UTC", from, 2)[1],
            "2024-03-04T00:00:00Z"
        );
        assert_eq!(
            ticks("@weekly", "UTC", from, 1),
            ticks("0 0 * * 7", "UTC", from, 1)
        );
        assert_eq!(
            ticks("0 0 31 * *", "UTC", from, 2)[1],
            "2024-05-31T00:00:00Z"
        );
    }

    /// R5: at the end of March an hour is skipped: its ticks come once, not never and not twice.
    #[test]
    fn a_skipped_hour_runs_once() {
        let from = "2025-03-30T00:00:00Z"; // 01:00 in Berlin; at 02:00 it becomes 03:00.
        assert_eq!(
            ticks("30 2 * * *", "Europe/Berlin", from, 2),
            ["2025-03-30T01:30:00Z", "2025-03-31T00:30:00Z"]
        );
        assert_eq!(
            ticks("30 * * * *", "Europe/Berlin", from, 3),
            [
                "2025-03-30T00:30:00Z",
                "2025-03-30T01:30:00Z",
                "2025-03-30T02:30:00Z"
            ]
        );
    }

    /// R5: at the end of October an hour comes twice: its ticks come once.
    #[test]
    fn a_doubled_hour_runs_once() {
        let from = "2025-10-25T23:00:00Z"; // 01:00 in Berlin; at 03:00 it becomes 02:00.
        assert_eq!(
            ticks("30 2 * * *", "Europe/Berlin", from, 2),
            ["2025-10-26T00:30:00Z", "2025-10-27T01:30:00Z"]
        );
        assert_eq!(
            ticks("30 * * * *", "Europe/Berlin", from, 3),
            [
                "2025-10-25T23:30:00Z",
                "2025-10-26T00:30:00Z",
                "2025-10-26T02:30:00Z"
            ]
        );
    }

    /// R5: after a time without nodes the latest missed ticks are made up for, in their order.
    #[test]
    fn missed_ticks() {
        let cron: Cron = "@hourly".parse().unwrap();
        let hour = 3_600_000;
        assert_eq!(cron.missed(0, 10 * hour, 2), [9 * hour, 10 * hour]);
        assert_eq!(cron.missed(10 * hour, 11 * hour - 1, 2), [0_i64; 0]);
    }

    /// R5: after years without nodes the ticks that are made up for are the latest ones all the same,
    /// and looking for them does not go through all that were missed.
    #[test]
    fn a_long_outage_yields_the_latest_ticks_and_few_searches() {
        let (minute, year) = (60_000, 365 * 86_400_000);
        let minutely: Cron = "* * * * *".parse().unwrap();
        let now = 30 * year;
        assert_eq!(
            minutely.missed(0, now + 1, 3),
            [now - 2 * minute, now - minute, now]
        );
        // A month of minutes in each year.
        for (text, latest) in [
            ("* * * * *", "2024-06-30T12:00:00Z"),
            ("* * * jan *", "2024-01-31T23:59:00Z"),
            ("0 0 29 feb *", "2024-02-29T00:00:00Z"),
            ("0 0 * * mon", "2024-06-24T00:00:00Z"),
        ] {
            let cron: Cron = text.parse().unwrap();
            let now: Timestamp = "2024-06-30T12:00:30Z".parse().unwrap();
            let searches = std::cell::Cell::new(0);
            let next = |at| {
                searches.set(searches.get() + 1);
                cron.next_after(at)
            };
            for last in [0, i64::MIN] {
                let found = super::latest(next, last, now.as_millisecond()).unwrap();
                let found = Timestamp::from_millisecond(found).unwrap().to_string();
                assert_eq!(found, latest, "{text}");
            }
            assert!(searches.get() < 200, "{text}: {} searches", searches.get());
        }
        assert_eq!(minutely.missed(0, i64::MAX, 1).len(), 1);
        assert_eq!(minutely.missed(now, now - 1, 1), [0_i64; 0]);
    }

    /// R5: the ticks that are made up for are those that would have come, also where clocks change.
    #[test]
    fn missed_ticks_are_those_that_would_have_come() {
        let hour = 3_600_000;
        for zone in ["UTC", "Europe/Berlin", "Australia/Lord_Howe"] {
            for text in [
                "*/20 * * * *",
                "30 2 * * *",
                "0 3 * 3,10 sun",
                "59 1-3 26-31 * *",
            ] {
                let cron: Cron = text.parse().unwrap();
                let cron = cron.in_zone(zone).unwrap();
                let begin: Timestamp = "2025-03-29T00:00:00Z".parse().unwrap();
                let begin = begin.as_millisecond();
                let ticks =
                    std::iter::successors(cron.next_after(begin), |at| cron.next_after(*at));
                let ticks: Vec<i64> = ticks
                    .take_while(|tick| *tick <= begin + 240 * hour)
                    .collect();
                for (last, now) in [(0, 240), (7, 49), (20, 31), (100, 239)] {
                    let (last, now) = (begin + last * hour, begin + now * hour);
                    let within = ticks.iter().filter(|tick| (last + 1..=now).contains(*tick));
                    let within: Vec<i64> = within.copied().collect();
                    for most in [1, 5, 1000] {
                        let latest = &within[within.len().saturating_sub(most)..];
                        assert_eq!(cron.missed(last, now, most), latest, "{text} in {zone}");
                    }
                }
            }
        }
    }

    /// What is no schedule is refused, with what would be right.
    #[test]
    fn what_is_no_schedule() {
        for bad in [
            "",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "1,,2 * * * *",
            "0 0 30 2 *",
            "+1 * * * *",
        ] {
            assert!(bad.parse::<Cron>().is_err(), "{bad:?}");
        }
        let refusal = "61 * * * *".parse::<Cron>().unwrap_err().to_string();
        assert!(
            refusal.contains("minute \"61\"") && refusal.contains("0 to 59"),
            "{refusal}"
        );
        let cron: Cron = "@daily".parse().unwrap();
        assert!(cron.clone().in_zone("Mars/Olympus").is_err());
        assert_eq!(cron.next_after(i64::MAX), None);
    }
}
