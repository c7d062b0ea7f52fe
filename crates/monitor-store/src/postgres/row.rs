//! Between rows and values. A row that cannot be read is an error that names it, never a panic and
//! never a guess.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use monitor_fault::{Fault, Layer, Reason};
use monitor_model::{
    Bucket, Closed, ClosedBy, Finding, HistoryRow, Incident, LastDue, Latency, Lifecycle, Monitor,
    MonitorId, Observation, Outcome, Phase, Phases, Record, Source, Status, Tally, Trigger,
    Unobserved,
};
use monitor_operation::{Epoch, OperationId};
use monitor_pool::managers::postgres::tokio_postgres::Row;
use monitor_pool::managers::postgres::tokio_postgres::types::FromSqlOwned;

use super::failure::Failure;
use super::text;

/// One row, read column by column.
pub(super) struct Fields<'r> {
    row: &'r Row,
    table: &'static str,
    /// The column that a row is called by in an error.
    key: &'static str,
}

impl<'r> Fields<'r> {
    /// A row of `table`, called by its column `key` in errors.
    pub(super) const fn of(row: &'r Row, table: &'static str, key: &'static str) -> Self {
        Self { row, table, key }
    }

    fn unreadable(&self, column: &'static str, problem: impl Display) -> Failure {
        let key = self
            .row
            .try_get::<_, i64>(self.key)
            .map(|key| key.to_string());
        let key = key.or_else(|_| self.row.try_get::<_, String>(self.key));
        Failure::Unreadable {
            row: format!("{} {}", self.table, key.unwrap_or_default()),
            column,
            problem: problem.to_string(),
        }
    }

    pub(super) fn get<T: FromSqlOwned>(&self, column: &'static str) -> Result<T, Failure> {
        self.row
            .try_get(column)
            .map_err(|error| self.unreadable(column, super::failure::chain(&error)))
    }

    fn maybe<T: FromSqlOwned, U, E: Display>(
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

    fn maybe_text(&self, column: &'static str) -> Result<Option<String>, Failure> {
        self.maybe(column, text::decode)
    }

    fn text(&self, column: &'static str) -> Result<String, Failure> {
        let value = self.maybe_text(column)?;
        self.needed(column, value)
    }

    fn name<T: FromStr<Err: Display>>(&self, column: &'static str) -> Result<T, Failure> {
        let value = self.maybe_name(column)?;
        self.needed(column, value)
    }

    fn maybe_name<T: FromStr<Err: Display>>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, Failure> {
        self.maybe(column, |text: String| text.parse())
    }

    pub(super) fn number<T: TryFrom<i64, Error: Display>>(
        &self,
        column: &'static str,
    ) -> Result<T, Failure> {
        let number = self.get::<i64>(column)?;
        T::try_from(number)
            .map_err(|problem| self.unreadable(column, format!("{number}: {problem}")))
    }

    fn duration(&self, column: &'static str) -> Result<Option<Duration>, Failure> {
        self.maybe(column, |micros: i64| {
            u64::try_from(micros).map(Duration::from_micros)
        })
    }

    pub(super) fn epoch(&self) -> Result<Epoch, Failure> {
        self.number("epoch").map(Epoch::new)
    }

    fn fault(&self) -> Result<Option<Fault>, Failure> {
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

    pub(super) fn id(&self, column: &'static str) -> Result<MonitorId, Failure> {
        self.name(column)
    }

    pub(super) fn lifecycle(&self) -> Result<Lifecycle, Failure> {
        self.name("lifecycle")
    }

    pub(super) fn bucket(&self) -> Result<Bucket, Failure> {
        Ok(Bucket {
            start_unix_ms: self.get("start_unix_ms")?,
            tally: Tally {
                up: self.number("up")?,
                degraded: self.number("degraded")?,
                down: self.number("down")?,
                due: self.number("due")?,
            },
            latency: Latency {
                count: self.number("latency_count")?,
                min_us: self.number("latency_min_us")?,
                sum_us: self.number("latency_sum_us")?,
                max_us: self.number("latency_max_us")?,
            },
        })
    }

    pub(super) fn monitor(&self) -> Result<Monitor, Failure> {
        Ok(Monitor {
            id: self.id("id")?,
            name: self.text("name")?,
            source: match self.get::<String>("source")?.as_str() {
                "file" => Source::File,
                "api" => Source::Api,
                other => return Err(self.unreadable("source", format!("unknown: {other:?}"))),
            },
            spec: self.text("spec")?,
        })
    }

    pub(super) fn status(&self, monitor: MonitorId) -> Result<Status, Failure> {
        Ok(Status {
            monitor,
            lifecycle: self.lifecycle()?,
            epoch: self.epoch()?,
            outcome: self.maybe_name("outcome")?,
            since_unix_ms: self.get("since_unix_ms")?,
            checked_unix_ms: self.get("checked_unix_ms")?,
            streak: self.number("streak")?,
            fault: self.fault()?,
        })
    }

    pub(super) fn last_due(&self) -> Result<Option<LastDue>, Failure> {
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
    pub(super) fn incident(
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

    pub(super) fn history(&self, monitor: MonitorId) -> Result<HistoryRow, Failure> {
        let mut record = self.outcome(monitor)?;
        record.slots = self.number("slots")?;
        if record.slots == 0 {
            return Err(self.unreadable("slots", "it is 0"));
        }
        record.interval_ms = self.get("interval_ms")?;
        record.started_unix_ms = self.get("started_unix_ms")?;
        record.took = self.duration("took_us")?;
        record.trigger = match self.get::<String>("trigger")?.as_str() {
            "timer" => Trigger::Timer,
            "manual" => Trigger::Manual,
            other => return Err(self.unreadable("trigger", format!("unknown: {other:?}"))),
        };
        record.operation = self.maybe("operation", |bytes: Vec<u8>| {
            let number = <[u8; 16]>::try_from(bytes).map(u128::from_be_bytes);
            number
                .ok()
                .and_then(OperationId::new)
                .ok_or("an operation id is 16 bytes and not zero")
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
            note: self.maybe_text("note")?,
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

/// Whole microseconds; a duration that a row cannot hold is cut to the longest that it can.
pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn epoch_number(epoch: Epoch) -> Result<i64, Failure> {
    i64::try_from(epoch.get()).map_err(|_| Failure::EpochTooLarge(epoch))
}
