//! Where jobs are: in a file, or in a server.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use monitor_jobs::{Backend, PgJobs, PgOptions, SqliteJobs, SqliteOptions};
use monitor_pool::managers::postgres::tokio_postgres::Config;
use thiserror::Error;

use crate::commands::Failure;

/// Where jobs are.
#[derive(Clone)]
pub enum Database {
    /// A file.
    Sqlite(PathBuf),
    /// A server, with its password if one was given: never shown.
    Postgres(Box<Config>),
}

/// Why a text names no database.
#[derive(Debug, Clone, Error)]
#[error("is no database: {what}; write a file, or postgres://user@host/database")]
pub struct InvalidDatabase {
    /// What is wrong with it; the text itself may hold a password.
    what: String,
}

impl FromStr for Database {
    type Err = InvalidDatabase;

    fn from_str(text: &str) -> Result<Self, InvalidDatabase> {
        let refused = |what: String| InvalidDatabase { what };
        if text.is_empty() {
            return Err(refused("it is empty".to_owned()));
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return match text.split_once("://") {
                Some((scheme, _)) => Err(refused(format!("{scheme}:// is not known"))),
                None => Ok(Self::Sqlite(text.into())),
            };
        }
        let config = text.parse::<Config>();
        let config = config.map_err(|error| refused(error.to_string()))?;
        Ok(Self::Postgres(Box::new(config)))
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.debug_tuple("Postgres").finish_non_exhaustive(),
        }
    }
}

impl Database {
    /// Opens what is there. A file that is not there is not made: a look should leave nothing.
    pub(super) async fn open(&self) -> Result<Arc<dyn Backend>, Failure> {
        match self {
            Self::Sqlite(path) if !path.exists() => Err(Failure::new(format!(
                "there is no database {}; name it with --database",
                path.display()
            ))),
            Self::Sqlite(path) => Ok(Arc::new(SqliteJobs::open(&SqliteOptions::new(path))?)),
            Self::Postgres(config) => {
                let options = PgOptions::default();
                Ok(Arc::new(
                    PgJobs::connect((**config).clone(), options).await?,
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_a_file_or_a_server() {
        let file: Database = "some/file.sqlite".parse().unwrap();
        assert!(matches!(file, Database::Sqlite(_)));
        let server: Database = "postgres://me:secret@localhost/jobs".parse().unwrap();
        assert!(matches!(server, Database::Postgres(_)));
        assert!(!format!("{server:?}").contains("secret"));
        for text in [
            "",
            "mysql://me:secret@localhost",
            "postgres://me:secret@:port/",
        ] {
            let error = text.parse::<Database>().unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
