//! The live table, as lines of text: no terminal and no clock in here.

use std::collections::VecDeque;
use std::time::Duration;

use monitor_model::Outcome;

use crate::terminal::{Colour, Paint, fit, millis};

/// What is around the rows.
pub(crate) struct Frame<'a> {
    /// The page's address.
    pub(crate) page: &'a str,
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
const NAME: usize = 18;
const TOOK: usize = 8;
const NEXT: usize = 9;
/// Margin, mark and the gaps between the columns.
const GAPS: usize = 2 + 2 + 4 * 2;
/// The narrowest column of words that is worth having.
const WHY_MIN: usize = 10;

/// The table. Every line fits the width, so that it can be drawn over in place.
pub(crate) fn lines(frame: &Frame<'_>, rows: &[Row]) -> Vec<String> {
    let paint = frame.paint;
    let flexible = frame
        .width
        .saturating_sub(STATUS + NAME + TOOK + NEXT + GAPS + 1);
    let strip = (flexible / 2).min(40);
    let why = flexible.saturating_sub(strip);
    let mut lines = vec![
        fit_plain(paint, &format!("  page  {}", frame.page), frame.width),
        String::new(),
        paint.dim(&cut(
            &format!(
                "    {:<STATUS$}{:<NAME$}{:>TOOK$}  {:<strip$}  {:<NEXT$}  why",
                "", "", "took", "last checks", "next"
            ),
            frame.width.saturating_sub(1),
        )),
    ];
    lines.extend(rows.iter().map(|row| line(paint, row, strip, why)));
    lines.push(String::new());
    lines.push(paint.dim(&cut(
        &format!("  {}", frame.footer),
        frame.width.saturating_sub(1),
    )));
    lines
}

fn line(paint: Paint, row: &Row, strip: usize, why: usize) -> String {
    let (colour, status) = match row.outcome {
        Some(outcome) => (colour(outcome), outcome.as_str()),
        None => (Colour::Grey, "new"),
    };
    let took = row.took.map_or_else(|| "-".to_owned(), millis);
    let skipped = row.strip.len().saturating_sub(strip);
    let blank = " ".repeat(strip.saturating_sub(row.strip.len()));
    let bars: String = row
        .strip
        .iter()
        .skip(skipped)
        .map(|outcome| bar(paint, *outcome))
        .collect();
    let why = if why >= WHY_MIN {
        fit(&row.why, why)
    } else {
        String::new()
    };
    format!(
        "  {} {}{}{took:>TOOK$}  {blank}{bars}  {}  {}",
        paint.colour(colour, "●"),
        paint.bold(colour, &fit(status, STATUS)),
        fit(&row.name, NAME),
        fit(&row.next, NEXT),
        why.trim_end(),
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

fn cut(text: &str, width: usize) -> String {
    fit(text, width).trim_end().to_owned()
}

fn fit_plain(paint: Paint, text: &str, width: usize) -> String {
    paint.bold(Colour::Cyan, &cut(text, width.saturating_sub(1)))
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
        for width in [62, 72, 80, 100, 132, 250] {
            let footer = "x".repeat(300);
            let page = "http://127.0.0.1:8080/";
            let frame = Frame {
                page,
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
        let line = line(Paint::on(false), &row("Refusing"), 6, 30);
        assert!(
            line.contains("     ▂·█  in 0.8 s   connection refused and a goo…"),
            "{line}"
        );
    }
}
