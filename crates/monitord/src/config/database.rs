//! Where results are kept: a file, or a PostgreSQL database.

use std::fmt;
use std::path::{Path, PathBuf};

use monitor_store::PostgresOptions;

/// Where results are kept.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Database {
    /// An SQLite file.
    File(PathBuf),
    /// A PostgreSQL database.
    Postgres(PostgresUrl),
}

/// The URL of a PostgreSQL database. It can have a password, and never shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(String);

impl Database {
    /// Reads a path, or a URL that begins with `postgres://`. The error quotes neither.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Ok(Self::File(text.into()));
        }
        match PostgresOptions::new(text) {
            Ok(_) => Ok(Self::Postgres(PostgresUrl(text.to_owned()))),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The file. `None` when it is a database of a server.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }

    /// A relative path is one from `folder`.
    pub(super) fn within(self, folder: Option<&Path>) -> Self {
        match (self, folder) {
            (Self::File(path), Some(folder)) => Self::File(folder.join(path)),
            (database, _) => database,
        }
    }
}

impl PostgresUrl {
    /// How a store of it is opened.
    ///
    /// # Errors
    /// Never for one that was read.
    pub(crate) fn options(&self) -> Result<PostgresOptions, monitor_store::PostgresOpenError> {
        PostgresOptions::new(&self.0)
    }
}

/// The path, or host, port and database without role and password.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Postgres(url) => match url.options() {
                Ok(options) => write!(f, "postgres://{}", options.place()),
                Err(_) => f.write_str("postgres://"),
            },
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({self})")
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresUrl(..)")
    }
}
