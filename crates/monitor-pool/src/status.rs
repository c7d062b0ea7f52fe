//! What a pool says of itself.

use std::{fmt, panic::Location, time::Duration};

use crate::ConnectionId;

/// How far a pool is on its way from open to closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Serves.
    #[default]
    Open,
    /// Serves nobody; connections are still out or being closed.
    Draining,
    /// All connections are closed.
    Closed,
}

/// A pool at one moment, all numbers from the same one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Open, draining or closed.
    pub phase: Phase,
    /// The most connections there may be.
    pub max_size: usize,
    /// All connections: the sum of the next six.
    pub size: usize,
    /// Being made.
    pub connecting: usize,
    /// Ready to be handed out.
    pub idle: usize,
    /// Handed to a caller who has not taken it yet.
    pub offered: usize,
    /// In use.
    pub leased: usize,
    /// Being checked.
    pub checking: usize,
    /// Being closed. They count until they are.
    pub closing: usize,
    /// Callers that wait.
    pub waiting: usize,
    /// How long the oldest of them has waited.
    pub oldest_wait: Duration,
    /// Consecutive failures to connect.
    pub connect_failures: u32,
    /// How long until connecting is tried again, if it failed last.
    pub connect_retry_in: Option<Duration>,
    /// What has happened so far.
    pub totals: Totals,
}

/// Counters from the start of the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Connections handed out.
    pub acquired: u64,
    /// Of those, to callers that had to wait.
    pub acquired_after_wait: u64,
    /// Callers that ran out of time, deadlocks included.
    pub timed_out: u64,
    /// Callers that were turned away because too many waited.
    pub overloaded: u64,
    /// Connections opened.
    pub connected: u64,
    /// Attempts to connect that failed.
    pub connect_failures: u64,
    /// Checks that failed.
    pub check_failures: u64,
    /// Connections closed, detached or lost, for whatever reason.
    pub closed: u64,
    /// Offers that were taken back because their caller did not take them.
    pub offers_revoked: u64,
    /// Connections that came back without being out. Stays 0.
    pub races: u64,
}

/// One connection in use, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The connection.
    pub connection: ConnectionId,
    /// Where it was asked for.
    pub site: &'static Location<'static>,
    /// The tokio task that asked, if it was one.
    pub task: Option<tokio::task::Id>,
    /// For how long it has been out, to a few milliseconds.
    pub held_for: Duration,
}

/// What [`close`](crate::Pool::close) left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    /// Callers that were waiting and got [`Closed`](crate::AcquireError::Closed).
    pub turned_away: usize,
    /// Connections that were closed while this call waited.
    pub closed: usize,
    /// Who still holds a connection, longest first. It is closed when it comes back.
    pub held: Vec<Holder>,
    /// Connections that are still being made, checked or closed.
    pub unfinished: usize,
}

impl CloseReport {
    /// Whether nothing is left.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.held.is_empty() && self.unfinished == 0
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} connections: {} leased, {} idle, {} offered, {} connecting, {} checking, \
             {} closing; {} waiting",
            self.size,
            self.max_size,
            self.leased,
            self.idle,
            self.offered,
            self.connecting,
            self.checking,
            self.closing,
            self.waiting
        )
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.connection, self.site)?;
        if let Some(task) = self.task {
            write!(f, " in task {task}")?;
        }
        write!(f, " for {:?}", self.held_for)
    }
}
