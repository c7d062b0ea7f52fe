//! The last due times of a monitor, a bar each.

use std::fmt::Write as _;

use monitor_model::Outcome;

use super::SLOTS;
use super::subject::{Point, Subject};

/// Units of the drawing: a slot is this wide and its bar leaves the rest free.
const SLOT: usize = 7;
const BAR: usize = 5;
const HEIGHT: usize = 26;
/// How tall the bar of a due time is at which nobody looked.
const SHORT: usize = 10;
/// How tall the tick of a slot is that lies before the first due time.
const TICK: usize = 2;

/// A strip of bars: the outlines of all bars of one look in one path, and the strip in words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bars {
    pub(crate) up: String,
    pub(crate) degraded: String,
    pub(crate) down: String,
    /// Nobody looked, or nothing was learnt: short and grey, neither well nor ill.
    pub(crate) unseen: String,
    /// Before the first due time: hardly there.
    pub(crate) before: String,
    /// `60 checks: 58 up, 2 degraded`.
    pub(crate) text: String,
}

/// The width and height of the drawing.
pub(crate) const SIZE: (usize, usize) = (SLOTS * SLOT - (SLOT - BAR), HEIGHT);

/// Draws the last [`SLOTS`] due times of `subject` as of `now_unix_ms`.
pub(crate) fn bars(subject: &Subject, now_unix_ms: i64) -> Bars {
    let slots = slots(subject, now_unix_ms);
    let mut bars = Bars {
        up: String::new(),
        degraded: String::new(),
        down: String::new(),
        unseen: String::new(),
        before: String::new(),
        text: words(&slots),
    };
    let before = SLOTS - slots.len();
    for slot in 0..before {
        bar(&mut bars.before, slot, TICK);
    }
    for (slot, outcome) in (before..).zip(&slots) {
        match outcome {
            Outcome::Up => bar(&mut bars.up, slot, HEIGHT),
            Outcome::Degraded => bar(&mut bars.degraded, slot, HEIGHT),
            Outcome::Down => bar(&mut bars.down, slot, HEIGHT),
            _ => bar(&mut bars.unseen, slot, SHORT),
        }
    }
    bars
}

/// The outcomes of the last due times, oldest first, at most [`SLOTS`]. A run of missed ones counts
/// as many as it stands for, and so does the time since a monitor was paused.
pub(crate) fn slots(subject: &Subject, now_unix_ms: i64) -> Vec<Outcome> {
    let mut newest_first = Vec::with_capacity(SLOTS);
    if !subject.is_active() {
        let paused = subject
            .points
            .last()
            .map_or(0, |last| slots_since(last, now_unix_ms));
        newest_first.resize(paused, Outcome::Missed);
    }
    for point in subject.points.iter().rev() {
        let free = SLOTS - newest_first.len();
        let count = usize::try_from(point.slots).map_or(free, |slots| slots.min(free));
        newest_first.extend(std::iter::repeat_n(point.outcome, count));
    }
    newest_first.reverse();
    newest_first
}

fn slots_since(last: &Point, now_unix_ms: i64) -> usize {
    let next = last.due_unix_ms + i64::from(last.slots) * last.interval_ms;
    let Some(slots) = (now_unix_ms - next).checked_div(last.interval_ms) else {
        return 0;
    };
    usize::try_from(slots).map_or(0, |slots| slots.min(SLOTS))
}

fn bar(path: &mut String, slot: usize, height: usize) {
    let x = slot * SLOT;
    // Writing to a string cannot fail.
    let _ = write!(path, "M{x} {HEIGHT}v-{height}h{BAR}v{height}z");
}

