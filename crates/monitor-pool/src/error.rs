//! What can go wrong, one type for each operation.

use std::{error::Error, sync::Arc, time::Duration};

use thiserror::Error;

use crate::{Holder, Status};

/// Why [`acquire`](crate::Pool::acquire) gave no connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AcquireError<E: Error + 'static> {
    /// The deadline passed.
    #[error(
        "no connection within {waited:?}: waited for {stage}; {status}{}{}",
        last_error(last_connect_error.as_ref()),
        held_by(holders)
    )]
    Timeout {
        /// What it was waiting for at the end.
        stage: Stage,
        /// How long it has waited.
        waited: Duration,
        /// The pool at that moment.
        status: Box<Status>,
        /// Why the last attempt to connect failed, if no other has succeeded since.
        #[source]
        last_connect_error: Option<ConnectError<E>>,
        /// Who holds connections, longest first.
        holders: Vec<Holder>,
    },
    /// Connecting failed for good, or in a way that [`OnConnectError`](crate::OnConnectError) says
    /// not to wait for.
    #[error("cannot connect: {0}")]
    Connect(#[source] ConnectError<E>),
    /// As many callers as may wait are waiting.
    #[error("{waiting} callers wait already, max_waiters is {max_waiters}")]
    Overloaded {
        /// How many wait.
        waiting: usize,
        /// How many may.
        max_waiters: usize,
    },
    /// The pool is closed, or being closed.
    #[error("the pool is closed")]
    Closed,
    /// Every connection is held by a task that waits for another one: none can come back.
    #[error(
        "deadlock after {waited:?}: each holder waits for another connection{}",
        held_by(holders)
    )]
    Deadlock {
        /// How long it has waited.
        waited: Duration,
        /// Who holds connections, longest first.
        holders: Vec<Holder>,
    },
    /// To wait, there has to be a tokio runtime with its timer enabled.
    #[error("no idle connection, and no tokio runtime with a timer to wait in")]
    NoRuntime,
}

/// Why [`try_acquire`](crate::Pool::try_acquire) gave no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TryAcquireError {
    /// No connection is idle.
    #[error("no connection is idle")]
    NoneIdle,
    /// Those that are idle have to be checked first, which takes an [`acquire`](crate::Pool::acquire).
    #[error("the idle connections have to be checked first")]
    Unchecked,
    /// The pool is closed, or being closed.
    #[error("the pool is closed")]
    Closed,
}

/// Why [`execute`](crate::Pool::execute) failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExecuteError<E: Error + 'static, O> {
    /// There was no connection to execute on.
    #[error(transparent)]
    Acquire(AcquireError<E>),
    /// The operation itself failed; its connection has been closed.
    #[error("the operation failed")]
    Operation(O),
}

/// Why a connection could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError<E: Error + 'static> {
    /// The manager says so.
    #[error("{0}")]
    Manager(#[source] Arc<E>),
    /// It took longer than `connect_timeout`.
    #[error("no connection after the connect_timeout of {0:?}")]
    TimedOut(Duration),
    /// The manager panicked.
    #[error("the manager panicked")]
    Panicked,
}

impl<E: Error + 'static> Clone for ConnectError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Manager(error) => Self::Manager(Arc::clone(error)),
            Self::TimedOut(after) => Self::TimedOut(*after),
            Self::Panicked => Self::Panicked,
        }
    }
}

/// Why a pool cannot be built or resized.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number or duration that has to be more than zero is zero.
    #[error("{field} is 0; it has to be more, {instead}")]
    Zero {
        /// The field.
        field: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// Two fields contradict each other.
    #[error("{field} is {value}, but {other} is {other_value}: {rule}")]
    Contradiction {
        /// The one field.
        field: &'static str,
        /// Its value.
        value: String,
        /// The other field.
        other: &'static str,
        /// Its value.
        other_value: String,
        /// How they would fit.
        rule: &'static str,
    },
    /// A ratio outside of 0 to 1.
    #[error("{field} is {value}; it has to be within 0 and 1")]
    NotARatio {
        /// The field.
        field: &'static str,
        /// Its value.
        value: f64,
    },
    /// A number that is too large.
    #[error("{field} is {value}; at most {most} is possible")]
    TooLarge {
        /// The field.
        field: &'static str,
        /// Its value.
        value: usize,
        /// The largest possible value.
        most: usize,
    },
}

/// What an acquire was waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// For a connection to come back.
    Queue,
    /// For a connection to be made.
    Connect,
    /// For an idle connection to be checked.
    Check,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Queue => "a connection to come back",
            Self::Connect => "a new connection",
            Self::Check => "the check of an idle connection",
        })
    }
}

fn last_error<E: Error + 'static>(error: Option<&ConnectError<E>>) -> String {
    error.map_or_else(String::new, |error| {
        format!("; last connect error: {error}")
    })
}

fn held_by(holders: &[Holder]) -> String {
    /// A message stays readable; all are in the error itself.
    const SHOWN: usize = 3;
    let shown: Vec<_> = holders.iter().take(SHOWN).map(Holder::to_string).collect();
    match holders.len() {
        0 => String::new(),
        n if n > SHOWN => format!("; held by {} and {} more", shown.join(", "), n - SHOWN),
        _ => format!("; held by {}", shown.join(", ")),
    }
}
