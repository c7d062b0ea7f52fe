//! What a job carries: JSON text, checked once, kept to the letter.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

/// The longest payload, in bytes.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// JSON text of at most 1 MiB. A database keeps it to the letter and never looks inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Payload(String);

/// Why a payload was refused. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPayload {
    /// Not JSON, or a value that JSON cannot show.
    #[error("the payload is not JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// Too long.
    #[error(
        "the payload has {bytes} bytes; at most {MAX_BYTES} (1 MiB): keep large data elsewhere and carry its name"
    )]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
}

impl Payload {
    /// Takes JSON text.
    ///
    /// # Errors
    /// When it is no JSON, or longer than 1 MiB.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidPayload> {
        let text = text.into();
        if text.len() > MAX_BYTES {
            return Err(InvalidPayload::TooLong { bytes: text.len() });
        }
        serde_json::from_str::<IgnoredAny>(&text).map_err(InvalidPayload::NotJson)?;
        Ok(Self(text))
    }

    /// Writes `value` as JSON.
    ///
    /// # Errors
    /// When it cannot be shown in JSON, or is longer than 1 MiB.
    pub fn of(value: &impl Serialize) -> Result<Self, InvalidPayload> {
        let text = serde_json::to_string(value).map_err(InvalidPayload::NotJson)?;
        if text.len() > MAX_BYTES {
            return Err(InvalidPayload::TooLong { bytes: text.len() });
        }
        Ok(Self(text))
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is no `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// From a database, which got it from a `Payload`.
    pub(crate) fn stored(text: String) -> Self {
        Self(text)
    }
}

impl TryFrom<String> for Payload {
    type Error = InvalidPayload;

    fn try_from(text: String) -> Result<Self, InvalidPayload> {
        Self::parse(text)
    }
}

impl From<Payload> for String {
    fn from(payload: Payload) -> Self {
        payload.0
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self("null".to_owned())
    }
}