/// The strip for those who do not see it.
fn words(slots: &[Outcome]) -> String {
    let count = |outcomes: &[Outcome]| slots.iter().filter(|o| outcomes.contains(o)).count();
    let parts = [
        (count(&[Outcome::Up]), "up"),
        (count(&[Outcome::Degraded]), "degraded"),
        (count(&[Outcome::Down]), "down"),
        (count(&[Outcome::Unknown]), "unknown"),
        (
            count(&[Outcome::Missed, Outcome::Suppressed, Outcome::Cancelled]),
            "not checked",
        ),
    ];
    let parts: Vec<_> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    match slots.len() {
        0 => "no checks yet".to_owned(),
        1 => format!("1 check: {}", parts.join(", ")),
        all => format!("{all} checks: {}", parts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample::{NOW, point, subject};
    use monitor_model::Lifecycle;

    fn with(points: Vec<Point>) -> Subject {
        Subject {
            points,
            ..subject("a", Some(Outcome::Up))
        }
    }

    #[test]
    fn a_bar_per_due_time_and_a_tick_before_the_first() {
        let outcomes = [
            Outcome::Up,
            Outcome::Down,
            Outcome::Degraded,
            Outcome::Unknown,
        ];
        let points = (0i64..)
            .zip(outcomes)
            .map(|(n, o)| point(n * 1000, o))
            .collect();
        let bars = bars(&with(points), NOW);
        let count = |path: &str| path.matches('M').count();
        assert_eq!(count(&bars.before), SLOTS - 4);
        assert_eq!(bars.up, "M392 26v-26h5v26z");
        assert_eq!(bars.down, "M399 26v-26h5v26z");
        assert_eq!(bars.degraded, "M406 26v-26h5v26z");
        assert_eq!(
            bars.unseen, "M413 26v-10h5v10z",
            "unknown is grey: nothing was learnt"
        );
        assert_eq!(bars.text, "4 checks: 1 up, 1 degraded, 1 down, 1 unknown");
        assert_eq!(SIZE, (418, 26), "the last bar ends at the edge");
    }

    #[test]
    fn a_run_of_missed_due_times_takes_its_slots_and_no_more_than_there_are() {
        let missed = Point {
            slots: 3,
            ..point(2000, Outcome::Missed)
        };
        let strip = slots(
            &with(vec![
                point(1000, Outcome::Up),
                missed,
                point(5000, Outcome::Up),
            ]),
            NOW,
        );
        use Outcome::{Missed, Up};
        assert_eq!(strip, [Up, Missed, Missed, Missed, Up]);
        let endless = Point {
            slots: u32::MAX,
            ..missed
        };
        let strip = slots(
            &with(vec![
                point(1000, Outcome::Up),
                endless,
                point(5000, Outcome::Up),
            ]),
            NOW,
        );
        assert_eq!(strip.len(), SLOTS);
        assert_eq!(strip.last(), Some(&Up));
        assert_eq!(strip[..SLOTS - 1], [Missed; SLOTS - 1]);
    }

    /// What was not checked is shown as such and never as up.
    #[test]
    fn the_time_of_a_pause_is_grey() {
        let mut paused = with(vec![point(NOW - 10_000, Outcome::Up)]);
        assert_eq!(
            slots(&paused, NOW),
            [Outcome::Up],
            "an active one is merely late"
        );
        paused.status.lifecycle = Lifecycle::Paused;
        let strip = slots(&paused, NOW);
        assert_eq!(strip.len(), 10);
        assert_eq!(strip[0], Outcome::Up);
        assert!(strip[1..].iter().all(|outcome| *outcome == Outcome::Missed));
        paused.points[0].interval_ms = 0;
        assert_eq!(
            slots(&paused, NOW),
            [Outcome::Up],
            "without an interval nothing is made up"
        );
    }

    #[test]
    fn the_strip_in_words() {
        assert_eq!(words(&[]), "no checks yet");
        assert_eq!(words(&[Outcome::Up]), "1 check: 1 up");
        let mut strip = vec![Outcome::Up; 58];
        strip.extend([Outcome::Degraded, Outcome::Suppressed]);
        assert_eq!(words(&strip), "60 checks: 58 up, 1 degraded, 1 not checked");
    }
}
