//! What becomes of a record as it ages: where it is counted, what expires when, what goes next.
//!
//! A record is first a line of history, and that line is its count: the newest lines of a monitor
//! are counted when somebody asks. When they are a few minutes old they are *rolled up*: a slice of
//! work adds them to the buckets of their minute, hour and day and, in the same transaction, moves
//! the monitor's **mark** past them. Whatever is due before the mark is counted in buckets, whatever
//! is due at or after it in lines, so a record is counted exactly once at every instant, and a crash
//! finds the mark and the buckets of one transaction. A record that comes late, due before the mark,
//! is added to its buckets by its own commit.
//!
//! Nothing here reads a clock or a database.

use std::time::Duration;

use monitor_model::{Bucket, Latency, Outcome, Resolution, Tally};

/// Lines are rolled up in steps of this length: five minutes.
pub(crate) const STEP_MS: i64 = 5 * Resolution::Minute.length_ms();

/// How long lines and buckets are kept, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keep {
    pub(crate) history: i64,
    pub(crate) minutes: i64,
    pub(crate) hours: i64,
    pub(crate) days: i64,
}

impl Keep {
    /// A longer time than a number of milliseconds can say is for ever.
    pub(crate) fn new([history, minutes, hours, days]: [Duration; 4]) -> Self {
        let millis = |age: Duration| i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        Self {
            history: millis(history),
            minutes: millis(minutes),
            hours: millis(hours),
            days: millis(days),
        }
    }
}

/// The instants, in unix milliseconds, before which nothing is kept or answered for.
///
/// They are stored with what they are about and only rise, so that a bucket that is answered for has
/// counted everything that ever lay in it: what comes too late for its bucket is not counted there
/// again, after the rest was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Horizons {
    /// Of lines at which the verdict did not change. The others stay as long as the hours.
    pub(crate) history: i64,
    pub(crate) minutes: i64,
    /// The beginning of a day: the days before it answer where the hours do not.
    pub(crate) hours: i64,
    pub(crate) days: i64,
}

/// What counts as the newest due time: that from which ages are reckoned.
///
/// Never a due time in the future, which is a mistake of a clock. And where it leaps by more than a
/// day it is followed by a day in the first round, by two in the next, and so on: a clock that is
/// years ahead for a moment costs some days of what is kept and not all of it, and after a long time
/// without records, or one that was years behind, what is too old goes within the hour.
///
/// Lines that are due after it are not rolled up either: a mark that was once moved ahead stays there,
/// and until time comes to it every record would be late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Newest {
    known: Option<i64>,
    /// How far it is followed in the next round, in milliseconds.
    stride: i64,
}

/// What is no leap.
const STRIDE_MS: i64 = Resolution::Day.length_ms();

impl Newest {
    /// Nothing is known yet.
    pub(crate) const fn new() -> Self {
        Self {
            known: None,
            stride: STRIDE_MS,
        }
    }

    /// What it was in the round before, if need be that of the last process: `standing` are the
    /// horizons as it left them. `None` where nothing was ever recorded.
    pub(crate) fn known(&mut self, standing: &Horizons, keep: &Keep) -> Option<i64> {
        self.known = self.known.or_else(|| {
            let newest = |horizon: i64, age: i64| {
                (horizon > i64::MIN && age < i64::MAX).then(|| horizon.saturating_add(age))
            };
            newest(standing.history, keep.history)
                .max(newest(standing.minutes, keep.minutes))
                .max(newest(standing.hours, keep.hours))
                .max(newest(standing.days, keep.days))
        });
        self.known
    }

    /// Once in a round of which `newest_unix_ms` is the newest due time, while the clock says
    /// `now_unix_ms`. The clock alone ages nothing: a store in which nothing is recorded loses
    /// nothing.
    pub(crate) fn follow(&mut self, newest_unix_ms: i64, now_unix_ms: i64) -> i64 {
        let newest = newest_unix_ms.min(now_unix_ms);
        let most = self
            .known
            .map_or(newest, |known| known.saturating_add(self.stride));
        self.stride = match newest > most {
            true => self.stride.saturating_mul(2),
            false => STRIDE_MS,
        };
        let followed = newest.min(most);
        self.known = self.known.max(Some(followed));
        followed
    }
}

/// What stays whatever the size: less would answer nothing.
const LEAST: Keep = Keep {
    history: Resolution::Hour.length_ms(),
    minutes: 6 * Resolution::Hour.length_ms(),
    hours: 7 * Resolution::Day.length_ms(),
    days: i64::MAX,
};

impl Horizons {
    /// Everything is kept.
    pub(crate) const NONE: Self = Self {
        history: i64::MIN,
        minutes: i64::MIN,
        hours: i64::MIN,
        days: i64::MIN,
    };

    /// The horizons by age alone, when `newest_unix_ms` is the newest due time.
    fn by_age(newest_unix_ms: i64, keep: &Keep) -> Self {
        let before = |age: i64, start: Resolution| match age {
            i64::MAX => i64::MIN,
            _ => start.start_of(newest_unix_ms.saturating_sub(age)),
        };
        Self {
            history: before(keep.history, Resolution::Minute),
            minutes: before(keep.minutes, Resolution::Hour),
            hours: before(keep.hours, Resolution::Day),
            days: before(keep.days, Resolution::Day),
        }
    }

