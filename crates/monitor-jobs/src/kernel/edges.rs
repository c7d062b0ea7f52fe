//! What the end of parents does to a child: a parent's end against its edge, all at once.

use serde::{Deserialize, Serialize};

use crate::{JobState, On, Unmet};

/// The error of a job that died because of an edge with [`Unmet::Fail`].
pub(crate) const UNMET_ERROR: &str = "a parent ended otherwise than the job needs";

/// Where an edge stands. Open edges are counted in their child's `pending`, INV-JOBS-4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EdgeState {
    /// The parent has not ended, or its end has not been carried along the edge yet.
    Open,
    /// The parent ended as the edge asks, or its other end was forgiven.
    Met,
    /// It ended otherwise, and the edge says [`Unmet::Hold`]: counted in the child's `holds`.
    Holding,
}

impl EdgeState {
    pub(crate) const fn code(self) -> i16 {
        self as i16
    }

    /// Where an edge stands after its verdict.
    pub(crate) const fn after(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Hold => Self::Holding,
            Verdict::Met | Verdict::End(_) => Self::Met,
        }
    }
}

/// What one ended parent means to its child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// One thing less to wait for.
    Met,
    /// People decide.
    Hold,
    /// The child ends with the parent, as [`JobState::Cancelled`] or [`JobState::Dead`].
    End(JobState),
}

/// Judges an edge whose parent has ended as `end`, a terminal state.
pub(crate) const fn judge(on: On, unmet: Unmet, end: JobState) -> Verdict {
    let met = match on {
        On::Finished => true,
        On::Success => matches!(end, JobState::Completed),
        On::Failure => matches!(end, JobState::Dead),
    };
    match unmet {
        _ if met => Verdict::Met,
        Unmet::Run => Verdict::Met,
        Unmet::Hold => Verdict::Hold,
        Unmet::Cancel => Verdict::End(JobState::Cancelled),
        Unmet::Fail => Verdict::End(JobState::Dead),
    }
}

/// What several ended parents together mean to one child, whatever their order: dead before
/// cancelled before held. Each of its edges was open and is resolved by this, once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Resolution {
    /// How many edges are not open any more: to be taken off `pending`.
    pub(crate) resolved: u32,
    /// How many of them hold the child now: to be added to `holds`.
    pub(crate) holding: u32,
    /// How the child ends, if it does and has not ended before.
    pub(crate) end: Option<JobState>,
}

impl Resolution {
    /// Adds one more.
    pub(crate) fn add(&mut self, verdict: Verdict) {
        self.resolved += 1;
        match verdict {
            Verdict::Met => {}
            Verdict::Hold => self.holding += 1,
            Verdict::End(JobState::Dead) => self.end = Some(JobState::Dead),
            Verdict::End(end) => self.end = self.end.or(Some(end)),
        }
    }
}

/// What its parents mean to a job that is put in: an edge whose parent has ended is judged at once.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Arrival {
    /// How many edges are open.
    pub(crate) pending: u32,
    /// What the others mean together.
    pub(crate) judged: Resolution,
}

impl Arrival {
    /// Adds an edge to a parent in that state, and says where the edge stands.
    pub(crate) fn add(&mut self, on: On, unmet: Unmet, parent: Option<JobState>) -> EdgeState {
        let Some(end) = parent.filter(|state| state.is_terminal()) else {
            self.pending += 1;
            return EdgeState::Open;
        };
        let verdict = judge(on, unmet, end);
        self.judged.add(verdict);
        EdgeState::after(verdict)
    }

    /// Where the job stands after all of them.
    pub(crate) fn state(&self, run_at_ms: i64, now_ms: i64) -> JobState {
        let waits = waiting(self.pending, self.judged.holding, run_at_ms, now_ms);
        self.judged.end.unwrap_or(waits)
    }
}

/// Where a job stands that has not ended and is not running.
pub(crate) const fn waiting(pending: u32, holds: u32, run_at_ms: i64, now_ms: i64) -> JobState {
    if holds > 0 {
        JobState::Held
    } else if pending > 0 {
        JobState::Blocked
    } else if run_at_ms > now_ms {
        JobState::Scheduled
    } else {
        JobState::Ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use JobState::{Cancelled, Completed, Dead};

    /// JOB-26: every edge against every end.
    #[test]
    fn every_edge_against_every_end() {
        let table = [
            (On::Success, [true, false, false]),
            (On::Finished, [true, true, true]),
            (On::Failure, [false, true, false]),
        ];
        let policies = [
            (Unmet::Run, Verdict::Met),
            (Unmet::Hold, Verdict::Hold),
            (Unmet::Cancel, Verdict::End(Cancelled)),
            (Unmet::Fail, Verdict::End(Dead)),
        ];
        for (on, met) in table {
            for (end, met) in [Completed, Dead, Cancelled].into_iter().zip(met) {
                for (unmet, otherwise) in policies {
                    let expected = if met { Verdict::Met } else { otherwise };
                    assert_eq!(judge(on, unmet, end), expected, "{on:?} {unmet:?} {end:?}");
                }
            }
        }
    }

    /// JOB-26, D3: parents that end together give one answer, whatever their order.
    #[test]
    fn together_the_strongest_wins_in_any_order() {
        let verdicts = [
            Verdict::End(Cancelled),
            Verdict::Hold,
            Verdict::End(Dead),
            Verdict::Met,
        ];
        for turn in 0..verdicts.len() {
            let mut resolution = Resolution::default();
            for step in 0..verdicts.len() {
                resolution.add(verdicts[(turn + step) % verdicts.len()]);
            }
            assert_eq!(
                (resolution.resolved, resolution.holding, resolution.end),
                (4, 1, Some(Dead))
            );
        }
    }

    /// D3: a job that is put in waits for the parents that have not ended; one that
    /// ends it at once does so whatever the others do.
    #[test]
    fn parents_that_have_ended_are_judged_at_once() {
        let mut arrival = Arrival::default();
        let states = [
            (Unmet::Run, None, EdgeState::Open),
            (Unmet::Run, Some(JobState::Running), EdgeState::Open),
            (Unmet::Hold, Some(Completed), EdgeState::Met),
        ];
        for (unmet, parent, state) in states {
            assert_eq!(arrival.add(On::Success, unmet, parent), state);
        }
        assert_eq!(
            (arrival.pending, arrival.state(0, 0)),
            (2, JobState::Blocked)
        );
        let holds = arrival.add(On::Success, Unmet::Hold, Some(Cancelled));
        assert_eq!(holds, EdgeState::Holding);
        assert_eq!(arrival.state(0, 0), JobState::Held);
        arrival.add(On::Success, Unmet::Fail, Some(Cancelled));
        assert_eq!((arrival.pending, arrival.state(0, 0)), (2, Dead));
    }

    /// D2, D3: nothing open and nothing that holds is never blocked.
    #[test]
    fn where_a_waiting_job_stands() {
        assert_eq!(waiting(1, 1, 0, 0), JobState::Held);
        assert_eq!(waiting(1, 0, 0, 0), JobState::Blocked);
        assert_eq!(waiting(0, 0, 1, 0), JobState::Scheduled);
        assert_eq!(waiting(0, 0, 0, 0), JobState::Ready);
    }
}
