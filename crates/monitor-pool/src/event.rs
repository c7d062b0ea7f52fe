//! What a pool tells while it works.

use std::{error::Error, fmt, time::Duration};

use crate::Holder;

/// The number of a connection, unique within its pool, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub(crate) u64);

impl ConnectionId {
    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// Released in the middle of an operation, or not quiescent.
    Tainted,
    /// Released while its holder panicked.
    Panic,
    /// Its holder discarded it.
    Discarded,
    /// Older than `max_lifetime`.
    Expired,
    /// Idle for longer than `idle_timeout`.
    Idle,
    /// Handed out `max_uses` times.
    Worn,
    /// Made before the last `reset`.
    Reset,
    /// The pool has become smaller.
    Shrunk,
    /// The pool is closed.
    PoolClosed,
}

impl CloseReason {
    /// Returns the label for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tainted => "tainted",
            Self::Panic => "panic",
            Self::Discarded => "discarded",
            Self::Expired => "expired",
            Self::Idle => "idle",
            Self::Worn => "worn",
            Self::Reset => "reset",
            Self::Shrunk => "shrunk",
            Self::PoolClosed => "pool_closed",
        }
    }
}

/// Something that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A caller got a connection.
    Acquired {
        /// The connection.
        connection: ConnectionId,
        /// How long it took; zero where one was idle.
        waited: Duration,
    },
    /// A caller got none.
    NotAcquired {
        /// The label of metrics: `timeout`, `connect`, `overloaded`, `closed`, `deadlock`.
        outcome: &'static str,
        /// How long it took.
        waited: Duration,
    },
    /// A connection was made.
    Connected {
        /// The connection.
        connection: ConnectionId,
        /// How long it took.
        took: Duration,
    },
    /// An attempt to connect failed.
    ConnectFailed {
        /// The connection it would have been.
        connection: ConnectionId,
        /// Why.
        error: &'a (dyn Error + 'static),
    },
    /// A connection did not pass its check, and is gone.
    CheckFailed {
        /// The connection.
        connection: ConnectionId,
        /// Why, unless it timed out or panicked.
        error: Option<&'a (dyn Error + 'static)>,
    },
    /// A connection leaves the pool.
    Closing {
        /// The connection.
        connection: ConnectionId,
        /// Why.
        reason: CloseReason,
    },
    /// A connection has been out for longer than `leak_after`. Told once for each hand-out.
    Leaked {
        /// Who holds it.
        holder: &'a Holder,
    },
    /// A connection came back that was not out. It is closed. This cannot happen.
    Race {
        /// The connection.
        connection: ConnectionId,
    },
}

/// Hears events. Called outside of the pool's lock, on whatever thread the event happened; a
/// panic of it is caught and logged.
pub trait Listener: Send + Sync + 'static {
    /// Hears one event. Should return at once.
    fn event(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Listener for F {
    fn event(&self, event: &Event<'_>) {
        self(event);
    }
}
