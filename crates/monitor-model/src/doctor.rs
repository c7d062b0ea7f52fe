//! What can be wrong with a store.

use std::fmt;

use monitor_operation::Epoch;
use serde::{Deserialize, Serialize};

use crate::{Incident, Outcome, Status};

/// A notice that was taken this often and never settled is stuck.
pub const STUCK_ATTEMPTS: u32 = 10;

/// Something in a store that no sequence of its own commands leaves behind, or that needs somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defect {
    /// What kind.
    pub kind: DefectKind,
    /// What has it, such as `monitor "api"`.
    pub subject: String,
    /// What is wrong, and what would be right.
    pub detail: String,
}

/// The rules, so that every store finds the same.
impl Defect {
    /// A verdict, and nothing recorded that it could have come from. `is_recorded`: there is a line
    /// of history, or a count where the lines are kept no more.
    #[must_use]
    pub fn of_status(status: &Status, is_recorded: bool) -> Option<Self> {
        let outcome = status.outcome.filter(|_| !is_recorded)?;
        let detail = format!("it is {outcome}, and nothing of its history or counts says so");
        Some(Self::of_monitor(DefectKind::Status, status, detail))
    }

    /// An open incident of a monitor that is well, or none of one that is down.
    #[must_use]
    pub fn of_incident(status: &Status, open: Option<&Incident>) -> Option<Self> {
        let detail = match (status.outcome, open) {
            (Some(outcome @ (Outcome::Up | Outcome::Degraded)), Some(open)) => {
                format!("it is {outcome}, and incident {} is open", open.id)
            }
            (Some(Outcome::Down), None) => "it is down, and no incident is open".to_owned(),
            (None, Some(open)) => format!("it was never checked, and incident {} is open", open.id),
            _ => return None,
        };
        Some(Self::of_monitor(DefectKind::Incident, status, detail))
    }

    /// An epoch that lets the former life of an id write.
    #[must_use]
    pub fn of_epoch(status: &Status, grave: Epoch) -> Option<Self> {
        if status.epoch > grave {
            return None;
        }
        let detail = format!(
            "its epoch is {}, and its former life ended with {}; edit it once for a newer epoch",
            status.epoch.get(),
            grave.get()
        );
        Some(Self::of_monitor(DefectKind::Epoch, status, detail))
    }

    /// A notice that was given up, or taken [`STUCK_ATTEMPTS`] times and never settled.
    #[must_use]
    pub fn of_notice(dedup_key: &str, attempts: u32, is_given_up: bool) -> Option<Self> {
        let detail = match is_given_up {
            true => format!("given up after {attempts} attempts: nobody was told"),
            false if attempts >= STUCK_ATTEMPTS => {
                format!("taken {attempts} times and never settled")
            }
            false => return None,
        };
        Some(Self {
            kind: DefectKind::Notice,
            subject: format!("notice {dedup_key}"),
            detail,
        })
    }

    fn of_monitor(kind: DefectKind, status: &Status, detail: String) -> Self {
        Self {
            kind,
            subject: format!("monitor \"{}\"", status.monitor),
            detail,
        }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}: {}",
            self.kind.as_str(),
            self.subject,
            self.detail
        )
    }
}

/// The kinds of [`Defect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DefectKind {
    /// The database itself says that it is damaged, or a row cannot be read.
    Damaged,
    /// The schema is not the one of this program.
    Schema,
    /// A row that belongs to nothing.
    Orphan,
    /// A state that the history does not bear out.
    Status,
    /// An open incident of a monitor that is well, or none of one that is down.
    Incident,
    /// A notice that nobody manages to deliver.
    Notice,
    /// An epoch that is not above the one that the id had in its former life.
    Epoch,
}

impl DefectKind {
    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Schema => "schema",
            Self::Orphan => "orphan",
            Self::Status => "status",
            Self::Incident => "incident",
            Self::Notice => "notice",
            Self::Epoch => "epoch",
        }
    }
}
