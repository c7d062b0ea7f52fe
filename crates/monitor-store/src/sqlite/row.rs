//! Between rows and values. A row that cannot be read is an error that names it, never a panic and
//! never a guess.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use monitor_fault::{Fault, Layer, Reason};
use monitor_model::{
    Closed, ClosedBy, Finding, HistoryRow, Incident, LastDue, Monitor, MonitorId, Observation,
    Outcome, Phase, Phases, Record, Source, Status, Trigger, Unobserved,
};
use monitor_operation::{Epoch, OperationId};
use rusqlite::Row;
use rusqlite::types::FromSql;

use super::failure::Failure;

/// One row, read column by column.
pub(crate) struct Fields<'r> {
    row: &'r Row<'r>,
    /// How the row is called in an error.
    name: String,
}

impl<'r> Fields<'r> {
    /// A row of `table`, called by its column `key` in errors.
    pub(crate) fn of(row: &'r Row<'r>, table: &str, key: &str) -> Self {
        let key = row
            .get::<_, rusqlite::types::Value>(key)
            .map_or_else(|error| error.to_string(), |value| describe(&value));
        Self {
            row,
            name: format!("{table} {key}"),
        }
    }

    fn unreadable(&self, column: &'static str, problem: impl Display) -> Failure {
        Failure::Unreadable {
            row: self.name.clone(),
            column,
            problem: problem.to_string(),
        }
    }

    pub(crate) fn get<T: FromSql>(&self, column: &'static str) -> Result<T, Failure> {
        self.row
            .get(column)
            .map_err(|error| self.unreadable(column, error))
    }

    fn maybe<T: FromSql, U, E: Display>(
        &self,
        column: &'static str,
        read: impl FnOnce(T) -> Result<U, E>,
    ) -> Result<Option<U>, Failure> {
        let value = self.get::<Option<T>>(column)?;
        value
            .map(|value| read(value).map_err(|problem| self.unreadable(column, problem)))
            .transpose()
    }

    fn needed<U>(&self, column: &'static str, value: Option<U>) -> Result<U, Failure> {
        value.ok_or_else(|| self.unreadable(column, "it is null"))
    }

    pub(crate) fn name<T: FromStr<Err: Display>>(
        &self,
        column: &'static str,
    ) -> Result<T, Failure> {
        let value = self.maybe_name(column)?;
        self.needed(column, value)
    }

    fn maybe_name<T: FromStr<Err: Display>>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, Failure> {
        self.maybe(column, |text: String| text.parse())
    }

    pub(crate) fn number<T: TryFrom<i64, Error: Display>>(
        &self,
        column: &'static str,
    ) -> Result<T, Failure> {
        let number = self.get::<i64>(column)?;
        T::try_from(number)
            .map_err(|problem| self.unreadable(column, format!("{number}: {problem}")))
    }

    pub(crate) fn maybe_number<T: TryFrom<i64, Error: Display>>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, Failure> {
        self.maybe(column, |number: i64| T::try_from(number))
    }

    fn duration(&self, column: &'static str) -> Result<Option<Duration>, Failure> {
        self.maybe(column, |micros: i64| {
            u64::try_from(micros).map(Duration::from_micros)
        })
    }

    pub(crate) fn epoch(&self) -> Result<Epoch, Failure> {
        self.number("epoch").map(Epoch::new)
    }

    fn fault(&self) -> Result<Option<Fault>, Failure> {
        let Some(layer) = self.maybe_name::<Layer>("fault_layer")? else {
            return Ok(None);
        };
        let fault = Fault::new(layer, self.name::<Reason>("fault_reason")?)
            .with_retry_after(self.duration("fault_retry_after_us")?);
        Ok(Some(match self.get::<Option<String>>("fault_detail")? {
            Some(detail) => fault.with_detail(detail),
            None => fault,
        }))
    }

    pub(crate) fn id(&self) -> Result<MonitorId, Failure> {
        self.name("id")
    }

    /// The id of a monitor in a table that refers to nothing.
    pub(crate) fn monitor_id(&self) -> Result<MonitorId, Failure> {
        self.name("monitor")
    }

