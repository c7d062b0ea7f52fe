//! Colours, widths and figures for a terminal.

use std::io::IsTerminal;
use std::time::Duration;

/// The colours in use, by their ANSI numbers, which follow the reader's own palette.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Blue = 34,
    Magenta = 35,
    Cyan = 36,
    Grey = 90,
}

/// Paints, or leaves plain what must stay plain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// Colours on a terminal, unless `NO_COLOR` (no-color.org) says otherwise or it is a dumb one.
    pub(crate) fn on(terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            on: terminal && !refused && !is_dumb(),
        }
    }

    pub(crate) fn colour(self, colour: Colour, text: &str) -> String {
        self.code(&(colour as u8).to_string(), text)
    }

    pub(crate) fn bold(self, colour: Colour, text: &str) -> String {
        self.code(&format!("1;{}", colour as u8), text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.code("2", text)
    }

    fn code(self, code: &str, text: &str) -> String {
        if self.on && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Whether standard output is a terminal of at least `width` columns that can be drawn over.
pub(crate) fn can_draw_over(width: usize) -> bool {
    let is_wide = columns().is_none_or(|columns| columns >= width);
    std::io::stdout().is_terminal() && is_wide && !is_dumb()
}

/// A duration with three significant digits: `0.42 ms`, `12.3 ms`, `1.25 s`.
pub(crate) fn millis(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    match ms {
        ..1.0 => format!("{ms:.2} ms"),
        1.0..100.0 => format!("{ms:.1} ms"),
        100.0..1000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.2} s", ms / 1e3),
    }
}

/// A number with its digits in threes.
pub(crate) fn digits(number: u64) -> String {
    let plain = number.to_string();
    let mut text = String::new();
    for (index, digit) in plain.chars().enumerate() {
        if index > 0 && (plain.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `text` cut or filled to exactly `width` characters.
pub(crate) fn fit(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return format!("{text:<width$}");
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// `text` in one line, with whatever could steer a terminal or turn its words around written out.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}')
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match c.is_control() || turns {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

/// The width of the terminal behind standard output, if there is one.
pub(crate) fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_threes() {
        let texts = [0, 12, 123, 1234, 143_000_000].map(digits);
        assert_eq!(texts, ["0", "12", "123", "1 234", "143 000 000"]);
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(printable("grün, \u{1f7e2} 100 %"), "grün, \u{1f7e2} 100 %");
        assert_eq!(printable("a\u{1b}[2J\rb\n\tc"), "a\\u{1b}[2J\\rb\\n\\tc");
        assert_eq!(printable("\u{9b}\u{7f}\u{202e}"), "\\u{9b}\\u{7f}\\u{202e}");
    }
}
