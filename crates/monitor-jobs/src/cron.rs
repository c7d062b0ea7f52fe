//! When a schedule ticks: five fields, in a time zone, each tick once.

mod field;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, date};
use jiff::tz::TimeZone;

use self::field::{DAY, HOUR, MINUTE, MONTH, WEEKDAY};

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
