//! Between the rows of the file and values, where the file has its own way.

use std::fmt::Display;

use monitor_fault::Fault;
use monitor_model::{HistoryRow, MonitorId, Trigger};
use monitor_operation::{Epoch, OperationId};
use rusqlite::types::{FromSql, Value};

use super::failure::Failure;
pub(crate) use crate::row::micros;
use crate::row::{Get, Row};

/// One row, read column by column.
pub(crate) type Fields<'r> = crate::row::Fields<Named<'r>>;

pub(crate) struct Named<'r> {
    row: &'r rusqlite::Row<'r>,
    /// How the row is called in an error.
    name: String,
}

impl<T: FromSql> Get<T> for Named<'_> {
    fn get(&self, column: &'static str) -> Result<T, String> {
        self.row.get(column).map_err(|error| error.to_string())
    }
}

impl Row for Named<'_> {
    type Failure = Failure;

    fn unreadable(&self, column: &'static str, problem: String) -> Failure {
        Failure::Unreadable {
            row: self.name.clone(),
            column,
            problem,
        }
    }

    /// Any text is kept as it is.
    fn decode(text: String) -> Result<String, &'static str> {
        Ok(text)
    }
}

impl<'r> Fields<'r> {
    /// A row of `table`, called by its column `key` in errors.
    pub(crate) fn of(row: &'r rusqlite::Row<'r>, table: &str, key: &str) -> Self {
        let key = row
            .get::<_, Value>(key)
            .map_or_else(|error| error.to_string(), |value| describe(&value));
        let name = format!("{table} {key}");
        Self(Named { row, name })
    }

    pub(crate) fn maybe_number<T: TryFrom<i64, Error: Display>>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, Failure> {
        self.maybe(column, |number: i64| T::try_from(number))
    }

    pub(crate) fn id(&self) -> Result<MonitorId, Failure> {
        self.name("id")
    }

    /// The id of a monitor in a table that refers to nothing.
    pub(crate) fn monitor_id(&self) -> Result<MonitorId, Failure> {
        self.name("monitor")
    }

    pub(crate) fn history(&self, monitor: MonitorId) -> Result<HistoryRow, Failure> {
        let mut line = self.line(monitor)?;
        let record = &mut line.record;
        record.started_unix_ms = self.get::<i64>("late_ms")?.wrapping_add(record.due_unix_ms);
        record.trigger = match self.get("manual")? {
            true => Trigger::Manual,
            false => Trigger::Timer,
        };
        record.operation = self.maybe("operation", |bytes: [u8; 16]| {
            OperationId::new(u128::from_be_bytes(bytes)).ok_or("an operation id is not zero")
        })?;
        Ok(line)
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => format!("{text:?}"),
        other => format!("{other:?}"),
    }
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
