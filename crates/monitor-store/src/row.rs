//! From the rows of either database to values. A row that cannot be read is an error that names it,
//! never a panic and never a guess.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use monitor_fault::{Fault, Layer, Reason};
use monitor_model::{
    Closed, ClosedBy, Finding, HistoryRow, Incident, LastDue, Monitor, MonitorId, Observation,
    Outcome, Phase, Phases, Record, Source, Status, Unobserved,
};
use monitor_operation::Epoch;

/// A row whose columns can be read as a `T`; `Err` says what is wrong with the value.
pub(crate) trait Get<T> {
    fn get(&self, column: &'static str) -> Result<T, String>;
}

/// What a row of either database can be asked for.
pub(crate) trait Row:
    Get<bool> + Get<i64> + Get<Option<i64>> + Get<String> + Get<Option<String>>
{
    type Failure;

    /// The error that names this row.
    fn unreadable(&self, column: &'static str, problem: String) -> Self::Failure;

    /// A text that somebody else wrote, out of how the database keeps it.
    fn decode(text: String) -> Result<String, &'static str>;
}

/// One row, read column by column.
pub(crate) struct Fields<R>(pub(crate) R);

impl<R: Row> Fields<R> {
    pub(crate) fn unreadable(&self, column: &'static str, problem: impl Display) -> R::Failure {
        self.0.unreadable(column, problem.to_string())
    }

    pub(crate) fn get<T>(&self, column: &'static str) -> Result<T, R::Failure>
    where
        R: Get<T>,
    {
        let value = self.0.get(column);
        value.map_err(|problem| self.unreadable(column, problem))
    }

    pub(crate) fn maybe<T, U, E: Display>(
        &self,
        column: &'static str,
        read: impl FnOnce(T) -> Result<U, E>,
    ) -> Result<Option<U>, R::Failure>
    where
        R: Get<Option<T>>,
    {
        let value: Option<T> = self.get(column)?;
        value
            .map(|value| read(value).map_err(|problem| self.unreadable(column, problem)))
            .transpose()
    }

    fn needed<U>(&self, column: &'static str, value: Option<U>) -> Result<U, R::Failure> {
        value.ok_or_else(|| self.unreadable(column, "it is null"))
    }

    fn maybe_text(&self, column: &'static str) -> Result<Option<String>, R::Failure> {
        self.maybe(column, R::decode)
    }

    fn text(&self, column: &'static str) -> Result<String, R::Failure> {
        let value = self.maybe_text(column)?;
        self.needed(column, value)
    }

    pub(crate) fn name<T: FromStr<Err: Display>>(
        &self,
        column: &'static str,
    ) -> Result<T, R::Failure> {
        let value = self.maybe_name(column)?;
        self.needed(column, value)
    }

    fn maybe_name<T: FromStr<Err: Display>>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, R::Failure> {
        self.maybe(column, |text: String| text.parse())
    }

    pub(crate) fn number<T: TryFrom<i64, Error: Display>>(
        &self,
        column: &'static str,
    ) -> Result<T, R::Failure> {
        let number: i64 = self.get(column)?;
        T::try_from(number)
            .map_err(|problem| self.unreadable(column, format!("{number}: {problem}")))
    }

    fn duration(&self, column: &'static str) -> Result<Option<Duration>, R::Failure> {
        self.maybe(column, |micros: i64| {
            u64::try_from(micros).map(Duration::from_micros)
        })
    }

    pub(crate) fn epoch(&self) -> Result<Epoch, R::Failure> {
        self.number("epoch").map(Epoch::new)
    }

    fn fault(&self) -> Result<Option<Fault>, R::Failure> {
        let Some(layer) = self.maybe_name::<Layer>("fault_layer")? else {
            return Ok(None);
        };
        let fault = Fault::new(layer, self.name::<Reason>("fault_reason")?)
            .with_retry_after(self.duration("fault_retry_after_us")?);
        Ok(Some(match self.maybe_text("fault_detail")? {
            Some(detail) => fault.with_detail(detail),
            None => fault,
        }))
    }

    fn needed_fault(&self) -> Result<Fault, R::Failure> {
        let fault = self.fault()?;
        self.needed("fault_layer", fault)
    }

    pub(crate) fn monitor(&self) -> Result<Monitor, R::Failure> {
        Ok(Monitor {
            id: self.name("id")?,
            name: self.text("name")?,
            source: match self.get::<String>("source")?.as_str() {
                "file" => Source::File,
                "api" => Source::Api,
                other => return Err(self.unreadable("source", format!("unknown: {other:?}"))),
            },
            spec: self.text("spec")?,
        })
    }

    pub(crate) fn status(&self, monitor: MonitorId) -> Result<Status, R::Failure> {
        Ok(Status {
            monitor,
            lifecycle: self.name("lifecycle")?,
            epoch: self.epoch()?,
            outcome: self.maybe_name("outcome")?,
            since_unix_ms: self.get("since_unix_ms")?,
            checked_unix_ms: self.get("checked_unix_ms")?,
            streak: self.number("streak")?,
            fault: self.fault()?,
        })
    }

    pub(crate) fn last_due(&self) -> Result<Option<LastDue>, R::Failure> {
        let Some(due_unix_ms) = self.get("last_due_unix_ms")? else {
            return Ok(None);
        };
        Ok(Some(LastDue {
            due_unix_ms,
            slots: self.number("last_slots")?,
            interval_ms: self.get("last_interval_ms")?,
        }))
    }

    /// An incident out of its own table, or out of the outbox.
    pub(crate) fn incident(
        &self,
        id: &'static str,
        monitor: MonitorId,
    ) -> Result<Incident, R::Failure> {
        let closed = match self.get("closed_unix_ms")? {
            None => None,
            Some(unix_ms) => Some(Closed {
                unix_ms,
                by: match self.get::<String>("closed_by")?.as_str() {
                    "recovery" => ClosedBy::Recovery,
                    "deletion" => ClosedBy::Deletion,
                    other => {
                        return Err(self.unreadable("closed_by", format!("unknown: {other:?}")));
                    }
                },
            }),
        };
        Ok(Incident {
            id: self.number(id)?,
            monitor,
            opened_unix_ms: self.get("opened_unix_ms")?,
            fault: self.needed_fault()?,
            paused: self.get("paused")?,
            closed,
        })
    }

    /// A line of history without when it started, what triggered it and its operation: each database
    /// keeps those in its own way.
    pub(crate) fn line(&self, monitor: MonitorId) -> Result<HistoryRow, R::Failure> {
        let mut record = self.outcome(monitor)?;
        record.slots = self.number("slots")?;
        if record.slots == 0 {
            return Err(self.unreadable("slots", "it is 0"));
        }
        record.interval_ms = self.get("interval_ms")?;
        record.took = self.duration("took_us")?;
        Ok(HistoryRow {
            sequence: self.number("sequence")?,
            record,
        })
    }

    /// The record with what only its two constructors can set, so that outcome, fault and reason
    /// agree again.
    fn outcome(&self, monitor: MonitorId) -> Result<Record, R::Failure> {
        let (epoch, due) = (self.epoch()?, self.get("due_unix_ms")?);
        let outcome: Outcome = self.name("outcome")?;
        let finding = match outcome {
            Outcome::Up => Finding::Up,
            Outcome::Degraded => Finding::Degraded(self.needed_fault()?),
            Outcome::Down => Finding::Down(self.needed_fault()?),
            Outcome::Unknown => Finding::Unknown(self.needed_fault()?),
            Outcome::Missed | Outcome::Suppressed | Outcome::Cancelled => {
                let reason: Unobserved = self.name("reason")?;
                if reason.outcome() != outcome {
                    let problem = format!("{reason} is no reason of {outcome}");
                    return Err(self.unreadable("reason", problem));
                }
                return Ok(Record::unobserved(monitor, epoch, due, 1, reason));
            }
        };
        let note = self.maybe_text("note")?;
        let observation = Observation { finding, note };
        let phases = self.phases()?;
        Ok(Record::observed(monitor, epoch, due, observation, phases))
    }

    fn phases(&self) -> Result<Phases, R::Failure> {
        let mut phases = Phases::default();
        for phase in Phase::ALL {
            if let Some(took) = self.duration(phase_column(phase))? {
                phases.set(phase, took);
            }
        }
        Ok(phases)
    }
}

const fn phase_column(phase: Phase) -> &'static str {
    match phase {
        Phase::Resolve => "resolve_us",
        Phase::Connect => "connect_us",
        Phase::Tls => "tls_us",
        Phase::FirstByte => "first_byte_us",
        Phase::Transfer => "transfer_us",
    }
}

/// Whole microseconds; a duration that a row cannot hold is cut to the longest that it can.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
