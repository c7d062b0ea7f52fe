//! What can go wrong with a command, and what kind of failure that is to a caller.

use std::sync::Arc;

use monitor_model::{StoreError, StoreErrorKind};
use monitor_operation::Epoch;
use monitor_pool::managers::postgres::PostgresError;
use monitor_pool::managers::postgres::tokio_postgres::{self, error::SqlState};
use monitor_pool::{AcquireError, ConnectError};

/// Why a command failed. Cloneable, as one failed transaction fails every command in it.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Failure {
    #[error("{text}")]
    Database { kind: StoreErrorKind, text: String },
    #[error("{row}: column {column}: {problem}")]
    Unreadable {
        row: String,
        column: &'static str,
        problem: String,
    },
    #[error("epoch {epoch} is not newer than {standing}")]
    Conflict { epoch: Epoch, standing: Epoch },
    #[error("epoch {0} is above 2^63 - 1, the largest that a row can hold")]
    EpochTooLarge(Epoch),
    #[error("{by} has taken it over: this store can write no more; open it again")]
    TakenOver { by: String },
    #[error("it is closed")]
    Closed,
}

impl Failure {
    pub(super) const fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Database { kind, .. } => *kind,
            Self::Unreadable { .. } => StoreErrorKind::Corrupt,
            Self::Conflict { .. } => StoreErrorKind::Conflict,
            Self::EpochTooLarge(_) => StoreErrorKind::Other,
            Self::TakenOver { .. } => StoreErrorKind::Fenced,
            Self::Closed => StoreErrorKind::Closed,
        }
    }

    /// Whether the same command may come through on another connection, or a moment later.
    pub(super) const fn may_pass(&self) -> bool {
        matches!(
            self.kind(),
            StoreErrorKind::Unreachable | StoreErrorKind::Busy
        )
    }

    /// The error as a caller sees it: what was tried, on which database, and why it failed.
    pub(super) fn into_error(self, action: &'static str, place: &Arc<str>) -> StoreError {
        StoreError {
            action,
            kind: self.kind(),
            source: Box::new(AtPlace {
                place: Arc::clone(place),
                failure: self,
            }),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{place}: {failure}")]
struct AtPlace {
    place: Arc<str>,
    failure: Failure,
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database {
            kind: kind(&error),
            text: text(&error),
        }
    }
}

impl From<AcquireError<PostgresError>> for Failure {
    fn from(error: AcquireError<PostgresError>) -> Self {
        let kind = match &error {
            AcquireError::Connect(error) => connect_kind(error),
            AcquireError::Timeout {
                last_connect_error: Some(error),
                ..
            } => connect_kind(error),
            AcquireError::Closed => StoreErrorKind::Closed,
            _ => StoreErrorKind::Busy,
        };
        Self::Database {
            kind,
            text: chain(&error),
        }
    }
}

fn connect_kind(error: &ConnectError<PostgresError>) -> StoreErrorKind {
    match error {
        ConnectError::Manager(error) => match &**error {
            PostgresError::Session { source, .. } => kind(source),
            PostgresError::Role { .. } => StoreErrorKind::ReadOnly,
            PostgresError::Config { .. } | PostgresError::Tls { .. } => StoreErrorKind::Other,
            _ => StoreErrorKind::Unreachable,
        },
        _ => StoreErrorKind::Unreachable,
    }
}

/// By SQLSTATE, never by text. What the server did not say is a connection that failed.
pub(super) fn kind(error: &tokio_postgres::Error) -> StoreErrorKind {
    let Some(code) = error.code() else {
        let is_io = |source: &(dyn std::error::Error + 'static)| source.is::<std::io::Error>();
        let source = std::error::Error::source(error);
        return if error.is_closed() || source.is_some_and(is_io) {
            StoreErrorKind::Unreachable
        } else {
            StoreErrorKind::Other
        };
    };
    kind_of(code)
}

fn kind_of(code: &SqlState) -> StoreErrorKind {
    match code.code() {
        // Out of disk, and the ways in which a table space can be.
        "53100" => StoreErrorKind::Full,
        "25006" => StoreErrorKind::ReadOnly,
        "42501" => StoreErrorKind::Denied,
        // The machine refuses, or a limit that was set for the server or the role does.
        "58030" | "53400" => StoreErrorKind::Io,
        // Serialization, deadlock, lock and statement timeouts, too many connections, no memory. And
        // a key that was free when this transaction looked: another was faster.
        "40001" | "40P01" | "55P03" | "57014" | "53300" | "53200" | "23505" => StoreErrorKind::Busy,
        // A session that idled in a transaction was ended: this side stood still.
        "25P03" => StoreErrorKind::Unreachable,
        // A table or a column that the schema version promises is missing, or a page is damaged.
        "42P01" | "42703" | "XX001" | "XX002" => StoreErrorKind::Corrupt,
        code if code.starts_with("28") => StoreErrorKind::Denied,
        // Shutting down, crashed, starting up; and all that is called a connection exception.
        code if code.starts_with("57P") || code.starts_with("08") => StoreErrorKind::Unreachable,
        _ => StoreErrorKind::Other,
    }
}

/// The server's own words with their SQLSTATE. Never the detail, which can quote a row.
fn text(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{} (SQLSTATE {})", error.message(), error.code().code()),
        None => chain(error),
    }
}

/// An error and what is behind it, each once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_of_failure_has_its_kind() {
        for (code, kind) in [
            ("53100", StoreErrorKind::Full),
            ("42501", StoreErrorKind::Denied),
            ("28P01", StoreErrorKind::Denied),
            ("25006", StoreErrorKind::ReadOnly),
            ("40001", StoreErrorKind::Busy),
            ("40P01", StoreErrorKind::Busy),
            ("55P03", StoreErrorKind::Busy),
            ("57014", StoreErrorKind::Busy),
            ("53300", StoreErrorKind::Busy),
            ("23505", StoreErrorKind::Busy),
            ("57P01", StoreErrorKind::Unreachable),
            ("57P03", StoreErrorKind::Unreachable),
            ("08006", StoreErrorKind::Unreachable),
            ("58030", StoreErrorKind::Io),
            ("53400", StoreErrorKind::Io),
            ("42P01", StoreErrorKind::Corrupt),
            ("XX001", StoreErrorKind::Corrupt),
            ("22003", StoreErrorKind::Other),
        ] {
            assert_eq!(kind_of(&SqlState::from_code(code)), kind, "{code}");
        }
    }
}
