//! A time as people say it.

use std::{fmt, time::Duration};

/// A duration in days, hours, minutes and seconds: `1h 1m 1s`. What is zero in front is left out,
/// parts of a second are cut off.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use monitor_supervisor::Uptime;
///
/// assert_eq!(Uptime(Duration::from_secs(3661)).to_string(), "1h 1m 1s");
/// assert_eq!(Uptime(Duration::from_secs(86_400)).to_string(), "1d 0h 0m 0s");
/// assert_eq!(Uptime(Duration::from_millis(999)).to_string(), "0s");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uptime(pub Duration);

impl fmt::Display for Uptime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
        let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds}s"),
            (0, 0, minutes) => write!(f, "{minutes}m {seconds}s"),
            (0, hours, minutes) => write!(f, "{hours}h {minutes}m {seconds}s"),
            (days, hours, minutes) => write!(f, "{days}d {hours}h {minutes}m {seconds}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// STB-8: uptimes as people say them.
    #[test]
    fn in_a_table() {
        for (seconds, said) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m 0s"),
            (3_661, "1h 1m 1s"),
            (86_399, "23h 59m 59s"),
            (90_061, "1d 1h 1m 1s"),
            (u64::MAX, "213503982334601d 7h 0m 15s"),
        ] {
            assert_eq!(Uptime(Duration::from_secs(seconds)).to_string(), said);
        }
    }
}
