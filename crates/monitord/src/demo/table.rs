//! The live table, as lines of text: no terminal and no clock in here.

use std::collections::VecDeque;
use std::time::Duration;

use monitor_model::Outcome;

use crate::terminal::{Colour, Paint, fit, millis};

/// What is around the rows.
pub(crate) struct Frame {
    /// What stands below: time gone by and totals.
    pub(crate) footer: String,
    /// The width of the terminal in columns.
    pub(crate) width: usize,
    pub(crate) paint: Paint,
}

/// A monitor's line.
pub(crate) struct Row {
    pub(crate) name: String,
    /// `None` before the first verdict.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) took: Option<Duration>,
    /// The last outcomes, oldest first.
    pub(crate) strip: VecDeque<Outcome>,
    /// What it does now, or when it will: `in 0.8 s`.
    pub(crate) next: String,
    pub(crate) why: String,
}

const STATUS: usize = 10;
const NAME: usize = 19;
const TOOK: usize = 8;
const NEXT: usize = 10;
/// Margin, mark and the gaps between the columns.
const GAPS: usize = 2 + 2 + 2 * 2;
/// The least width at which every line fits.
pub(crate) const LEAST_WIDTH: usize = 62;
/// Below this width, words are worth more than when the next check is due.
const WIDE: usize = 100;

/// The widths that depend on the terminal's.
struct Columns {
    strip: usize,
    next: usize,
    why: usize,
}

/// The table. Every line fits the width, so that it can be drawn over in place.
pub(crate) fn lines(frame: &Frame, rows: &[Row]) -> Vec<String> {
    let paint = frame.paint;
    let next = if frame.width >= WIDE { NEXT } else { 0 };
    let flexible = frame
        .width
        .saturating_sub(GAPS + STATUS + NAME + TOOK + next);
    let strip = (flexible / 2).min(40);
    let why = flexible.saturating_sub(strip + 1);
    let columns = Columns { strip, next, why };
    let cut = |text: &str| {
        fit(text, frame.width.saturating_sub(1))
            .trim_end()
            .to_owned()
    };
    let due = if next > 0 { "next" } else { "" };
    let mut lines = vec![paint.dim(&cut(&format!(
        "    {:<STATUS$}{:<NAME$}{:>TOOK$}  {:<strip$}  {due}",
        "status", "monitor", "took", "last checks"
    )))];
    lines.extend(rows.iter().map(|row| line(paint, row, &columns)));
    lines.push(String::new());
    lines.push(paint.dim(&cut(&format!("  {}", frame.footer))));
    lines
}

fn line(paint: Paint, row: &Row, columns: &Columns) -> String {
    let (colour, status) = match row.outcome {
        Some(outcome) => (colour(outcome), outcome.as_str()),
        None => (Colour::Grey, "new"),
    };
    let took = row.took.map_or_else(|| "-".to_owned(), millis);
    let shown = row
        .strip
        .iter()
        .skip(row.strip.len().saturating_sub(columns.strip));
    let blank = " ".repeat(columns.strip.saturating_sub(row.strip.len()));
    let bars: String = shown.map(|outcome| bar(paint, *outcome)).collect();
    let next = if columns.next > 0 {
        fit(&row.next, columns.next)
    } else {
        String::new()
    };
    format!(
        "  {} {}{} {took:>TOOK$}  {blank}{bars}  {next}{}",
        paint.colour(colour, "●"),
        paint.bold(colour, &fit(status, STATUS)),
        fit(&row.name, NAME - 1),
        fit(&row.why, columns.why).trim_end(),
    )
}

/// One due time. The height tells the outcome as well, for eyes and terminals without colour.
fn bar(paint: Paint, outcome: Outcome) -> String {
    let glyph = match outcome {
        Outcome::Up => "▂",
        Outcome::Degraded => "▄",
        Outcome::Down => "█",
        Outcome::Unknown => "?",
        Outcome::Missed | Outcome::Suppressed | Outcome::Cancelled => "·",
    };
    paint.colour(colour(outcome), glyph)
}

pub(crate) const fn colour(outcome: Outcome) -> Colour {
    match outcome {
        Outcome::Up => Colour::Green,
        Outcome::Degraded => Colour::Yellow,
        Outcome::Down => Colour::Red,
        Outcome::Unknown | Outcome::Missed | Outcome::Suppressed | Outcome::Cancelled => {
            Colour::Grey
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str) -> Row {
        Row {
            name: name.to_owned(),
            outcome: Some(Outcome::Down),
            took: Some(Duration::from_micros(420)),
            strip: [Outcome::Up, Outcome::Missed, Outcome::Down].into(),
            next: "in 0.8 s".to_owned(),
            why: "connection refused and a good deal more than fits into a line".to_owned(),
        }
    }

    /// A line that is longer than the terminal would wrap, and the table would walk away when it
    /// is drawn over.
    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [LEAST_WIDTH, 72, 80, 100, 132, 250] {
            let footer = "x".repeat(300);
            let frame = Frame {
                footer,
                width,
                paint: Paint::on(false),
            };
            let rows = [
                row("Refusing"),
                row("A name that is longer than its column"),
            ];
            for line in lines(&frame, &rows) {
                assert!(line.chars().count() < width, "{width}: {line:?}");
            }
        }
    }

    #[test]
    fn the_strip_is_flush_right_and_every_outcome_has_a_glyph() {
        let columns = Columns {
            strip: 6,
            next: 10,
            why: 30,
        };
        let line = line(Paint::on(false), &row("Refusing"), &columns);
        assert!(
            line.ends_with("     ▂·█  in 0.8 s  connection refused and a good…"),
            "{line}"
        );
    }
}
