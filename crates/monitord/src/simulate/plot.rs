//! The course of a simulation as a picture.

use std::fmt::Write;
use std::time::Duration;

use super::tally::{Bin, Report};
use crate::config::format_duration;
use crate::terminal::{digits, millis};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 28.0;
const PANEL: f64 = 150.0;
const GAP: f64 = 48.0;
const TOP: f64 = 64.0;

/// A panel: what it shows, by which lines, and whether by its root, which shows the many small
/// values beside the few large ones.
struct Panel {
    name: &'static str,
    lines: &'static [Line],
    is_root: bool,
    /// The value at the top, in words.
    label: fn(u64) -> String,
}

struct Line {
    name: &'static str,
    colour: &'static str,
    of: fn(&Bin) -> u64,
}

const LAG: &[Line] = &[
    Line {
        name: "max",
        colour: "#d9822b",
        of: |bin| bin.lag_max_ms,
    },
    Line {
        name: "p99",
        colour: "#7157d9",
        of: |bin| bin.lag_p99_ms,
    },
    Line {
        name: "p50",
        colour: "#2b8a4b",
        of: |bin| bin.lag_p50_ms,
    },
];
const CONCURRENCY: &[Line] = &[Line {
    name: "most at once",
    colour: "#2b6cb0",
    of: |bin| bin.peak_concurrency,
}];
const MISSED: &[Line] = &[Line {
    name: "due times at which nothing was run",
    colour: "#c23b3b",
    of: |bin| bin.missed,
}];

/// Draws lag, concurrency and missed due times over time, as an SVG document.
#[must_use]
pub fn svg(report: &Report, title: &str) -> String {
    let height = TOP + 3.0 * (PANEL + GAP);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <title>{}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"26\" font-size=\"16\" font-weight=\"600\">{}</text>\n",
        escape(title),
        escape(title)
    );
    let panels = [
        Panel {
            name: "Start lag (square-root scale)",
            lines: LAG,
            is_root: true,
            label: |ms| millis(Duration::from_millis(ms)),
        },
        Panel {
            name: "Checks at once",
            lines: CONCURRENCY,
            is_root: false,
            label: digits,
        },
        Panel {
            name: "Missed (square-root scale)",
            lines: MISSED,
            is_root: true,
            label: digits,
        },
    ];
    for (index, panel) in panels.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "three panels")]
        let top = TOP + index as f64 * (PANEL + GAP);
        draw(&mut out, report, panel, top);
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, report: &Report, panel: &Panel, top: f64) {
    let Panel {
        name,
        lines,
        is_root,
        label,
    } = *panel;
    let bins = &report.bins;
    let values = lines.iter().flat_map(|line| bins.iter().map(line.of));
    let highest = values.max().unwrap_or(0).max(1);
    let bottom = top + PANEL;
    let right = WIDTH - RIGHT;
    // Writing to a text cannot fail.
    let _ = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{:.1}\" font-weight=\"600\">{name}</text>",
        top - 10.0
    );
    let middle = if is_root { highest / 4 } else { highest / 2 };
    let mut marks = vec![0, middle, highest];
    marks.dedup();
    for value in marks {
        let label = if value == 0 {
            "0".to_owned()
        } else {
            label(value)
        };
        let y = y_of(value, highest, is_root, bottom);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#d5d9e0\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{label}</text>",
            LEFT - 8.0,
            y + 4.0
        );
    }
    times(out, report, bottom);
    let mut legend = LEFT + 220.0;
    for line in lines {
        let points = points(report, line.of, highest, is_root, bottom);
        let (colour, name) = (line.colour, line.name);
        let _ = writeln!(
            out,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.4\" \
             points=\"{points}\"/>\
             <text x=\"{legend:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>",
            top - 10.0
        );
        legend += 60.0;
    }
}

/// Steps: a value holds for as long as its piece of time.
fn points(
    report: &Report,
    of: fn(&Bin) -> u64,
    highest: u64,
    is_root: bool,
    bottom: f64,
) -> String {
    let mut points = String::new();
    for bin in &report.bins {
        let y = y_of(of(bin), highest, is_root, bottom);
        for ms in [bin.from_ms, bin.from_ms + report.bin_ms] {
            // Writing to a text cannot fail.
            let _ = write!(points, "{:.1},{y:.1} ", x_of(ms, report));
        }
    }
    points
}

fn times(out: &mut String, report: &Report, bottom: f64) {
    let (end, step) = (end(report), step(end(report)));
    for ms in (0..=end).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
        let text = match ms {
            0 => "0".to_owned(),
            _ => format_duration(Duration::from_millis(ms)),
        };
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{text}</text>",
            x_of(ms, report),
            bottom + 16.0,
        );
    }
}

/// The distance of the times that are written: round, and no more than eight of them.
fn step(end: u64) -> u64 {
    use super::{HOUR, MINUTE, SECOND};
    const DAY: u64 = 24 * HOUR;
    const ROUND: [u64; 16] = [
        SECOND,
        5 * SECOND,
        15 * SECOND,
        30 * SECOND,
        MINUTE,
        2 * MINUTE,
        5 * MINUTE,
        10 * MINUTE,
        15 * MINUTE,
        30 * MINUTE,
        HOUR,
        2 * HOUR,
        3 * HOUR,
        6 * HOUR,
        12 * HOUR,
        DAY,
    ];
    let fits = |step: &u64| end / step <= 8;
    ROUND
        .into_iter()
        .find(fits)
        .unwrap_or(DAY * (end / (8 * DAY) + 1))
}

fn end(report: &Report) -> u64 {
    let last = report.bins.last().map_or(0, |bin| bin.from_ms);
    last + report.bin_ms
}

fn x_of(ms: u64, report: &Report) -> f64 {
    LEFT + ratio(ms, end(report)) * (WIDTH - LEFT - RIGHT)
}

fn y_of(value: u64, highest: u64, is_root: bool, bottom: f64) -> f64 {
    let share = ratio(value, highest);
    bottom - PANEL * if is_root { share.sqrt() } else { share }
}

#[expect(clippy::cast_precision_loss, reason = "for a picture")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
