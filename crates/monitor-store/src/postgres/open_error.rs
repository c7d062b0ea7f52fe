//! Why a PostgreSQL store did not open.

use std::sync::Arc;

use monitor_model::{StoreError, StoreErrorKind};

use super::failure::Failure;

/// Why a database cannot be used, or no longer. None quotes a password.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresOpenError {
    /// The URL is none.
    #[error(
        "the URL of the database cannot be used: {problem}; \
         it is postgres://role:password@host:port/database"
    )]
    Url {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A setting of the store is out of range.
    #[error("{field} is {value}; it has to be at least {least}")]
    Setting {
        /// Which.
        field: &'static str,
        /// What was asked for.
        value: usize,
        /// What is enough.
        least: usize,
    },
    /// A newer program has been here. Nothing was changed.
    #[error(
        "{place}: its schema has version {found}, this program knows up to {supported}; \
         use a newer program or another database"
    )]
    Newer {
        /// Which database.
        place: Arc<str>,
        /// The version that it has.
        found: i64,
        /// The newest version that this program knows.
        supported: i64,
    },
    /// Another store is open on it. Nothing was changed.
    #[error("{place}: {owner} has it open; end that one, or take it over")]
    Owned {
        /// Which database.
        place: Arc<str>,
        /// What the other calls itself, and since when it is there.
        owner: String,
    },
    /// It could not be reached, or refused.
    #[error("{place}: {text}")]
    Database {
        /// Which database.
        place: Arc<str>,
        /// What kind of failure.
        kind: StoreErrorKind,
        /// What the server or the network says.
        text: String,
    },
}

impl PostgresOpenError {
    /// What a caller tells failures by.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Newer { .. } => StoreErrorKind::Newer,
            Self::Owned { .. } => StoreErrorKind::Busy,
            Self::Database { kind, .. } => *kind,
            Self::Url { .. } | Self::Setting { .. } => StoreErrorKind::Other,
        }
    }

    pub(super) fn at(place: &Arc<str>, failure: &Failure) -> Self {
        Self::Database {
            place: Arc::clone(place),
            kind: failure.kind(),
            text: failure.to_string(),
        }
    }
}

impl From<PostgresOpenError> for StoreError {
    fn from(error: PostgresOpenError) -> Self {
        Self {
            action: "open the database",
            kind: error.kind(),
            source: Box::new(error),
        }
    }
}
