//! Many rows as one array for each column, the form in which a batch goes to the server.

use std::borrow::Cow;

use monitor_fault::Fault;
use monitor_model::{Bucket, Incident, LastDue, Phase, Record, Resolution, Status, Trigger};
use monitor_pool::managers::postgres::tokio_postgres::types::{ToSql, Type};

use super::row::micros;
use super::text::encode;

/// One column with the name that it has in its table.
struct Column<'v> {
    name: &'static str,
    values: Values<'v>,
}

enum Values<'v> {
    Numbers(Vec<Option<i64>>),
    Texts(Vec<Option<Cow<'v, str>>>),
    Flags(Vec<bool>),
    Bytes(Vec<Option<Vec<u8>>>),
}

impl Values<'_> {
    fn parameter(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Numbers(all) => (all, Type::INT8_ARRAY),
            Self::Texts(all) => (all, Type::TEXT_ARRAY),
            Self::Flags(all) => (all, Type::BOOL_ARRAY),
            Self::Bytes(all) => (all, Type::BYTEA_ARRAY),
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Numbers(_) => "int8[]",
            Self::Texts(_) => "text[]",
            Self::Flags(_) => "bool[]",
            Self::Bytes(_) => "bytea[]",
        }
    }
}

/// Rows to be, column by column.
pub(super) struct Columns<'v>(Vec<Column<'v>>);

