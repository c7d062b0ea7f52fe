//! What the API says, as JSON. Times are unix milliseconds, durations milliseconds.

use std::time::Duration;

use monitor_core::View;
use monitor_fault::Fault;
use monitor_model::{HistoryRow, Phase, Record};
use serde_json::{Map, Value, json};

/// A monitor with its state.
pub(super) fn view_json(view: &View) -> Value {
    let status = &view.status;
    let spec: Value = serde_json::from_str(&view.monitor.spec).unwrap_or(Value::Null);
    let schedule = view.schedule.as_ref();
    json!({
        "id": view.monitor.id,
        "name": view.monitor.name,
        "source": view.monitor.source,
        "kind": view.kind,
        "target": view.target,
        "spec": spec,
        "interval_ms": ms(view.settings.interval),
        "timeout_ms": ms(view.settings.effective_timeout()),
        "lifecycle": status.lifecycle,
        "epoch": status.epoch.get(),
        "outcome": status.outcome,
        "since_unix_ms": status.since_unix_ms,
        "checked_unix_ms": status.checked_unix_ms,
        "streak": status.streak,
        "fault": status.fault.as_ref().map(fault_json),
        "next_due_unix_ms": schedule.and_then(|s| s.next_due).map(ms),
        "running_for_ms": schedule.and_then(|s| s.running_for).map(ms),
        "consecutive_failures": schedule.map_or(0, |s| s.consecutive_failures),
        "backoff_ms": schedule.map(|s| ms(s.current_backoff)),
        "breaker": view.breaker.as_ref().map(|breaker| breaker.state.as_str()),
        "maintenance_until_unix_ms": view.maintenance_until.map(ms),
        "flapping": view.flapping.is_flapping(),
        "changes_percent": view.flapping.percent(),
        "memory_bytes": view.footprint.held(),
        "memory_peak_bytes": view.footprint.most(),
        "fenced_results": view.fenced,
    })
}

/// A line of history.
pub(super) fn row_json(row: &HistoryRow) -> Value {
    let mut json = record_json(&row.record);
    json.insert("sequence".to_owned(), json!(row.sequence));
    Value::Object(json)
}

/// A record, without the name of its monitor.
pub(in crate::server) fn record_json(record: &Record) -> Map<String, Value> {
    let phases: Map<String, Value> = record
        .phases()
        .iter()
        .map(|(phase, took): (Phase, Duration)| (phase.as_str().to_owned(), json!(fine_ms(took))))
        .collect();
    let Value::Object(json) = json!({
        "due_unix_ms": record.due_unix_ms,
        "slots": record.slots,
        "interval_ms": record.interval_ms,
        "started_unix_ms": record.started_unix_ms,
        "took_ms": record.took.map(fine_ms),
        "trigger": record.trigger,
        "operation": record.operation.map(|id| id.to_string()),
        "epoch": record.epoch.get(),
        "outcome": record.outcome(),
        "reason": record.reason(),
        "fault": record.fault().map(fault_json),
        "note": record.note(),
        "phases_ms": phases,
    }) else {
        return Map::new();
    };
    json
}

fn fault_json(fault: &Fault) -> Value {
    json!({
        "category": fault.category().as_str(),
        "layer": fault.layer().as_str(),
        "reason": fault.reason().as_str(),
        "blame": fault.blame().as_str(),
        "retryable": fault.is_retryable(),
        "detail": fault.detail(),
    })
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// To the whole microsecond, as it is stored.
#[expect(clippy::cast_precision_loss, reason = "exact up to centuries")]
fn fine_ms(span: Duration) -> f64 {
    span.as_micros() as f64 / 1e3
}
