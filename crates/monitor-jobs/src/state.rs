//! Where a job and a worker stand.

use serde::{Deserialize, Serialize};

/// Where a job stands. Rows show what may follow.
///
/// | state | next |
/// |---|---|
/// | `Blocked` | `Ready` when the last parent releases it; `Held`, `Cancelled` or `Dead` when a parent ended otherwise than it needs |
/// | `Held` | `Blocked` when its parent is retried, `Ready` when an operator releases it, `Cancelled` |
/// | `Scheduled` | `Ready` when its time has come, `Cancelled` |
/// | `Ready` | `Running`, `Cancelled` |
/// | `Running` | `Completed`, `Dead`, `Cancelled`, `Scheduled` (retry, snooze), `Ready` (released, rescued) |
/// | `Completed` | nothing |
/// | `Dead`, `Cancelled` | `Ready` when an operator retries it, as a new attempt under a new epoch |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for parents.
    Blocked,
    /// A parent ended otherwise than it needs, and its edge says that people decide.
    Held,
    /// Waits for its time.
    Scheduled,
    /// Waits for a worker.
    Ready,
    /// Some worker holds it.
    Running,
    /// Ended well.
    Completed,
    /// Ended badly: out of attempts, buried by its handler, or it killed its workers.
    Dead,
    /// Ended by request.
    Cancelled,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Blocked,
        Self::Held,
        Self::Scheduled,
        Self::Ready,
        Self::Running,
        Self::Completed,
        Self::Dead,
        Self::Cancelled,
    ];

    /// The name in JSON, metrics, tables and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Held => "held",
            Self::Scheduled => "scheduled",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }

    /// The number in a database: the place in [`ALL`](Self::ALL), the order of the declaration.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The state of a number in a database.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        let place = usize::try_from(code).ok()?;
        Self::ALL.get(place).copied()
    }

    /// A scheduled job whose time has come is ready, whoever looks.
    #[must_use]
    pub(crate) const fn as_of(self, run_at_ms: i64, now_ms: i64) -> Self {
        match self {
            Self::Scheduled if run_at_ms <= now_ms => Self::Ready,
            state => state,
        }
    }

    /// Whether the job has ended.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Dead | Self::Cancelled)
    }
}

/// Where a worker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// Registered, and has not claimed yet.
    Active,
    /// Holds nothing.
    Idle,
    /// Holds something.
    Busy,
    /// Its recent jobs fail more than they should; it still claims.
    Degraded,
    /// It is expected to fail; it claims no more until it is better.
    Failing,
    /// Given up: it missed its beats, or ended without a word. It never comes back.
    Failed,
    /// Finishes what it holds and claims nothing.
    Draining,
}

impl WorkerState {
    /// The name in JSON, metrics and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Degraded => "degraded",
            Self::Failing => "failing",
            Self::Failed => "failed",
            Self::Draining => "draining",
        }
    }

    /// Whether a worker in this state may claim.
    #[must_use]
    pub const fn may_claim(self) -> bool {
        matches!(
            self,
            Self::Active | Self::Idle | Self::Busy | Self::Degraded
        )
    }
}
