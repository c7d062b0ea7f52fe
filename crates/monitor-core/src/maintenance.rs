//! When nobody is to look, because somebody works on the target.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;
const WEEK: u64 = 7 * DAY;
/// The unix time began on a Thursday; weeks here begin on Mondays.
const EPOCH_IN_WEEK: u64 = 3 * DAY;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The times at which a monitor is not checked, because somebody works on its target: what would
/// be found then is no failure. Each due time in them is recorded as suppressed by maintenance,
/// which is neither up nor down, and the monitor counts in no verdict over all. A check by hand is
/// made all the same: it is how one sees whether the work is done.
///
/// All times are UTC. Default: none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maintenance(Vec<Window>);

impl Maintenance {
    /// The end of the time of maintenance that holds at `unix`, in unix time; the latest one where
    /// several do. `None`: none holds.
    #[must_use]
    pub fn until(&self, unix: Duration) -> Option<Duration> {
        let ends = self
            .0
            .iter()
            .filter_map(|window| window.end(unix.as_secs()));
        ends.max().map(Duration::from_secs)
    }
}

impl FromIterator<Window> for Maintenance {
    fn from_iter<I: IntoIterator<Item = Window>>(windows: I) -> Self {
        Self(windows.into_iter().collect())
    }
}

/// One time of maintenance, once or every week: closed at its begin, open at its end.
///
/// ```
/// use monitor_core::Window;
///
/// for text in ["sun 02:00-04:00", "mon-fri 23:30-00:15", "sat,sun 00:00-24:00", "daily 03:00-03:10"] {
///     assert_eq!(text.parse::<Window>()?.to_string(), text);
/// }
/// let once: Window = "2027-01-02T22:00Z/2027-01-03T02:00Z".parse()?;
/// assert!("sunday 2-4".parse::<Window>().is_err());
/// # Ok::<(), monitor_core::InvalidWindow>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    text: Box<str>,
    when: When,
}

/// In seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// On the days whose bits are set, Monday's being the lowest.
    Weekly { days: u8, from: u64, length: u64 },
    /// In unix time.
    Once { from: u64, to: u64 },
}

impl Window {
    /// The end of the occurrence that holds at `unix`, both in unix seconds.
    fn end(&self, unix: u64) -> Option<u64> {
        match self.when {
            When::Once { from, to } => (from <= unix && unix < to).then_some(to),
            When::Weekly { days, from, length } => {
                let in_week = (unix % WEEK + EPOCH_IN_WEEK) % WEEK;
                let ends = (0..7).filter(|day| days & 1 << day != 0).filter_map(|day| {
                    let since = (in_week + WEEK - (day * DAY + from)) % WEEK;
                    (since < length).then(|| unix.saturating_add(length - since))
                });
                ends.max()
            }
        }
    }
}

/// Why a text is no time of maintenance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no time of maintenance: days and times in UTC, such as \"sun 02:00-04:00\", \
     \"mon-fri 23:30-00:15\", \"daily 03:00-03:10\", or once, \
     \"2027-01-02T22:00Z/2027-01-03T02:00Z\""
)]
pub struct InvalidWindow {
    /// The refused text, cut to its first 80 characters.
    pub text: String,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Window {
    type Err = InvalidWindow;

    fn from_str(text: &str) -> Result<Self, InvalidWindow> {
        let when = once(text).or_else(|| weekly(text));
        let when = when.ok_or_else(|| InvalidWindow {
            text: text.chars().take(80).collect(),
        })?;
        Ok(Self {
            text: text.into(),
            when,
        })
    }
}

/// `mon-fri 23:30-00:15`.
fn weekly(text: &str) -> Option<When> {
    let (days, times) = text.split_once(' ')?;
    let (from, to) = times.split_once('-')?;
    let (from, to) = (time(from)?, time(to)?);
    if from == to || from == DAY {
        return None;
    }
    let length = if from < to {
        to - from
    } else {
        to + DAY - from
    };
    let days = match days {
        "daily" => 0x7f,
        days => days
            .split(',')
            .try_fold(0, |set, days| Some(set | span(days)?))?,
    };
    Some(When::Weekly { days, from, length })
}

/// The bits of `sat` or of `fri-mon`.
fn span(days: &str) -> Option<u8> {
    let (first, last) = days.split_once('-').unwrap_or((days, days));
    let number = |name| DAYS.iter().position(|day| *day == name);
    let (first, last) = (number(first)?, number(last)?);
    let many = (last + 7 - first) % 7;
    Some((0..=many).fold(0, |set, day| set | 1 << ((first + day) % 7)))
}

/// The seconds of `02:00`; of `24:00` as well.
fn time(text: &str) -> Option<u64> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    let at = (hours * 60 + minutes) * MINUTE;
    (minutes < 60 && at <= DAY).then_some(at)
}

/// `2027-01-02T22:00Z/2027-01-03T02:00Z`.
fn once(text: &str) -> Option<When> {
    let (from, to) = text.split_once('/')?;
    let (from, to) = (instant(from)?, instant(to)?);
    (from < to).then_some(When::Once { from, to })
}