    /// Where the horizons are after `newest_unix_ms`, which is what [`Newest`] says. `last_unix_ms`
    /// is the latest that any clock or record says.
    ///
    /// A horizon beyond that was moved by a clock that was wrong: it comes back, each by itself. In
    /// the hour or day in which it does, the coarser buckets answer, which have counted all of it.
    pub(crate) fn rise(self, newest_unix_ms: i64, last_unix_ms: i64, keep: &Keep) -> Self {
        let by_age = Self::by_age(newest_unix_ms, keep);
        let next = |unit: Resolution| unit.start_of(last_unix_ms).saturating_add(unit.length_ms());
        let history = match self.history > last_unix_ms {
            true => by_age.history,
            false => self.history.max(by_age.history),
        };
        let today = Resolution::Day.start_of(last_unix_ms);
        Self {
            history,
            minutes: self.minutes.min(next(Resolution::Hour)).max(by_age.minutes),
            hours: self.hours.min(next(Resolution::Day)).max(by_age.hours),
            days: self.days.min(today).max(by_age.days),
        }
    }

    /// The next thing to give up when there is no room: an eighth of the lines, of the minutes when
    /// an hour of lines is left, then of the hours. `None` when only the least is left.
    ///
    /// `oldest` says what there is, with [`i64::MAX`] for nothing.
    pub(crate) fn squeeze(self, newest_unix_ms: i64, oldest: &Self) -> Option<Self> {
        let raised = |horizon: i64, oldest: i64, least: i64, start: Resolution| {
            let last = start.start_of(newest_unix_ms.saturating_sub(least));
            let from = horizon.max(oldest);
            let part = newest_unix_ms.saturating_sub(from) / 8;
            let next = start
                .start_of(from.saturating_add(part))
                .saturating_add(start.length_ms());
            (from < last).then(|| next.min(last))
        };
        let (history, minutes, hours) = (
            raised(
                self.history,
                oldest.history,
                LEAST.history,
                Resolution::Minute,
            ),
            raised(
                self.minutes,
                oldest.minutes,
                LEAST.minutes,
                Resolution::Hour,
            ),
            raised(self.hours, oldest.hours, LEAST.hours, Resolution::Day),
        );
        let mut next = self;
        match (history, minutes) {
            (Some(history), _) => next.history = history,
            (None, Some(minutes)) => next.minutes = minutes,
            (None, None) => next.hours = hours?,
        }
        Some(next)
    }

    /// The first instant of which buckets of this length are answered for.
    pub(crate) const fn of(&self, resolution: Resolution) -> i64 {
        match resolution {
            Resolution::Minute => self.minutes,
            Resolution::Hour => self.hours,
            Resolution::Day => self.days,
        }
    }

    /// The buckets that count a record with this due time: those that are still answered for.
    pub(crate) fn feeds(self, due_unix_ms: i64) -> impl Iterator<Item = (Resolution, i64)> {
        Resolution::ALL
            .into_iter()
            .map(move |resolution| (resolution, resolution.start_of(due_unix_ms)))
            .filter(move |&(resolution, start)| start >= self.of(resolution))
    }

    /// Where the mark of a monitor belongs: before the step that its latest line lies in, and past
    /// every line that is to be removed. `None` when it is there already.
    pub(crate) fn roll_to(&self, mark: i64, latest_due_unix_ms: i64) -> Option<i64> {
        let step = latest_due_unix_ms.saturating_sub(latest_due_unix_ms.rem_euclid(STEP_MS));
        let to = step.max(self.history);
        (to > mark).then_some(to)
    }

    /// What answers for everything since an instant.
    pub(crate) fn answer(&self, since_unix_ms: i64) -> Answer {
        let hour = Resolution::Hour.start_of(since_unix_ms);
        let from = if hour >= self.hours {
            hour
        } else {
            Resolution::Day.start_of(since_unix_ms)
        };
        Answer {
            days: from.max(self.days),
            hours: from.max(self.hours),
        }
    }
}

/// Days from the one instant up to the other, hours from there on, and lines from the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) days: i64,
    pub(crate) hours: i64,
}

/// Whether a record is to be counted by its own commit: its line is before the mark.
pub(crate) const fn is_late(due_unix_ms: i64, mark: i64) -> bool {
    due_unix_ms < mark
}

/// What a line counts for in the bucket that begins at `start_unix_ms`: that of
/// [`Bucket::of`] its record.
pub(crate) fn share(
    start_unix_ms: i64,
    outcome: Outcome,
    slots: u32,
    took_us: Option<u64>,
) -> Bucket {
    let mut tally = Tally::ZERO;
    tally.add(outcome, slots);
    let answered = matches!(outcome, Outcome::Up | Outcome::Degraded);
    let latency = match took_us.filter(|_| answered) {
        Some(us) => Latency {
            count: 1,
            min_us: us,
            sum_us: us,
            max_us: us,
        },
        None => Latency::NONE,
    };
    Bucket {
        start_unix_ms,
        tally,
        latency,
    }
}

#[cfg(test)]
mod tests;
