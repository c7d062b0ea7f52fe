//! Times of being down, and the notices that say so to people.

use std::time::Duration;

use monitor_fault::Fault;
use serde::{Deserialize, Serialize};

use crate::{Lifecycle, MonitorId, Outcome, Record, Status};

/// One uninterrupted time of a monitor being down, as of its committed verdicts.
///
/// Opened by the verdict that makes the monitor down, closed by the first that says up or degraded.
/// What is no verdict about the target - unknown, missed, suppressed, cancelled - neither opens nor
/// closes one: nobody has seen the target recover. INV-STORE-5: a monitor has one open incident at
/// most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// The sequence of the record that opened it. Rises, and is unique in a store.
    pub id: u64,
    /// Whose it is.
    pub monitor: MonitorId,
    /// When the check began that found it down, in unix milliseconds.
    pub opened_unix_ms: i64,
    /// What that check found; what later ones found is in the history.
    pub fault: Fault,
    /// Whether the monitor was paused while it was open. It stays open then, but nobody looked for
    /// some of its time.
    pub paused: bool,
    /// Its end. `None` while it is open.
    pub closed: Option<Closed>,
}

/// The end of an [`Incident`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// When the check began that found the monitor well again, in unix milliseconds. When the
    /// monitor was deleted: its last check.
    pub unix_ms: i64,
    /// What ended it.
    pub by: ClosedBy,
}

/// What ends an [`Incident`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosedBy {
    /// A verdict of up or degraded.
    Recovery,
    /// The monitor was deleted: whether the target recovered is not known.
    Deletion,
}

impl ClosedBy {
    /// The name in JSON and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recovery => "recovery",
            Self::Deletion => "deletion",
        }
    }
}

impl Incident {
    /// The incident that `record` opens or closes, as it is then; `None` when it does neither. Every
    /// store decides in this one way.
    ///
    /// `open` is the open incident of the monitor, `sequence` that of the record. While the monitor
    /// is paused, nothing opens or closes one: who looks by hand is not to be woken for it.
    #[must_use]
    pub fn after(
        open: Option<&Self>,
        lifecycle: Lifecycle,
        record: &Record,
        sequence: u64,
    ) -> Option<Self> {
        if lifecycle == Lifecycle::Paused {
            return None;
        }
        let unix_ms = record.started_unix_ms;
        match (record.outcome(), open) {
            (Outcome::Down, None) => Some(Self {
                id: sequence,
                monitor: record.monitor.clone(),
                opened_unix_ms: unix_ms,
                fault: record.fault()?.clone(),
                paused: false,
                closed: None,
            }),
            (Outcome::Up | Outcome::Degraded, Some(open)) => {
                Some(open.close(unix_ms, ClosedBy::Recovery))
            }
            _ => None,
        }
    }

    /// The incident after its monitor was paused or resumed.
    #[must_use]
    pub fn under(&self, lifecycle: Lifecycle) -> Self {
        Self {
            paused: self.paused || lifecycle == Lifecycle::Paused,
            ..self.clone()
        }
    }

    /// The incident after its monitor was deleted in this state.
    #[must_use]
    pub fn deleted(&self, last: &Status) -> Self {
        let unix_ms = last.checked_unix_ms.unwrap_or(self.opened_unix_ms);
        self.close(unix_ms, ClosedBy::Deletion)
    }

    fn close(&self, unix_ms: i64, by: ClosedBy) -> Self {
        Self {
            closed: Some(Closed { unix_ms, by }),
            ..self.clone()
        }
    }

    /// What there is to say about it.
    #[must_use]
    pub const fn kind(&self) -> NoticeKind {
        match self.closed {
            None => NoticeKind::Opened,
            Some(_) => NoticeKind::Resolved,
        }
    }
}

/// What a [`Notice`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// An incident was opened.
    Opened,
    /// It is over.
    Resolved,
}

impl NoticeKind {
    /// The name in JSON and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Resolved => "resolved",
        }
    }
}

/// Something that people are to be told, written in the transaction that made it so.
///
/// Its [dedup key](Self::dedup_key) is the same however often it is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Rises. Notices of one incident are delivered in this order.
    pub sequence: u64,
    /// The incident as it was when it was opened or closed.
    pub incident: Incident,
}

impl Notice {
    /// What it says.
    #[must_use]
    pub const fn kind(&self) -> NoticeKind {
        self.incident.kind()
    }

    /// What a receiver tells doubles by: the incident and the kind, such as `17-opened`.
    #[must_use]
    pub fn dedup_key(&self) -> String {
        format!("{}-{}", self.incident.id, self.kind().as_str())
    }
}

/// A notice that was taken to be sent.
///
/// Taken for a time: until that is over, nobody else is given it. The number of the attempt is the
/// right to settle it; whoever takes it next has another, and the former is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What to send.
    pub notice: Notice,
    /// How often it was taken, this time included; the fencing token.
    pub attempt: u32,
}

/// What became of a [`Delivery`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// It was sent, and is done.
    Delivered,
    /// It was not sent, and is to be taken again after this time.
    Retry(Duration),
    /// It was not sent and never will be. It is kept, and [counted](Outbox::given_up).
    GivenUp,
}

/// How many notices there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbox {
    /// Not settled yet, taken or not.
    pub waiting: u64,
    /// Given up.
    pub given_up: u64,
}

#[cfg(test)]
mod tests {
    use monitor_fault::{Layer, Reason};
    use monitor_operation::Epoch;

    use super::*;
    use crate::{Finding, Observation, Phases, Unobserved};

    fn record(finding: Finding) -> Record {
        let observation = Observation {
            finding,
            note: None,
        };
        let id = "a".parse().unwrap();
        Record::observed(id, Epoch::new(1), 7, observation, Phases::default())
    }

    fn fault() -> Fault {
        Fault::new(Layer::Connect, Reason::Refused)
    }

    /// Each outcome, with and without an open incident.
    #[test]
    fn only_down_opens_and_only_up_or_degraded_closes() {
        let after = |open: Option<&Incident>, record: &Record, sequence| {
            let paused = Incident::after(open, Lifecycle::Paused, record, sequence);
            assert_eq!(paused, None, "who looks by hand is not to be woken");
            Incident::after(open, Lifecycle::Active, record, sequence)
        };
        let opened = after(None, &record(Finding::Down(fault())), 4).unwrap();
        assert_eq!((opened.id, opened.kind()), (4, NoticeKind::Opened));
        assert_eq!(opened.fault, fault());
        let id = || "a".parse().unwrap();
        let unobserved = |reason| Record::unobserved(id(), Epoch::new(1), 7, 1, reason);
        let mut others = vec![record(Finding::Unknown(fault()))];
        others.extend(Unobserved::ALL.map(unobserved));
        for other in &others {
            assert_eq!(after(None, other, 5), None);
            assert_eq!(after(Some(&opened), other, 5), None);
        }
        let still = record(Finding::Down(fault()));
        assert_eq!(after(Some(&opened), &still, 5), None);
        for well in [Finding::Up, Finding::Degraded(fault())] {
            assert_eq!(after(None, &record(well.clone()), 5), None);
            let closed = after(Some(&opened), &record(well), 5).unwrap();
            assert_eq!((closed.id, closed.kind()), (4, NoticeKind::Resolved));
            assert_eq!(closed.closed.unwrap().by, ClosedBy::Recovery);
        }
    }
}
