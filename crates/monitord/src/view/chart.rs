//! The response line, and the area of phases.

use std::fmt::Write as _;
use std::time::Duration;

use monitor_model::Phase;

use super::subject::Point;
use super::time::{self, Moment};

/// Width and height of the response line's drawing.
pub(crate) const LINE: (u32, u32) = (120, 26);
/// Width and height of the phases' drawing. It is stretched to the place there is.
pub(crate) const AREA: (u32, u32) = (600, 128);

/// Below this span the minutes of its times say too little.
const SHORT_MS: i64 = 600_000;

/// What the legend calls the phases, in their order.
pub(crate) const PHASES: [(&str, Phase); 5] = [
    ("name", Phase::Resolve),
    ("connect", Phase::Connect),
    ("TLS", Phase::Tls),
    ("first byte", Phase::FirstByte),
    ("body", Phase::Transfer),
];

/// The line of response times, as the `d` of a path. Broken where there was no answer; a lone
/// answer is a dot. The scale begins at zero and holds twice the median at least, so that a calm
/// line runs through the middle and does not blow up its own noise.
pub(crate) fn line(points: &[Point]) -> String {
    let answers: Vec<_> = points.iter().map(Point::answered).collect();
    let mut sorted: Vec<_> = answers.iter().flatten().copied().collect();
    sorted.sort_unstable();
    let (Some(&max), Some(&median)) = (sorted.last(), sorted.get(sorted.len() / 2)) else {
        return String::new();
    };
    let top = max.max(median * 2).as_secs_f64().max(1e-6);
    let (width, height) = (f64::from(LINE.0), f64::from(LINE.1));
    let step = width / (super::SLOTS - 1) as f64;
    let first = super::SLOTS.saturating_sub(answers.len());
    let mut path = String::new();
    let mut is_open = false;
    for (slot, answer) in (first..).zip(&answers) {
        let Some(took) = answer else {
            is_open = false;
            continue;
        };
        let x = slot as f64 * step;
        let y = 1.0 + (height - 2.0) * (1.0 - took.as_secs_f64() / top);
        // A path that begins with a line of no length shows a dot when its ends are round.
        let _ = match is_open {
            true => write!(path, "L{x:.1} {y:.1}"),
            false => write!(path, "M{x:.1} {y:.1}h0"),
        };
        is_open = true;
    }
    path
}

/// Where the time goes: a band per phase, stacked, over the last checks.
#[derive(Debug, PartialEq)]
pub(crate) struct Area {
    /// The phases that happened, with their names in the legend, their names in styles and the
    /// `d` of their path.
    pub(crate) bands: Vec<(&'static str, &'static str, String)>,
    /// The labels of the scale, from the top down to the last above zero.
    pub(crate) scale: Vec<String>,
    /// First, middle and last time: unix milliseconds, and as the clock shows them.
    pub(crate) times: Vec<(i64, String)>,
    /// The area for those who do not see it.
    pub(crate) text: String,
}

/// Draws the phases of `points`, if any check has them.
pub(crate) fn area(points: &[Point], now: &Moment) -> Option<Area> {
    let answered: Vec<_> = points
        .iter()
        .map(|point| {
            point
                .answered()
                .map(|_| point.phases_us)
                .filter(|us| us.iter().any(|&n| n > 0))
        })
        .collect();
    let total = |us: &[u32; 5]| us.iter().map(|&n| u64::from(n)).sum::<u64>();
    let most = answered.iter().flatten().map(total).max()?;
    let ceiling = ceiling(most);
    let mut bands = Vec::new();
    for (index, (label, phase)) in PHASES.into_iter().enumerate() {
        if answered.iter().flatten().any(|us| us[index] > 0) {
            bands.push((label, phase.as_str(), band(&answered, index, ceiling)));
        }
    }
    let scale = (1..=4)
        .rev()
        .map(|quarter| time::measured_round(Duration::from_micros(ceiling * quarter / 4)))
        .collect();
    Some(Area {
        bands,
        scale,
        times: times(points, now),
        text: words(&answered),
    })
}

/// The first, the middle and the last due time; to the second when they lie close together.
fn times(points: &[Point], now: &Moment) -> Vec<(i64, String)> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Vec::new();
    };
    let is_short = last.due_unix_ms - first.due_unix_ms < SHORT_MS;
    let clock = |point: &Point| {
        let at = point.due_unix_ms;
        (
            at,
            if is_short {
                now.clock_seconds(at)
            } else {
                now.clock(at)
            },
        )
    };
    match points {
        [only] => vec![clock(only)],
        _ => vec![clock(first), clock(&points[points.len() / 2]), clock(last)],
    }
}

/// The band of phase `index` between what is below it and itself, a closed outline per unbroken run
/// of answers. A lone answer gets the width of its slot.
fn band(answered: &[Option<[u32; 5]>], index: usize, ceiling: u64) -> String {
    let (width, height) = (f64::from(AREA.0), f64::from(AREA.1));
    let slots = answered.len().max(2) - 1;
    let x = |slot: f64| (slot * width / slots as f64).clamp(0.0, width);
    let y = |us: &[u32; 5], phases: usize| {
        let below: u64 = us[..phases].iter().map(|&n| u64::from(n)).sum();
        height * (1.0 - below as f64 / ceiling as f64)
    };
    let mut path = String::new();
    let mut start = 0;
    for run in answered.split(Option::is_none) {
        let run_start = start;
        start += run.len() + 1;
        let mut ends: Vec<(f64, &[u32; 5])> = (run_start..)
            .zip(run.iter().flatten())
            .map(|(slot, us)| (slot as f64, us))
            .collect();
        if let [(slot, us)] = ends[..] {
            ends = vec![(slot - 0.4, us), (slot + 0.4, us)];
        }
        for (n, (slot, us)) in ends.iter().enumerate() {
            let command = if n == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.0} {:.1}", x(*slot), y(us, index + 1));
        }
        for (slot, us) in ends.iter().rev() {
            let _ = write!(path, "L{:.0} {:.1}", x(*slot), y(us, index));
        }
        if !ends.is_empty() {
            path.push('z');
        }
    }
    path
}

