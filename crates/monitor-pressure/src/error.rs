//! What is refused.

use thiserror::Error;

/// Why a configuration is refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value is out of its range.
    #[error("{field} is {value}: allowed is {allowed}")]
    OutOfRange {
        /// The key.
        field: &'static str,
        /// What it was set to.
        value: String,
        /// What would be right.
        allowed: &'static str,
    },
    /// Two values that are fine by themselves do not go together.
    #[error("{field} is {value} and {other} is {other_value}: {right}")]
    Contradiction {
        /// One key.
        field: &'static str,
        /// What it was set to.
        value: String,
        /// The other key.
        other: &'static str,
        /// What that one was set to.
        other_value: String,
        /// What would be right.
        right: &'static str,
    },
    /// The rule of one source is refused.
    #[error("rule of {name}: {problem}")]
    Rule {
        /// The name of the source.
        name: String,
        /// What is wrong with its rule.
        problem: Box<ConfigError>,
    },
}

impl ConfigError {
    pub(crate) fn range(field: &'static str, value: String, allowed: &'static str) -> Self {
        Self::OutOfRange {
            field,
            value,
            allowed,
        }
    }
}
