//! A table for a terminal: columns as wide as what stands in them.

use crate::terminal::{Paint, printable};

/// Rows of cells under a heading. A cell in the last column may be of any length.
pub(super) struct Table {
    rows: Vec<Vec<Cell>>,
}

/// What stands in a cell, and how it is painted.
pub(super) struct Cell {
    text: String,
    paint: fn(Paint, &str) -> String,
}

impl Cell {
    /// Whoever put the text in, it is nothing but text here.
    pub(super) fn painted(text: impl AsRef<str>, paint: fn(Paint, &str) -> String) -> Self {
        Self {
            text: printable(text.as_ref()),
            paint,
        }
    }

    pub(super) fn text(&self, paint: Paint) -> String {
        (self.paint)(paint, &self.text)
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::painted(text, |_, text| text.to_owned())
    }
}

impl Table {
    pub(super) fn new(heading: &[&str]) -> Self {
        let heading = heading
            .iter()
            .map(|text| Cell::painted(*text, |paint, text| paint.dim(text)));
        Self {
            rows: vec![heading.collect()],
        }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(super) fn text(&self, paint: Paint) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.text.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let gap = width.saturating_sub(cell.text.chars().count()) + 2;
                line.push_str(&cell.text(paint));
                line.push_str(&" ".repeat(gap));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["id", "what"]);
        table.row(["1".into(), "short".into()]);
        table.row(["4711".into(), "ä".into()]);
        let text = table.text(Paint::on(false));
        assert_eq!(text, "id    what\n1     short\n4711  ä\n");
    }
}
