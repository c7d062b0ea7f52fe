//! One line of history: what became of a due time.

use std::time::Duration;

use monitor_fault::Fault;
use monitor_operation::{Epoch, OperationId};
use serde::{Deserialize, Serialize};

use crate::{MonitorId, Observation, Outcome, Phases, Unobserved};

/// What set a check off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Its schedule.
    Timer,
    /// A person or a program.
    Manual,
}

/// What became of a due time, ready to be committed under the epoch it was begun in.
///
/// Built by [`observed`](Self::observed) or [`unobserved`](Self::unobserved) only, so that outcome,
/// fault and reason always agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose due time it was.
    pub monitor: MonitorId,
    /// The epoch in which the work began: the right to write. A store refuses any other.
    pub epoch: Epoch,
    /// The due time, in unix milliseconds. Unique for a monitor.
    pub due_unix_ms: i64,
    /// How many consecutive due times the record stands for: 1, or more for a run of missed ones.
    pub slots: u32,
    /// The distance of those due times in milliseconds; the monitor's interval.
    pub interval_ms: i64,
    /// When the check began, in unix milliseconds. The due time if it never did.
    pub started_unix_ms: i64,
    /// How long the check took. `None` when nobody looked.
    pub took: Option<Duration>,
    /// What set it off.
    pub trigger: Trigger,
    /// The operation that carried it, if it ran.
    pub operation: Option<OperationId>,
    outcome: Outcome,
    fault: Option<Fault>,
    reason: Option<Unobserved>,
    note: Option<String>,
    phases: Phases,
}

impl Record {
    /// The record of a check that came to an observation. It took as long as its phases until
    /// [`took`](Self::took) says more: a result without a duration there is not.
    #[must_use]
    pub fn observed(
        monitor: MonitorId,
        epoch: Epoch,
        due_unix_ms: i64,
        observation: Observation,
        phases: Phases,
    ) -> Self {
        let fault = observation.finding.fault().cloned();
        Self {
            outcome: observation.finding.outcome(),
            fault,
            note: observation.note,
            took: Some(phases.total()),
            phases,
            ..Self::blank(monitor, epoch, due_unix_ms)
        }
    }

    /// The record of `slots` consecutive due times at which nobody looked, and why.
    #[must_use]
    pub fn unobserved(
        monitor: MonitorId,
        epoch: Epoch,
        due_unix_ms: i64,
        slots: u32,
        reason: Unobserved,
    ) -> Self {
        Self {
            outcome: reason.outcome(),
            reason: Some(reason),
            slots: slots.max(1),
            ..Self::blank(monitor, epoch, due_unix_ms)
        }
    }

    const fn blank(monitor: MonitorId, epoch: Epoch, due_unix_ms: i64) -> Self {
        Self {
            monitor,
            epoch,
            due_unix_ms,
            slots: 1,
            interval_ms: 0,
            started_unix_ms: due_unix_ms,
            took: None,
            trigger: Trigger::Timer,
            operation: None,
            outcome: Outcome::Unknown,
            fault: None,
            reason: None,
            note: None,
            phases: Phases([None; 5]),
        }
    }

    /// What became of it.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The fault of an observation that was not plain up.
    #[must_use]
    pub const fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// Why nobody looked.
    #[must_use]
    pub const fn reason(&self) -> Option<Unobserved> {
        self.reason
    }

    /// The probe's own line for people.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The phases that ended.
    #[must_use]
    pub const fn phases(&self) -> &Phases {
        &self.phases
    }
}

#[cfg(test)]
mod tests {
    use monitor_fault::{Fault, Layer, Reason};

    use super::*;
    use crate::{Finding, Phase};

    fn id() -> MonitorId {
        "a".parse().unwrap()
    }

    /// OPS-3: there is one type of result. One that was seen has an outcome, a duration, and what
    /// went wrong unless nothing did; one that was not has a reason and none of them.
    #[test]
    fn a_result_has_all_its_parts() {
        let epoch = Epoch::new(1);
        let mut phases = Phases::default();
        phases.set(Phase::Connect, Duration::from_millis(3));
        phases.set(Phase::Transfer, Duration::from_millis(4));
        let fault = || Fault::new(Layer::Connect, Reason::Refused).with_detail("port 1");
        for finding in [
            Finding::Up,
            Finding::Degraded(fault()),
            Finding::Down(fault()),
            Finding::Unknown(fault()),
        ] {
            let observation = Observation {
                finding: finding.clone(),
                note: Some("200 OK".to_owned()),
            };
            let record = Record::observed(id(), epoch, 1000, observation, phases);
            assert_eq!(record.outcome(), finding.outcome());
            assert_eq!(record.fault(), finding.fault());
            assert_eq!(record.took, Some(Duration::from_millis(7)));
            assert_eq!((record.note(), record.reason()), (Some("200 OK"), None));
        }
        for reason in Unobserved::ALL {
            let record = Record::unobserved(id(), epoch, 1000, 0, reason);
            assert_eq!(
                (record.outcome(), record.reason()),
                (reason.outcome(), Some(reason))
            );
            assert_eq!(
                (record.fault(), record.took, record.note()),
                (None, None, None)
            );
            assert_eq!(record.slots, 1, "it stands for one due time at least");
        }
    }
}
