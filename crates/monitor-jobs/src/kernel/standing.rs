//! Where a worker stands, out of what is stored of it.

use serde::{Deserialize, Serialize};

use crate::WorkerState;

/// What a worker says of its own health, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Health {
    Healthy,
    Degraded,
    Failing,
}

impl Health {
    /// From the argument of `set_health`: whatever is neither degraded nor failing is healthy.
    pub(crate) const fn of(state: WorkerState) -> Self {
        match state {
            WorkerState::Degraded => Self::Degraded,
            WorkerState::Failing => Self::Failing,
            _ => Self::Healthy,
        }
    }

    pub(crate) const fn code(self) -> i16 {
        self as i16
    }

    /// An unknown number is failing: whoever cannot be judged claims nothing.
    pub(crate) const fn from_code(code: i64) -> Self {
        match code {
            0 => Self::Healthy,
            1 => Self::Degraded,
            _ => Self::Failing,
        }
    }
}

/// What is stored of a worker, as far as its state goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Given up by a rescue. One that was deregistered is not shown at all.
    pub(crate) failed: bool,
    pub(crate) draining: bool,
    pub(crate) health: Health,
    /// Jobs in its hands.
    pub(crate) held: u32,
    /// Whether it ever got a job.
    pub(crate) has_claimed: bool,
}

impl Standing {
    pub(crate) const fn state(self) -> WorkerState {
        match self {
            Self { failed: true, .. } => WorkerState::Failed,
            Self { draining: true, .. } => WorkerState::Draining,
            Self {
                health: Health::Failing,
                ..
            } => WorkerState::Failing,
            Self {
                health: Health::Degraded,
                ..
            } => WorkerState::Degraded,
            Self { held: 1.., .. } => WorkerState::Busy,
            Self {
                has_claimed: true, ..
            } => WorkerState::Idle,
            _ => WorkerState::Active,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Standing = Standing {
        failed: false,
        draining: false,
        health: Health::Healthy,
        held: 0,
        has_claimed: false,
    };

    /// JOB-40: the seven states, and which of them claim.
    #[test]
    fn the_seven_states() {
        let busy = Standing {
            held: 1,
            has_claimed: true,
            ..NEW
        };
        let table = [
            (NEW, WorkerState::Active, true),
            (Standing { held: 0, ..busy }, WorkerState::Idle, true),
            (busy, WorkerState::Busy, true),
            (
                Standing {
                    health: Health::Degraded,
                    ..busy
                },
                WorkerState::Degraded,
                true,
            ),
            (
                Standing {
                    health: Health::Failing,
                    ..busy
                },
                WorkerState::Failing,
                false,
            ),
            (
                Standing {
                    draining: true,
                    ..busy
                },
                WorkerState::Draining,
                false,
            ),
            (
                Standing {
                    failed: true,
                    draining: true,
                    ..busy
                },
                WorkerState::Failed,
                false,
            ),
        ];
        for (standing, state, claims) in table {
            assert_eq!((standing.state(), state.may_claim()), (state, claims));
        }
        for health in [Health::Healthy, Health::Degraded, Health::Failing] {
            assert_eq!(Health::from_code(i64::from(health.code())), health);
        }
    }
}