impl<'v> Columns<'v> {
    /// The names of the columns, with commas between.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|column| column.name).collect();
        names.join(", ")
    }

    /// `unnest($1::int8[], ...) AS alias (names)`: the rows, as the server sees them.
    pub(super) fn rows(&self, alias: &str) -> String {
        let arrays = self.0.iter().enumerate();
        let arrays: Vec<_> = arrays
            .map(|(index, column)| format!("${}::{}", index + 1, column.values.kind()))
            .collect();
        format!(
            "unnest({}) AS {alias} ({})",
            arrays.join(", "),
            self.names()
        )
    }

    /// `name = alias.name` for each column but the first two: the key and the fence.
    pub(super) fn assignments(&self, alias: &str) -> String {
        let others = self.0.iter().skip(2);
        let others: Vec<_> = others
            .map(|Column { name, .. }| format!("{name} = {alias}.{name}"))
            .collect();
        others.join(", ")
    }

    pub(super) fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        let columns = self.0.iter();
        columns.map(|column| column.values.parameter()).collect()
    }

    fn numbers(mut self, name: &'static str, values: impl Iterator<Item = Option<i64>>) -> Self {
        let values = Values::Numbers(values.collect());
        self.0.push(Column { name, values });
        self
    }

    fn texts(
        mut self,
        name: &'static str,
        values: impl Iterator<Item = Option<Cow<'v, str>>>,
    ) -> Self {
        let values = Values::Texts(values.collect());
        self.0.push(Column { name, values });
        self
    }

    fn faults(self, all: impl Iterator<Item = Option<&'v Fault>> + Clone) -> Self {
        let plain = |text: &'static str| Cow::Borrowed(text);
        self.texts(
            "fault_layer",
            all.clone()
                .map(|it| it.map(|it| plain(it.layer().as_str()))),
        )
        .texts(
            "fault_reason",
            all.clone()
                .map(|it| it.map(|it| plain(it.reason().as_str()))),
        )
        .texts(
            "fault_detail",
            all.clone().map(|it| it.and_then(Fault::detail).map(encode)),
        )
        .numbers(
            "fault_retry_after_us",
            all.map(|it| it.and_then(Fault::retry_after).map(micros)),
        )
    }

    /// Lines of history, each with the number of its monitor and whether the verdict changed. The
    /// epoch of each must fit.
    pub(super) fn history(lines: &'v [(i64, &'v Record, bool)]) -> Self {
        let records = || lines.iter().map(|&(_, record, _)| record);
        let plain = |text: &'static str| Some(Cow::Borrowed(text));
        let phase = |phase| records().map(move |it| it.phases().get(phase).map(micros));
        let bytes = records().map(|it| it.operation.map(|id| id.get().to_be_bytes().to_vec()));
        let mut columns = Self(Vec::new())
            .numbers("monitor", lines.iter().map(|&(number, ..)| Some(number)))
            .numbers("due_unix_ms", records().map(|it| Some(it.due_unix_ms)))
            .numbers("slots", records().map(|it| Some(i64::from(it.slots))))
            .numbers("interval_ms", records().map(|it| Some(it.interval_ms)))
            .numbers(
                "epoch",
                records().map(|it| Some(it.epoch.get().cast_signed())),
            )
            .texts("outcome", records().map(|it| plain(it.outcome().as_str())))
            .texts(
                "reason",
                records().map(|it| it.reason().and_then(|why| plain(why.as_str()))),
            )
            .texts(
                "\"trigger\"",
                records().map(|it| plain(trigger(it.trigger))),
            )
            .numbers(
                "started_unix_ms",
                records().map(|it| Some(it.started_unix_ms)),
            )
            .numbers("took_us", records().map(|it| it.took.map(micros)))
            .faults(lines.iter().map(|&(_, record, _)| record.fault()))
            .texts("note", records().map(|it| it.note().map(encode)))
            .numbers("resolve_us", phase(Phase::Resolve))
            .numbers("connect_us", phase(Phase::Connect))
            .numbers("tls_us", phase(Phase::Tls))
            .numbers("first_byte_us", phase(Phase::FirstByte))
            .numbers("transfer_us", phase(Phase::Transfer));
        let values = Values::Bytes(bytes.collect());
        columns.0.push(Column {
            name: "operation",
            values,
        });
        let values = Values::Flags(lines.iter().map(|&(.., turned)| turned).collect());
        columns.0.push(Column {
            name: "turned",
            values,
        });
        columns
    }

    /// Counts to be added to buckets, in the order of the columns of their table.
    pub(super) fn buckets(rows: &[(i64, Resolution, Bucket)]) -> Self {
        let number = |value: u64| Some(i64::try_from(value).unwrap_or(i64::MAX));
        let tallies = || rows.iter().map(|(.., bucket)| bucket.tally);
        let latencies = || rows.iter().map(|(.., bucket)| bucket.latency);
        let resolution = |resolution: Resolution| Some(i64::from(resolution as u8));
        Self(Vec::new())
            .numbers("monitor", rows.iter().map(|&(monitor, ..)| Some(monitor)))
            .numbers("resolution", rows.iter().map(|&(_, it, _)| resolution(it)))
            .numbers(
                "start_unix_ms",
                rows.iter().map(|(.., it)| Some(it.start_unix_ms)),
            )
            .numbers("up", tallies().map(|it| number(it.up)))
            .numbers("degraded", tallies().map(|it| number(it.degraded)))
            .numbers("down", tallies().map(|it| number(it.down)))
            .numbers("due", tallies().map(|it| number(it.due)))
            .numbers("latency_count", latencies().map(|it| number(it.count)))
            .numbers("latency_min_us", latencies().map(|it| number(it.min_us)))
            .numbers("latency_sum_us", latencies().map(|it| number(it.sum_us)))
            .numbers("latency_max_us", latencies().map(|it| number(it.max_us)))
    }

    /// States with where their history ends, by the monitor's number and the epoch that may write.
    pub(super) fn status(rows: &'v [(i64, i64, Status, LastDue)]) -> Self {
        let states = || rows.iter().map(|(_, _, status, _)| status);
        let last = || rows.iter().map(|(.., last)| last);
        Self(Vec::new())
            .numbers("monitor", rows.iter().map(|&(number, ..)| Some(number)))
            .numbers("epoch", rows.iter().map(|&(_, epoch, ..)| Some(epoch)))
            .texts(
                "outcome",
                states().map(|it| it.outcome.map(|it| Cow::Borrowed(it.as_str()))),
            )
            .numbers("since_unix_ms", states().map(|it| it.since_unix_ms))
            .numbers("checked_unix_ms", states().map(|it| it.checked_unix_ms))
            .numbers("streak", states().map(|it| Some(i64::from(it.streak))))
            .faults(rows.iter().map(|(_, _, status, _)| status.fault.as_ref()))
            .numbers("last_due_unix_ms", last().map(|it| Some(it.due_unix_ms)))
            .numbers("last_slots", last().map(|it| Some(i64::from(it.slots))))
            .numbers("last_interval_ms", last().map(|it| Some(it.interval_ms)))
    }

    /// Incidents, each with the number of its monitor.
    pub(super) fn incidents(rows: &'v [(i64, &'v Incident)]) -> Self {
        let incidents = || rows.iter().map(|&(_, incident)| incident);
        Self(Vec::new())
            .numbers("id", incidents().map(|it| Some(it.id.cast_signed())))
            .numbers("monitor", rows.iter().map(|&(number, _)| Some(number)))
            .incident(rows)
    }

    /// What there is to say about incidents.
    pub(super) fn notices(rows: &'v [(i64, &'v Incident)]) -> Self {
        let incidents = || rows.iter().map(|&(_, incident)| incident);
        let plain = |text: &'v str| Some(Cow::Borrowed(text));
        Self(Vec::new())
            .numbers("incident", incidents().map(|it| Some(it.id.cast_signed())))
            .texts("kind", incidents().map(|it| plain(it.kind().as_str())))
            .texts("monitor", incidents().map(|it| plain(it.monitor.as_str())))
            .incident(rows)
    }

    fn incident(self, rows: &'v [(i64, &'v Incident)]) -> Self {
        let incidents = || rows.iter().map(|&(_, incident)| incident);
        let mut columns = self
            .numbers(
                "opened_unix_ms",
                incidents().map(|it| Some(it.opened_unix_ms)),
            )
            .faults(rows.iter().map(|&(_, incident)| Some(&incident.fault)))
            .numbers(
                "closed_unix_ms",
                incidents().map(|it| it.closed.map(|closed| closed.unix_ms)),
            )
            .texts(
                "closed_by",
                incidents().map(|it| it.closed.map(|closed| Cow::Borrowed(closed.by.as_str()))),
            );
        let values = Values::Flags(incidents().map(|it| it.paused).collect());
        columns.0.push(Column {
            name: "paused",
            values,
        });
        columns
    }
}

const fn trigger(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Timer => "timer",
        Trigger::Manual => "manual",
    }
}
