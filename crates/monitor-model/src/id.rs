//! The name of a monitor: short, printable, safe in a URL and in a metric label.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The id of a monitor: 1 to 64 characters out of `a-z 0-9 . _ -`, the first a letter or a digit.
///
/// Cheap to clone. There is no way to make one that breaks the rule, so that ids need no escaping
/// in URLs, labels and file names, and a key joined of two of them cannot collide.
///
/// ```
/// use monitor_model::MonitorId;
/// let id: MonitorId = "checkout.eu-1".parse()?;
/// assert_eq!(id.as_str(), "checkout.eu-1");
/// assert!("Check out".parse::<MonitorId>().is_err());
/// # Ok::<(), monitor_model::InvalidId>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MonitorId(Arc<str>);

/// Why a text is no monitor id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no monitor id: 1 to 64 characters out of a-z 0-9 . _ -, the first a letter or digit"
)]
pub struct InvalidId {
    /// The refused text, cut to its first 80 characters.
    pub text: String,
}

impl MonitorId {
    /// The longest id, in bytes.
    pub const MAX_LEN: usize = 64;

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_valid(text: &str) -> bool {
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        (1..=Self::MAX_LEN).contains(&text.len())
            && text.bytes().all(allowed)
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
    }
}

impl FromStr for MonitorId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if Self::is_valid(text) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidId {
                text: text.chars().take(80).collect(),
            })
        }
    }
}

impl TryFrom<String> for MonitorId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<MonitorId> for String {
    fn from(id: MonitorId) -> Self {
        id.as_str().to_owned()
    }
}

impl Borrow<str> for MonitorId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<[u8]> for MonitorId {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for MonitorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MonitorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rule_in_a_table() {
        let long = "a".repeat(64);
        for good in ["a", "0", "api", "db-1.eu_west", long.as_str()] {
            assert!(good.parse::<MonitorId>().is_ok(), "{good}");
        }
        let too_long = "a".repeat(65);
        for bad in [
            "",
            " ",
            ".a",
            "-a",
            "A",
            "a b",
            "a/b",
            "a|b",
            "ä",
            "a\0",
            too_long.as_str(),
        ] {
            assert!(bad.parse::<MonitorId>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        /// OPS-37: any text is either refused or kept to the letter; nothing panics.
        #[test]
        fn any_text_is_kept_or_refused(text in ".{0,80}") {
            if let Ok(id) = text.parse::<MonitorId>() {
                prop_assert_eq!(id.as_str(), text);
            }
        }
    }
}
