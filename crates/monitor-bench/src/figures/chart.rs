//! Lines over a plane with two axes. Each line is named at its end, so no legend is needed.

use crate::svg::{Anchor, Svg};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 86.0;
const BOTTOM: f64 = 52.0;

/// The least distance of two names, so that they can be read.
const NAME_HEIGHT: f64 = 18.0;

/// A plane and what is on it.
#[derive(Debug)]
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) subtitle: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

/// One direction of the plane.
#[derive(Debug)]
pub(crate) struct Axis {
    pub(crate) label: &'static str,
    pub(crate) range: (f64, f64),
    pub(crate) is_logarithmic: bool,
    /// Where there is a mark, and what is written there.
    pub(crate) ticks: Vec<(f64, String)>,
}

/// A line with the name at its end.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// Its colour, and perhaps its weight.
    pub(crate) class: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Axis {
    /// A share of the axis: 0 at its start, 1 at its end.
    fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| {
            if self.is_logarithmic {
                value.max(self.range.0).log10()
            } else {
                value
            }
        };
        let (from, to) = (scale(self.range.0), scale(self.range.1));
        ((scale(value) - from) / (to - from)).clamp(0.0, 1.0)
    }
}

impl Chart {
    pub(crate) fn draw(&self) -> String {
        let names: Vec<_> = self.lines.iter().map(|line| line.name.as_str()).collect();
        let description = format!(
            "{}. {} over {}. Lines: {}.",
            self.subtitle,
            self.y.label,
            self.x.label,
            names.join(", ")
        );
        let mut svg = Svg::new(WIDTH, HEIGHT, self.title, &description);
        svg.text("title", (LEFT, 26.0), Anchor::Start, self.title);
        svg.text("muted", (LEFT, 45.0), Anchor::Start, self.subtitle);
        self.axes(&mut svg);
        for line in &self.lines {
            let points: Vec<_> = line.points.iter().map(|point| self.place(*point)).collect();
            svg.path(&format!("line {}", line.class), &points);
        }
        self.names(&mut svg);
        svg.finish()
    }

    fn axes(&self, svg: &mut Svg) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for (value, label) in &self.y.ticks {
            let (_, y) = self.place((self.x.range.0, *value));
            svg.path("grid", &[(LEFT, y), (right, y)]);
            svg.text("muted", (LEFT - 8.0, y + 4.0), Anchor::End, label);
        }
        svg.path("axis", &[(LEFT, bottom), (right, bottom)]);
        for (value, label) in &self.x.ticks {
            let (x, _) = self.place((*value, self.y.range.0));
            svg.path("axis", &[(x, bottom), (x, bottom + 4.0)]);
            svg.text("muted", (x, bottom + 19.0), Anchor::Middle, label);
        }
        let middle = f64::midpoint(LEFT, right);
        svg.text("", (middle, bottom + 40.0), Anchor::Middle, self.x.label);
        svg.text("", (LEFT, TOP - 12.0), Anchor::Start, self.y.label);
    }

    /// Each name at the height of its line's end, or as near as there is room.
    fn names(&self, svg: &mut Svg) {
        let mut ends: Vec<(f64, &Line)> = self
            .lines
            .iter()
            .filter_map(|line| Some((self.place(*line.points.last()?).1, line)))
            .collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let wanted: Vec<f64> = ends.iter().map(|(y, _)| *y).collect();
        for ((_, line), y) in ends.iter().zip(apart(&wanted)) {
            let class = format!("name {}", line.class);
            let place = (WIDTH - RIGHT + 8.0, y + 4.0);
            svg.text(&class, place, Anchor::Start, &line.name);
        }
    }

    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (
            LEFT + self.x.place(x) * (WIDTH - RIGHT - LEFT),
            HEIGHT - BOTTOM - self.y.place(y) * (HEIGHT - BOTTOM - TOP),
        )
    }
}

/// Moves heights that are too near to each other apart, as little as need be: neighbours that
/// touch are a block around their middle.
fn apart(sorted: &[f64]) -> Vec<f64> {
    // (the sum of the wished centres, how many)
    let mut blocks: Vec<(f64, f64)> = Vec::new();
    let span = |(_, count): (f64, f64)| (count - 1.0) * NAME_HEIGHT / 2.0;
    let centre = |(sum, count): (f64, f64)| sum / count;
    for y in sorted {
        let mut block = (*y, 1.0);
        while let Some(last) = blocks.last().copied() {
            let gap = (centre(block) - span(block)) - (centre(last) + span(last));
            if gap >= NAME_HEIGHT {
                break;
            }
            blocks.pop();
            block = (last.0 + block.0, last.1 + block.1);
        }
        blocks.push(block);
    }
    blocks
        .into_iter()
        .flat_map(|block| {
            let first = centre(block) - span(block);
            (0..block.1 as usize).map(move |index| first + index as f64 * NAME_HEIGHT)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_distance_and_their_order() {
        assert_eq!(apart(&[10.0, 100.0]), [10.0, 100.0]);
        assert_eq!(apart(&[50.0, 50.0]), [41.0, 59.0]);
        let placed = apart(&[0.0, 50.0, 52.0, 60.0, 200.0]);
        assert_eq!(placed, [0.0, 36.0, 54.0, 72.0, 200.0]);
        assert_eq!(apart(&[]), [0.0; 0]);
    }

    #[test]
    fn a_logarithmic_axis_gives_each_decade_the_same_room() {
        let axis = Axis {
            label: "",
            range: (0.1, 1000.0),
            is_logarithmic: true,
            ticks: Vec::new(),
        };
        assert_eq!(axis.place(0.0), 0.0);
        assert!((axis.place(10.0) - 0.5).abs() < 1e-9);
        assert_eq!(axis.place(5000.0), 1.0);
    }
}
