//! Between the rows of the database and values, where PostgreSQL has its own way.

use monitor_model::{Bucket, HistoryRow, Latency, Lifecycle, MonitorId, Tally, Trigger};
use monitor_operation::{Epoch, OperationId};
use monitor_pool::managers::postgres::tokio_postgres;
use monitor_pool::managers::postgres::tokio_postgres::types::FromSqlOwned;

use super::failure::{Failure, chain};
use super::text;
pub(super) use crate::row::micros;
use crate::row::{Get, Row};

/// One row, read column by column.
pub(super) type Fields<'r> = crate::row::Fields<Named<'r>>;

pub(super) struct Named<'r> {
    row: &'r tokio_postgres::Row,
    table: &'static str,
    /// The column that a row is called by in an error.
    key: &'static str,
}

impl<T: FromSqlOwned> Get<T> for Named<'_> {
    fn get(&self, column: &'static str) -> Result<T, String> {
        self.row.try_get(column).map_err(|error| chain(&error))
    }
}

impl Row for Named<'_> {
    type Failure = Failure;

    fn unreadable(&self, column: &'static str, problem: String) -> Failure {
        let key = self
            .row
            .try_get::<_, i64>(self.key)
            .map(|key| key.to_string());
        let key = key.or_else(|_| self.row.try_get::<_, String>(self.key));
        Failure::Unreadable {
            row: format!("{} {}", self.table, key.unwrap_or_default()),
            column,
            problem,
        }
    }

    fn decode(text: String) -> Result<String, &'static str> {
        text::decode(text)
    }
}

impl<'r> Fields<'r> {
    /// A row of `table`, called by its column `key` in errors.
    pub(super) const fn of(
        row: &'r tokio_postgres::Row,
        table: &'static str,
        key: &'static str,
    ) -> Self {
        Self(Named { row, table, key })
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

    pub(super) fn history(&self, monitor: MonitorId) -> Result<HistoryRow, Failure> {
        let mut line = self.line(monitor)?;
        let record = &mut line.record;
        record.started_unix_ms = self.get("started_unix_ms")?;
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
        Ok(line)
    }
}

pub(super) fn epoch_number(epoch: Epoch) -> Result<i64, Failure> {
    i64::try_from(epoch.get()).map_err(|_| Failure::EpochTooLarge(epoch))
}
