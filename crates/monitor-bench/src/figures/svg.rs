//! A picture as text. Light or dark by what the reader's system prefers; opaque, so that it can be
//! read on a page of either kind.

use std::fmt::{Display, Write as _};

/// Where a text is, seen from its point.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// Colours by class, for light and for dark: surface, text, muted text, grid, then those of data.
const STYLE: &str = "\
text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:#1f2328}\
.title{font-size:16px;font-weight:600}.muted{fill:#59636e;font-size:12px}\
.surface{fill:#fff}.grid{stroke:#d8dee4;stroke-width:1}.axis{stroke:#59636e;stroke-width:1}\
.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}\
.bold{stroke-width:3.5}.name,.head{font-weight:600}\
.gray{--c:#818b98}.red{--c:#cf3a46}.amber{--c:#b8860b}.green{--c:#1a7f45}.blue{--c:#0969da}\
.violet{--c:#8250df}.line{stroke:var(--c)}.fill{fill:var(--c)}.name{fill:var(--c)}.soft{fill-opacity:.35}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.muted{fill:#9198a1}.surface{fill:#0d1117}\
.grid{stroke:#2a313a}.axis{stroke:#9198a1}\
.gray{--c:#848d97}.red{--c:#ff7b72}.amber{--c:#d9a520}.green{--c:#3fb950}.blue{--c:#58a6ff}\
.violet{--c:#bc8cff}.fill{fill:var(--c)}.name{fill:var(--c)}}";

/// A picture that is being drawn. Lengths are pixels.
#[derive(Debug)]
pub(crate) struct Svg {
    text: String,
}

impl Svg {
    /// An empty picture; `description` is for those who cannot see it.
    pub(crate) fn new(width: f64, height: f64, title: &str, description: &str) -> Self {
        let [title, description] = [title, description].map(escaped);
        let mut svg = Self {
            text: format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
                 width=\"{width}\" height=\"{height}\" role=\"img\">\n\
                 <title>{title}</title>\n<desc>{description}</desc>\n<style>{STYLE}</style>\n"
            ),
        };
        svg.rect("surface", (0.0, 0.0), (width, height));
        svg
    }

    pub(crate) fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        let [x, y, width, height] = [x, y, width, height].map(Pixels);
        self.add(format_args!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>"
        ));
    }

    /// A line through all points.
    pub(crate) fn path(&mut self, class: &str, points: &[(f64, f64)]) {
        let mut data = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let step = if index == 0 { 'M' } else { 'L' };
            // Writing to a string cannot fail.
            let _ = write!(data, "{step}{} {}", Pixels(*x), Pixels(*y));
        }
        self.add(format_args!("<path class=\"{class}\" d=\"{data}\"/>"));
    }

    pub(crate) fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let ([x, y], text) = ([x, y].map(Pixels), escaped(text));
        self.add(format_args!(
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    /// The finished picture.
    pub(crate) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    fn add(&mut self, element: impl Display) {
        let _ = writeln!(self.text, "{element}");
    }
}

/// To a tenth, without a tail of zeros: small, and the same on every machine.
struct Pixels(f64);

impl Display for Pixels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tenths = (self.0 * 10.0).round() as i64;
        if tenths % 10 == 0 {
            write!(f, "{}", tenths / 10)
        } else {
            write!(f, "{:.1}", tenths as f64 / 10.0)
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_small_and_escaped() {
        let mut svg = Svg::new(10.0, 5.5, "a < b", "\"c\" & d");
        svg.path("line", &[(1.0, 2.25), (3.0, -0.04)]);
        svg.text("", (0.05, 9.0), Anchor::End, "<");
        let text = svg.finish();
        assert!(text.contains("<title>a &lt; b</title>"), "{text}");
        assert!(text.contains("&quot;c&quot; &amp; d"), "{text}");
        assert!(text.contains("d=\"M1 2.3L3 0\""), "{text}");
        assert!(
            text.contains("x=\"0.1\" y=\"9\" text-anchor=\"end\">&lt;<"),
            "{text}"
        );
        assert!(text.ends_with("</svg>\n"));
    }
}
