//! What can go wrong, and what kind of failure that is to a caller.
//!
//! | PostgreSQL says | kind |
//! |---|---|
//! | 40001 serialization failure, 40P01 deadlock | `Conflict` |
//! | 08007 resolution unknown; a connection that ends before the reply to a write | `Ambiguous` |
//! | 08 connection, 53 resources, 57P01-57P03 shutting down or starting, 57014 cancelled, 55P03 lock, 25P03 and 57P05 idle too long; no connection | `Transient` |
//! | 53100 disk full | `Full` |
//! | 58030 I/O error, 53400 a limit of the server | `Io` |
//! | 42501 privilege, 28 role or password, 25006 read only, 3D000 no such database, 57P04 it was dropped | `Denied` |
//! | 42P01, 42703, 42883, 3F000 no such table, column, function, schema; XX001, XX002 corrupted | `Schema` |
//! | everything else | `Fatal` |

use std::error::Error;
use std::fmt;

use monitor_pool::managers::postgres::PostgresError;
use monitor_pool::managers::postgres::tokio_postgres;
use monitor_pool::{AcquireError, ConnectError};

use crate::{StoreError, StoreErrorKind};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Acquire(#[from] AcquireError<PostgresError>),
    /// The server's words, which the error of the driver leaves out.
    #[error("{}", Words(source))]
    Server {
        source: tokio_postgres::Error,
        /// Whether something may have been written.
        writes: bool,
    },
    #[error("column {column} holds {value}, which this version cannot read")]
    Unreadable { column: &'static str, value: String },
    #[error("it was rolled back: a statement of the transaction had failed")]
    RolledBack,
    #[error("the permit is of another transaction: {0}")]
    OtherPermit(String),
    #[error("it is closed")]
    Closed,
}

impl Failure {
    pub(crate) const fn read(source: tokio_postgres::Error) -> Self {
        Self::Server {
            source,
            writes: false,
        }
    }

    pub(crate) const fn write(source: tokio_postgres::Error) -> Self {
        Self::Server {
            source,
            writes: true,
        }
    }

    pub(crate) fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Acquire(error) => of_acquire(error),
            Self::Server { source, writes } => of_server(source, *writes),
            Self::Unreadable { .. } => StoreErrorKind::Schema,
            Self::RolledBack => StoreErrorKind::Conflict,
            Self::OtherPermit(_) => StoreErrorKind::Fatal,
            Self::Closed => StoreErrorKind::Closed,
        }
    }

    pub(crate) fn doing(self, action: &'static str) -> StoreError {
        StoreError {
            action,
            kind: self.kind(),
            source: Box::new(self),
        }
    }
}

fn of_acquire(error: &AcquireError<PostgresError>) -> StoreErrorKind {
    match error {
        AcquireError::Closed => StoreErrorKind::Closed,
        AcquireError::Connect(ConnectError::Manager(refused)) => of_connect(refused),
        AcquireError::NoRuntime => StoreErrorKind::Fatal,
        _ => StoreErrorKind::Transient,
    }
}

fn of_connect(error: &PostgresError) -> StoreErrorKind {
    match error {
        PostgresError::Session { source, .. } => match of_server(source, false) {
            // What this side refuses, such as a method of authentication.
            StoreErrorKind::Fatal => StoreErrorKind::Denied,
            kind => kind,
        },
        PostgresError::Config { .. } | PostgresError::Tls { .. } => StoreErrorKind::Denied,
        _ => StoreErrorKind::Transient,
    }
}

fn of_server(error: &tokio_postgres::Error, writes: bool) -> StoreErrorKind {
    match error.code() {
        Some(code) => of_code(code.code()),
        None if !lost(error) => StoreErrorKind::Fatal,
        None if writes => StoreErrorKind::Ambiguous,
        None => StoreErrorKind::Transient,
    }
}

/// Whether the connection ended, rather than the statement.
fn lost(error: &tokio_postgres::Error) -> bool {
    error.is_closed() || cause::<std::io::Error>(error).is_some()
}

fn of_code(code: &str) -> StoreErrorKind {
    match (code, code.get(..2).unwrap_or_default()) {
        ("40001" | "40P01", _) => StoreErrorKind::Conflict,
        ("08007", _) => StoreErrorKind::Ambiguous,
        ("53100", _) => StoreErrorKind::Full,
        ("53400" | "58030", _) => StoreErrorKind::Io,
        ("42501" | "25006" | "3D000" | "57P04", _) | (_, "28") => StoreErrorKind::Denied,
        ("42P01" | "42703" | "42883" | "3F000" | "XX001" | "XX002", _) => StoreErrorKind::Schema,
        ("57P01" | "57P02" | "57P03" | "57014" | "55P03" | "25P03" | "57P05", _)
        | (_, "08" | "53") => StoreErrorKind::Transient,
        _ => StoreErrorKind::Fatal,
    }
}

/// The first cause of that type.
fn cause<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

struct Words<'e>(&'e tokio_postgres::Error);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_db_error() {
            Some(said) => write!(f, "{} (SQLSTATE {})", said.message(), said.code().code()),
            None => match self.0.source() {
                Some(source) => write!(f, "{}: {source}", self.0),
                None => self.0.fmt(f),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// JOB-6: every class of SQLSTATE has its kind, by code and never by text.
    #[test]
    fn every_class_has_its_kind() {
        use StoreErrorKind::{Ambiguous, Conflict, Denied, Fatal, Full, Io, Schema, Transient};
        let table = [
            (Conflict, &["40001", "40P01"][..]),
            (Ambiguous, &["08007"]),
            (Full, &["53100"]),
            (Io, &["53400", "58030"]),
            (
                Denied,
                &["42501", "25006", "28000", "28P01", "3D000", "57P04"],
            ),
            (
                Schema,
                &["42P01", "42703", "42883", "3F000", "XX001", "XX002"],
            ),
            (
                Transient,
                &[
                    "08000", "08001", "08003", "08006", "53000", "53200", "53300", "57P01",
                    "57P02", "57P03", "57014", "55P03", "25P03", "57P05",
                ],
            ),
            (
                Fatal,
                &[
                    "23503", "23505", "22003", "42601", "25P02", "XX000", "0A000", "",
                ],
            ),
        ];
        for (kind, codes) in table {
            for code in codes {
                assert_eq!(of_code(code), kind, "{code}");
            }
        }
    }
}
