//! What the end of an attempt makes of a job.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{JobState, Outcome};

/// The error of a job that was buried because its workers ended while they held it.
pub(crate) const LOST_ERROR: &str = "the worker that held it was given up";

/// How an attempt ended, as kept in its execution and in the job's `last_end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    Completed,
    Failed,
    Snoozed,
    Cancelled,
    Released,
    /// Its worker was given up.
    Lost,
}

impl End {
    const ALL: [Self; 6] = [
        Self::Completed,
        Self::Failed,
        Self::Snoozed,
        Self::Cancelled,
        Self::Released,
        Self::Lost,
    ];

    pub(crate) const fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Complete { .. } => Self::Completed,
            Outcome::Fail { .. } => Self::Failed,
            Outcome::Snooze(_) => Self::Snoozed,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Release => Self::Released,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Snoozed => "snoozed",
            Self::Cancelled => "cancelled",
            Self::Released => "released",
            Self::Lost => "lost",
        }
    }

    pub(crate) const fn code(self) -> i16 {
        self as i16
    }

    pub(crate) fn from_code(code: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(code).ok()?).copied()
    }
}

/// The counts of a running job, its current attempt included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) attempt: u16,
    pub(crate) max_attempts: u16,
    pub(crate) crashes: u16,
    pub(crate) max_crashes: u16,
    pub(crate) cancel_requested: bool,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Next {
    /// The attempts that count from now on.
    pub(crate) attempt: u16,
    /// The crashes from now on.
    pub(crate) crashes: u16,
    /// Where it goes.
    pub(crate) to: To,
}

/// Where a job goes after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// Ready again, its `run_at` untouched: its old place.
    Ready,
    /// `run_at` is now and that long; scheduled, or ready when that is zero.
    After(Duration),
    /// It has ended so.
    Ended(JobState),
}

impl Attempt {
    /// After its owner has said how it ended.
    ///
    /// A job whose end was requested is never run again: whatever would requeue it cancels it.
    pub(crate) fn settle(self, outcome: &Outcome) -> Next {
        let uncounted = self.attempt.saturating_sub(1);
        let (attempt, to) = match outcome {
            Outcome::Complete { .. } => (self.attempt, To::Ended(JobState::Completed)),
            Outcome::Cancelled => (self.attempt, To::Ended(JobState::Cancelled)),
            Outcome::Fail {
                retry_in: Some(wait),
                ..
            } if self.attempt < self.max_attempts => (self.attempt, To::After(*wait)),
            Outcome::Fail { .. } => (self.attempt, To::Ended(JobState::Dead)),
            Outcome::Snooze(wait) => (uncounted, To::After(*wait)),
            Outcome::Release => (uncounted, To::Ready),
        };
        Next {
            attempt,
            crashes: self.crashes,
            to: self.unless_cancelled(to),
        }
    }

    /// After its worker was given up: the attempt does not count, the crash does, and the last one
    /// buries it.
    pub(crate) fn lose(self) -> Next {
        let crashes = self.crashes.saturating_add(1);
        let to = if crashes < self.max_crashes {
            self.unless_cancelled(To::Ready)
        } else {
            To::Ended(JobState::Dead)
        };
        Next {
            attempt: self.attempt.saturating_sub(1),
            crashes,
            to,
        }
    }

    fn unless_cancelled(self, to: To) -> To {
        match to {
            To::Ready | To::After(_) if self.cancel_requested => To::Ended(JobState::Cancelled),
            to => to,
        }
    }
}

/// `max_attempts` and `max_crashes` of a job that people run again: at least one more of each.
pub(crate) fn revive(
    attempt: u16,
    max_attempts: u16,
    crashes: u16,
    max_crashes: u16,
) -> (u16, u16) {
    (
        max_attempts.max(attempt.saturating_add(1)),
        max_crashes.max(crashes.saturating_add(1)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Attempt = Attempt {
        attempt: 2,
        max_attempts: 3,
        crashes: 1,
        max_crashes: 3,
        cancel_requested: false,
    };
    const WAIT: Duration = Duration::from_secs(2);

    fn fail(retry_in: Option<Duration>) -> Outcome {
        let error = "no".to_owned();
        Outcome::Fail { error, retry_in }
    }

    /// JOB-4, JOB-37, JOB-50, R1: three attempts are three, and what is not to be retried is not.
    #[test]
    fn failures_are_retried_until_the_attempts_are_spent() {
        let last = Attempt {
            attempt: 3,
            ..SECOND
        };
        assert_eq!(SECOND.settle(&fail(Some(WAIT))).to, To::After(WAIT));
        assert_eq!(SECOND.settle(&fail(None)).to, To::Ended(JobState::Dead));
        assert_eq!(last.settle(&fail(Some(WAIT))).to, To::Ended(JobState::Dead));
    }

    /// JOB-21: what was handed back keeps its place and its attempts.
    #[test]
    fn what_is_put_back_does_not_count() {
        let released = SECOND.settle(&Outcome::Release);
        assert_eq!((released.attempt, released.to), (1, To::Ready));
        let snoozed = SECOND.settle(&Outcome::Snooze(WAIT));
        assert_eq!((snoozed.attempt, snoozed.to), (1, To::After(WAIT)));
    }

    /// R1: workers that it takes down are counted apart, and bury it.
    #[test]
    fn a_job_that_kills_its_workers_is_buried() {
        assert_eq!((SECOND.lose().attempt, SECOND.lose().crashes), (1, 2));
        let poison = Attempt {
            crashes: 2,
            ..SECOND
        };
        assert_eq!(poison.lose().to, To::Ended(JobState::Dead));
    }

    /// A request to end is heeded by whatever would have run the job again.
    #[test]
    fn a_cancelled_job_is_not_run_again() {
        let asked = Attempt {
            cancel_requested: true,
            ..SECOND
        };
        let ended = To::Ended(JobState::Cancelled);
        for outcome in [fail(Some(WAIT)), Outcome::Release, Outcome::Snooze(WAIT)] {
            assert_eq!(asked.settle(&outcome).to, ended);
        }
        assert_eq!(asked.lose().to, ended);
        let done = Outcome::Complete { result: None };
        assert_eq!(asked.settle(&done).to, To::Ended(JobState::Completed));
    }

    /// JOB-37: what people run again may fail, and crash, once more at least.
    #[test]
    fn a_revived_job_has_one_more_of_each() {
        assert_eq!(revive(3, 3, 3, 3), (4, 4));
        assert_eq!(revive(1, 3, 0, 3), (3, 3));
    }
}
