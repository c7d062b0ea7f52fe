//! Figures of a row.

use std::time::Duration;

use super::subject::Point;
use super::time;

/// What stands for a figure that is not known.
pub(crate) const NONE: &str = "—";

/// A share as a percentage with at most `digits` decimals, cut and never rounded up: 100% is said
/// of nothing less.
pub(crate) fn percent(share: Option<f64>, digits: u32) -> String {
    let Some(share) = share.filter(|share| share.is_finite()) else {
        return NONE.to_owned();
    };
    let scale = 10_u64.pow(digits);
    // In units of the last digit. The margin makes up for binary fractions: 0.29 * 100 < 29.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 1, clamped"
    )]
    #[expect(clippy::cast_precision_loss, reason = "a small power of ten")]
    let units = (share.clamp(0.0, 1.0) * 100.0 * scale as f64 + 1e-9) as u64;
    let (whole, rest) = (units / scale, units % scale);
    if rest == 0 {
        return format!("{whole}%");
    }
    format!("{whole}.{rest:0width$}%", width = digits as usize)
}

/// The 95th percentile of the answers among `points`, by nearest rank.
pub(crate) fn p95(points: &[Point]) -> Option<Duration> {
    let mut answers: Vec<_> = points.iter().filter_map(Point::answered).collect();
    answers.sort_unstable();
    let rank = (answers.len() * 95).div_ceil(100);
    answers.get(rank.checked_sub(1)?).copied()
}

/// The same as text.
pub(crate) fn p95_text(points: &[Point]) -> String {
    p95(points).map_or_else(|| NONE.to_owned(), time::measured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample::point;
    use monitor_model::Outcome;

    #[test]
    fn percentages_are_never_rounded_up() {
        let cases = [
            (None, 2, "—"),
            (Some(f64::NAN), 2, "—"),
            (Some(1.0), 2, "100%"),
            (Some(0.999_999), 2, "99.99%"),
            (Some(0.9998), 2, "99.98%"),
            (Some(0.912), 2, "91.20%"),
            (Some(0.29), 2, "29%"),
            (Some(0.0), 2, "0%"),
            (Some(0.986), 1, "98.6%"),
            (Some(7.0), 1, "100%"),
        ];
        for (share, digits, text) in cases {
            assert_eq!(percent(share, digits), text, "{share:?}");
        }
    }

    #[test]
    fn the_percentile_is_one_of_the_answers() {
        assert_eq!(p95(&[]), None);
        assert_eq!(
            p95(&[point(0, Outcome::Down)]),
            None,
            "a failure is no answer"
        );
        let answers = |count: u32| -> Vec<_> {
            (1..=count)
                .map(|n| Point {
                    took_us: Some(n * 1000),
                    ..point(0, Outcome::Up)
                })
                .collect()
        };
        for (count, ms) in [
            (1, 1),
            (2, 2),
            (19, 19),
            (20, 19),
            (21, 20),
            (60, 57),
            (100, 95),
        ] {
            assert_eq!(
                p95(&answers(count)),
                Some(Duration::from_millis(ms)),
                "{count} answers"
            );
        }
        assert_eq!(p95_text(&answers(20)), "19 ms");
    }
}