/// The round figure at the top of the scale: one whose quarters are round too.
fn ceiling(most_us: u64) -> u64 {
    let mut unit = 4;
    loop {
        for factor in [1, 2, 3, 5] {
            if unit * factor >= most_us {
                return unit * factor;
            }
        }
        unit *= 10;
    }
}

fn words(answered: &[Option<[u32; 5]>]) -> String {
    let medians = PHASES
        .into_iter()
        .enumerate()
        .filter_map(|(index, (label, _))| {
            let mut us: Vec<_> = answered
                .iter()
                .flatten()
                .map(|us| us[index])
                .filter(|&n| n > 0)
                .collect();
            us.sort_unstable();
            let median = *us.get(us.len() / 2)?;
            Some(format!(
                "{label} {}",
                time::measured(Duration::from_micros(u64::from(median)))
            ))
        });
    format!(
        "median per phase: {}",
        medians.collect::<Vec<_>>().join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample::{NOW, moment, point};
    use monitor_model::Outcome::{Down, Up};

    fn answers(took_us: &[Option<u32>]) -> Vec<Point> {
        (0i64..)
            .zip(took_us)
            .map(|(n, took)| Point {
                took_us: took.or(Some(9_999_999)),
                ..point(n * 1000, if took.is_some() { Up } else { Down })
            })
            .collect()
    }

    #[test]
    fn a_calm_line_runs_through_the_middle_and_breaks_where_nothing_answered() {
        assert_eq!(line(&[]), "");
        assert_eq!(line(&answers(&[None])), "", "a failure is no response time");
        assert_eq!(line(&answers(&[Some(500)])), "M120.0 13.0h0");
        let path = line(&answers(&[Some(500), Some(500), None, Some(500)]));
        assert_eq!(path.matches('M').count(), 2, "{path}");
        assert_eq!(path.matches('L').count(), 1, "{path}");
        assert_eq!(path.matches("13.0").count(), 3, "{path}");
        let peak = line(&answers(&[Some(100), Some(100), Some(1000)]));
        assert!(
            peak.ends_with("L120.0 1.0"),
            "the peak touches the top: {peak}"
        );
    }

    #[test]
    fn the_scale_ends_at_a_round_figure_above_all() {
        let cases = [
            (0, 4),
            (4, 4),
            (5, 8),
            (1_000, 1_200),
            (1_201, 2_000),
            (780_000, 800_000),
        ];
        for (most, top) in cases {
            assert_eq!(ceiling(most), top, "{most}");
        }
        for most in [1, 17, 333, 40_001, 3_999_999, u64::from(u32::MAX) * 5] {
            let top = ceiling(most);
            assert!(
                top >= most && top <= most.max(4) * 2 && top.is_multiple_of(4),
                "{most}: {top}"
            );
        }
    }

    #[test]
    fn times_that_lie_close_together_have_seconds() {
        let text = |distance| {
            let points = [
                point(NOW - distance, Up),
                point(NOW - 1000, Up),
                point(NOW, Up),
            ];
            let times = times(&points, &moment());
            times
                .into_iter()
                .map(|(_, clock)| clock)
                .collect::<Vec<_>>()
        };
        assert_eq!(text(60_000), ["14:01:31", "14:02:30", "14:02:31"]);
        assert_eq!(text(SHORT_MS), ["13:52", "14:02", "14:02"]);
        assert_eq!(times(&[], &moment()), []);
    }

    fn phased(n: i64, phases_us: [u32; 5]) -> Point {
        Point {
            phases_us,
            ..point(NOW + n * 1000, Up)
        }
    }

    #[test]
    fn phases_are_stacked_in_their_order() {
        let points = [
            phased(0, [0, 100, 0, 300, 0]),
            phased(1, [0, 100, 0, 200, 0]),
        ];
        let area = area(&points, &moment()).unwrap();
        let names: Vec<_> = area
            .bands
            .iter()
            .map(|(label, class, _)| (*label, *class))
            .collect();
        assert_eq!(
            names,
            [("connect", "connect"), ("first byte", "first_byte")],
            "what happened"
        );
        assert_eq!(
            area.bands[0].2, "M0 96.0L600 96.0L600 128.0L0 128.0z",
            "100 of 400 from below"
        );
        assert_eq!(
            area.bands[1].2, "M0 0.0L600 32.0L600 96.0L0 96.0z",
            "on top of it"
        );
        assert_eq!(area.scale, ["0.4 ms", "0.3 ms", "0.2 ms", "0.1 ms"]);
        assert_eq!(area.times.len(), 3);
        assert_eq!(
            area.text,
            "median per phase: connect 0.1 ms, first byte 0.3 ms"
        );
    }

    #[test]
    fn a_gap_stays_a_gap_and_a_lone_answer_is_seen() {
        let mut points = vec![phased(0, [0, 0, 0, 400, 0]); 5];
        points[1].outcome = Down;
        points[3].outcome = Down;
        let area = area(&points, &moment()).unwrap();
        let path = &area.bands[0].2;
        assert_eq!(path.matches('z').count(), 3, "{path}");
        assert!(
            path.contains("M240 0.0L360 0.0"),
            "the one in the middle has a width: {path}"
        );
        assert_eq!(super::area(&points[1..2], &moment()), None);
        assert_eq!(
            super::area(&[point(0, Up)], &moment()),
            None,
            "no phases, no area"
        );
    }
}