    pub(crate) fn incident(
        &self,
        id: &'static str,
        monitor: MonitorId,
    ) -> Result<Incident, Failure> {
        let closed = match self.get::<Option<i64>>("closed_unix_ms")? {
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
            fault: self.needed("fault_layer", self.fault()?)?,
            paused: self.get("paused")?,
            closed,
        })
    }

    pub(crate) fn monitor(&self) -> Result<Monitor, Failure> {
        Ok(Monitor {
            id: self.id()?,
            name: self.get("name")?,
            source: match self.get::<String>("source")?.as_str() {
                "file" => Source::File,
                "api" => Source::Api,
                other => return Err(self.unreadable("source", format!("unknown: {other:?}"))),
            },
            spec: self.get("spec")?,
        })
    }

    pub(crate) fn status(&self, monitor: MonitorId) -> Result<Status, Failure> {
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

    pub(crate) fn last_due(&self) -> Result<Option<LastDue>, Failure> {
        let Some(due_unix_ms) = self.get("last_due_unix_ms")? else {
            return Ok(None);
        };
        Ok(Some(LastDue {
            due_unix_ms,
            slots: self.number("last_slots")?,
            interval_ms: self.get("last_interval_ms")?,
        }))
    }

    pub(crate) fn history(&self, monitor: MonitorId) -> Result<HistoryRow, Failure> {
        let mut record = self.outcome(monitor)?;
        record.slots = self.number("slots")?;
        if record.slots == 0 {
            return Err(self.unreadable("slots", "it is 0"));
        }
        record.interval_ms = self.get("interval_ms")?;
        record.started_unix_ms = self.get::<i64>("late_ms")?.wrapping_add(record.due_unix_ms);
        record.took = self.duration("took_us")?;
        record.trigger = match self.get("manual")? {
            true => Trigger::Manual,
            false => Trigger::Timer,
        };
        record.operation = self.maybe("operation", |bytes: [u8; 16]| {
            OperationId::new(u128::from_be_bytes(bytes)).ok_or("an operation id is not zero")
        })?;
        Ok(HistoryRow {
            sequence: self.number("sequence")?,
            record,
        })
    }

    /// The record with what only its two constructors can set, so that outcome, fault and reason
    /// agree again.
    fn outcome(&self, monitor: MonitorId) -> Result<Record, Failure> {
        let (epoch, due) = (self.epoch()?, self.get("due_unix_ms")?);
        let outcome: Outcome = self.name("outcome")?;
        let fault = || {
            self.fault()
                .and_then(|fault| self.needed("fault_layer", fault))
        };
        let finding = match outcome {
            Outcome::Up => Finding::Up,
            Outcome::Degraded => Finding::Degraded(fault()?),
            Outcome::Down => Finding::Down(fault()?),
            Outcome::Unknown => Finding::Unknown(fault()?),
            Outcome::Missed | Outcome::Suppressed | Outcome::Cancelled => {
                let reason: Unobserved = self.name("reason")?;
                if reason.outcome() != outcome {
                    let problem = format!("{reason} is no reason of {outcome}");
                    return Err(self.unreadable("reason", problem));
                }
                return Ok(Record::unobserved(monitor, epoch, due, 1, reason));
            }
        };
        let observation = Observation {
            finding,
            note: self.get("note")?,
        };
        Ok(Record::observed(
            monitor,
            epoch,
            due,
            observation,
            self.phases()?,
        ))
    }

    fn phases(&self) -> Result<Phases, Failure> {
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

fn describe(value: &rusqlite::types::Value) -> String {
    use rusqlite::types::Value;
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => format!("{text:?}"),
        other => format!("{other:?}"),
    }
}

/// Whole microseconds; a duration that a row cannot hold is cut to the longest that it can.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(crate) fn epoch_number(epoch: Epoch) -> Result<i64, Failure> {
    i64::try_from(epoch.get()).map_err(|_| Failure::EpochTooLarge(epoch))
}

/// The columns of a fault, in the order layer, reason, detail, retry after.
pub(crate) type FaultColumns<'f> = (
    Option<&'static str>,
    Option<&'static str>,
    Option<&'f str>,
    Option<i64>,
);

pub(crate) fn fault_columns(fault: Option<&Fault>) -> FaultColumns<'_> {
    fault.map_or((None, None, None, None), |fault| {
        (
            Some(fault.layer().as_str()),
            Some(fault.reason().as_str()),
            fault.detail(),
            fault.retry_after().map(micros),
        )
    })
}
