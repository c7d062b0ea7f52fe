//! Durations as people write them: whole numbers with a unit, such as `90s` or `1m30s`.

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Reads a duration such as `500ms`, `30s`, `2m`, `1h`, `7d` or a sum of them, `1m30s`.
///
/// # Errors
/// What is wrong, in words. A number without a unit is refused: seconds and milliseconds are too
/// easily taken for each other.
///
/// ```
/// use std::time::Duration;
/// use monitord::config::parse_duration;
///
/// assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
/// assert!(parse_duration("30").is_err());
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text;
    let mut millis: u64 = 0;
    if rest.is_empty() {
        return Err("is empty".to_owned());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        if number.is_empty() {
            return Err("is no duration".to_owned());
        }
        if unit.is_empty() && tail.is_empty() {
            return Err("has no unit".to_owned());
        }
        let Some((_, factor)) = UNITS.into_iter().find(|(name, _)| *name == unit) else {
            return Err("is no duration".to_owned());
        };
        let part = number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(factor));
        millis = part
            .and_then(|p| millis.checked_add(p))
            .ok_or("is too large")?;
        rest = tail;
    }
    Ok(Duration::from_millis(millis))
}

/// Writes a duration so that [`parse_duration`] reads it back: in the largest unit that leaves no
/// remainder. Parts of a millisecond are dropped.
///
/// ```
/// use std::time::Duration;
/// use monitord::config::format_duration;
///
/// assert_eq!(format_duration(Duration::from_secs(90)), "90s");
/// assert_eq!(format_duration(Duration::from_secs(7200)), "2h");
/// ```
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let exact = UNITS
        .into_iter()
        .rev()
        .find(|(_, factor)| millis.is_multiple_of(*factor));
    let (unit, factor) = exact.unwrap_or(UNITS[0]);
    format!("{}{unit}", millis / factor)
}