/// The unix seconds of `2027-01-02T22:00Z`, from 1970 on.
fn instant(text: &str) -> Option<u64> {
    let (date, at) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-');
    let (year, month) = (number(date.next()?, 4)?, number(date.next()?, 2)?);
    let day = number(date.next()?, 2)?;
    if year < 1970 || !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    let years = (1970..year).map(|year| (1..=12).map(|month| days_of(year, month)).sum::<u64>());
    let months = (1..month).map(|month| days_of(year, month));
    let days = years.chain(months).sum::<u64>() + day - 1;
    Some(days * DAY + time(at)?)
}

const fn days_of(year: u64, month: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A number of exactly so many digits.
fn number(text: &str, digits: usize) -> Option<u64> {
    let is_one = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    is_one.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn window(text: &str) -> Window {
        text.parse().unwrap()
    }

    fn at(text: &str) -> u64 {
        instant(text).unwrap()
    }

    #[test]
    fn dates() {
        assert_eq!(instant("1970-01-01T00:00Z"), Some(0));
        assert_eq!(instant("2000-02-29T12:30Z"), Some(951_827_400));
        assert_eq!(instant("2024-03-01T00:00Z"), Some(1_709_251_200));
        for wrong in [
            "2023-02-29T00:00Z",
            "2023-13-01T00:00Z",
            "2023-1-01T00:00Z",
            "1969-12-31T00:00Z",
        ] {
            assert_eq!(instant(wrong), None, "{wrong}");
        }
    }

    /// ROB-33: which times are in a window, its begin included and its end not.
    #[test]
    fn windows_in_a_table() {
        // 2026-11-22 is a Sunday.
        for (text, now, until) in [
            ("sun 02:00-04:00", "2026-11-22T01:59Z", None),
            (
                "sun 02:00-04:00",
                "2026-11-22T02:00Z",
                Some("2026-11-22T04:00Z"),
            ),
            ("sun 02:00-04:00", "2026-11-22T04:00Z", None),
            ("sun 02:00-04:00", "2026-11-23T03:00Z", None),
            (
                "sun 23:00-01:00",
                "2026-11-23T00:59Z",
                Some("2026-11-23T01:00Z"),
            ),
            ("sun 23:00-01:00", "2026-11-22T00:30Z", None),
            ("mon-fri 00:00-24:00", "2026-11-22T12:00Z", None),
            (
                "mon-fri 00:00-24:00",
                "2026-11-27T23:59Z",
                Some("2026-11-28T00:00Z"),
            ),
            (
                "fri-mon 10:00-11:00",
                "2026-11-22T10:30Z",
                Some("2026-11-22T11:00Z"),
            ),
            ("fri-mon 10:00-11:00", "2026-11-24T10:30Z", None),
            (
                "daily 03:00-03:10",
                "2026-11-24T03:09Z",
                Some("2026-11-24T03:10Z"),
            ),
            (
                "2026-11-24T03:00Z/2026-11-25T03:00Z",
                "2026-11-25T02:59Z",
                Some("2026-11-25T03:00Z"),
            ),
            (
                "2026-11-24T03:00Z/2026-11-25T03:00Z",
                "2026-12-24T12:00Z",
                None,
            ),
        ] {
            assert_eq!(window(text).end(at(now)), until.map(at), "{text} at {now}");
        }
        let both = ["sun 02:00-04:00", "sun 03:00-06:00"].map(window);
        let both: Maintenance = both.into_iter().collect();
        let until = both.until(Duration::from_secs(at("2026-11-22T03:30Z")));
        assert_eq!(until, Some(Duration::from_secs(at("2026-11-22T06:00Z"))));
        assert_eq!(Maintenance::default().until(Duration::MAX), None);
    }

    /// ROB-33: what is no window is refused.
    #[test]
    fn no_windows() {
        for text in [
            "",
            "sun",
            "sun 2:00-4:00",
            "sun 02:00",
            "sunday 02:00-04:00",
            "Sun 02:00-04:00",
            "sun 02:00-25:00",
            "sun 02:60-03:00",
            "sun 02:00-02:00",
            "sun 24:00-01:00",
            "sun  02:00-04:00",
            "sun, 02:00-04:00",
            "-sun 02:00-04:00",
            "2026-11-25T03:00Z/2026-11-24T03:00Z",
            "2026-11-24T03:00/2026-11-25T03:00",
        ] {
            let refused = text.parse::<Window>().unwrap_err().to_string();
            assert!(refused.starts_with(&format!("{text:?} is no time of maintenance")));
        }
    }

    proptest! {
        /// ROB-33: no text makes it panic, and the end of whatever holds lies ahead, within a day.
        #[test]
        fn an_end_lies_ahead(
            day in 0usize..7, span in 0usize..7, from in 0u64..1440, length in 1u64..1440,
            unix in 0u64..4_000_000_000, text in "[a-z]{3}[-,0-9:TZ/ ]{0,30}",
        ) {
            let _ = text.parse::<Window>();
            let to = (from + length) % 1440;
            let text = format!(
                "{}-{} {:02}:{:02}-{:02}:{:02}",
                DAYS[day], DAYS[(day + span) % 7], from / 60, from % 60, to / 60, to % 60,
            );
            if let Some(end) = window(&text).end(unix) {
                prop_assert!(unix < end && end - unix <= length * MINUTE);
                prop_assert_eq!(window(&text).end(end - 1), Some(end));
            }
        }
    }
}
