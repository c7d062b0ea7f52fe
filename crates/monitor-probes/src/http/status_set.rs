//! Which HTTP statuses are expected.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use thiserror::Error;

/// The HTTP statuses that a check accepts.
///
/// Written as a list of statuses, ranges and classes: `200`, `200-299`, `2xx`, `2xx,301,404`.
///
/// ```
/// use monitor_probes::StatusSet;
///
/// let set: StatusSet = "2xx, 404".parse()?;
/// assert!(set.contains(204) && set.contains(404) && !set.contains(301));
/// assert_eq!(StatusSet::default().to_string(), "200-399");
/// # Ok::<(), monitor_probes::InvalidStatusSet>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSet(Vec<RangeInclusive<u16>>);

/// A text that is no set of statuses.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{given:?} is no HTTP status; write statuses from 100 to 599, ranges such as 200-299 or \
     classes such as 2xx, separated by commas"
)]
pub struct InvalidStatusSet {
    given: String,
}

impl StatusSet {
    /// Says whether `status` is accepted.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

/// 200 to 399: success, and redirects, which are not followed.
impl Default for StatusSet {
    fn default() -> Self {
        Self(vec![200..=399])
    }
}

impl From<u16> for StatusSet {
    fn from(status: u16) -> Self {
        Self(vec![status..=status])
    }
}

impl FromStr for StatusSet {
    type Err = InvalidStatusSet;

    fn from_str(text: &str) -> Result<Self, InvalidStatusSet> {
        let ranges = text.split(',').map(|part| {
            range(part.trim()).ok_or_else(|| InvalidStatusSet {
                given: part.trim().to_owned(),
            })
        });
        ranges.collect::<Result<_, _>>().map(Self)
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    if let Some(class) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
        let first = status(&format!("{class}00"))?;
        return Some(first..=first + 99);
    }
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (status(first.trim())?, status(last.trim())?),
        None => (status(text)?, status(text)?),
    };
    (first <= last).then_some(first..=last)
}

fn status(text: &str) -> Option<u16> {
    let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
    let status = text.parse().ok()?;
    (digits && (100..=599).contains(&status)).then_some(status)
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match (range.start(), range.end()) {
                (first, last) if first == last => write!(f, "{comma}{first}")?,
                (first, last) => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["200", "200-299", "200-399,404", "100-599"] {
            let set: StatusSet = text.parse().expect(text);
            assert_eq!(set.to_string(), text);
        }
        assert_eq!(
            "2xx".parse::<StatusSet>().expect("a class").to_string(),
            "200-299"
        );
        assert_eq!(
            " 2XX , 404 "
                .parse::<StatusSet>()
                .expect("a list")
                .to_string(),
            "200-299,404"
        );
    }

    #[test]
    fn refuses_what_is_no_status() {
        for text in [
            "", "0", "99", "600", "2", "2x", "0xx", "6xx", "+2xx", "02xx", "299-200", "200,",
            "+20", "-1",
        ] {
            let error = text.parse::<StatusSet>().expect_err(text).to_string();
            assert!(error.contains("such as 200-299"), "{error}");
        }
    }
}
