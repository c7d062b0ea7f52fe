//! Where results are kept: a file, or a PostgreSQL database.

use std::fmt;
use std::path::{Path, PathBuf};

use monitor_pool::managers::postgres::tokio_postgres;
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
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return match text.split_once("://") {
                Some(_) => Err("is a URL that does not begin with postgres://".to_owned()),
                None => Ok(Self::File(text.into())),
            };
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

    /// Where the daemon keeps its own jobs: beside a file of results, `monitord.jobs.db` for
    /// `monitord.db`, and in the same database of a server. A file of their own, for they would
    /// take turns with the results otherwise, and be copied with them.
    #[must_use]
    pub fn of_jobs(&self) -> Self {
        match self {
            Self::File(path) => {
                let mut name = path.file_stem().unwrap_or_default().to_owned();
                name.push(".jobs");
                if let Some(extension) = path.extension() {
                    name.push(".");
                    name.push(extension);
                }
                Self::File(path.with_file_name(name))
            }
            Self::Postgres(_) => self.clone(),
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

    /// How connections to it are made. The error quotes nothing of it.
    ///
    /// # Errors
    /// Never for one that was read.
    pub(crate) fn connections(&self) -> Result<tokio_postgres::Config, tokio_postgres::Error> {
        self.0.parse()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_a_file_or_a_server_and_shows_no_password() {
        let file = Database::read("some/file.sqlite").unwrap();
        assert_eq!(file.path(), Some(Path::new("some/file.sqlite")));
        let server = Database::read("postgres://me:secret@localhost/jobs").unwrap();
        assert_eq!(server.to_string(), "postgres://localhost:5432/jobs");
        assert_eq!(server.of_jobs(), server);
        assert!(!format!("{server:?}").contains("secret"));
        for text in [
            "",
            "mysql://me:secret@localhost",
            "postgres://me:secret@:port/",
        ] {
            let what = Database::read(text).unwrap_err();
            assert!(!what.contains("secret"), "{what}");
        }
    }

    #[test]
    fn jobs_are_beside_the_results() {
        for (results, jobs) in [
            ("/var/lib/monitord.db", "/var/lib/monitord.jobs.db"),
            ("results", "results.jobs"),
            ("a.b.sqlite", "a.b.jobs.sqlite"),
        ] {
            assert_eq!(
                Database::File(results.into()).of_jobs().path(),
                Some(Path::new(jobs))
            );
        }
    }
}
