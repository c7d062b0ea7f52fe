//! Is it well: the targets (`/health`), the process (`/livez`), its readiness (`/readyz`).

use std::sync::atomic::Ordering::Relaxed;

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use monitor_model::{Rating, Status};
use serde_json::{Value, json};

use super::app::App;
use super::resources;

/// `GET /health`: 200 when more than half of what is watched is well, by the strict majority rule;
/// 503 otherwise, also while nothing is known. It also shows what the process itself is made of;
/// that has no part in the verdict. With `?verbose` it lists the monitors, of which it says no more
/// than the page does, who holds the connections of pools, and what its own tasks have come to.
pub(super) async fn health(State(app): State<App>, RawQuery(query): RawQuery) -> Response {
    let health = app.core().health();
    let code = match health.rating {
        Rating::Healthy => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let status = match health.rating {
        Rating::Healthy => "healthy",
        Rating::Unhealthy => "unhealthy",
        Rating::Unknown => "unknown",
    };
    let mut parameters = query.iter().flat_map(|query| query.split('&'));
    let verbose = parameters.any(|parameter| parameter == "verbose" || parameter == "verbose=true");
    let mut body = json!({
        "status": status,
        "healthy_probes": health.up,
        "total_probes": health.total,
        "health_percentage": health.ratio().map(|ratio| (ratio * 10_000.0).round() / 100.0),
        "up": health.up,
        "degraded": health.degraded,
        "down": health.down,
        "unknown": health.without_verdict,
        "checked_at": timestamp(&app),
        "version": env!("CARGO_PKG_VERSION"),
        "pressure": resources::pressure(app.core()),
        "pools": resources::pools(app.core(), verbose),
        "tasks": resources::tasks(app.core(), verbose),
        "jobs": app.jobs().map(|jobs| jobs.json(app.now().unix_ms, verbose)),
    });
    if verbose {
        let now = app.now().unix_ms;
        let monitors = app.core().views().into_iter();
        body["monitors"] = monitors.map(|view| one(&view.status, now)).collect();
    }
    answer(code, &body)
}

fn one(status: &Status, now_unix_ms: i64) -> Value {
    let fault = status.fault.as_ref();
    json!({
        "id": status.monitor,
        "lifecycle": status.lifecycle,
        "outcome": status.outcome,
        "category": fault.map(|fault| fault.category().as_str()),
        "since_unix_ms": status.since_unix_ms,
        "age_ms": status.checked_unix_ms.map(|checked| (now_unix_ms - checked).max(0)),
    })
}

/// `GET /livez`: 200 as long as the process answers at all. Never depends on a target: restarting
/// the prober helps no target.
pub(super) async fn livez() -> Response {
    answer(StatusCode::OK, &json!({ "status": "alive" }))
}

/// `GET /readyz`: 200 when results can be written, the process is not about to end, and it is not
/// pressed to the limit of what it may use.
pub(super) async fn readyz(State(app): State<App>) -> Response {
    let is_stopping = app.0.is_stopping.load(Relaxed);
    let store = app.core().store_state();
    let pressure = app.core().pressure();
    let mut reasons = Vec::new();
    if is_stopping {
        reasons.push("the process is shutting down".to_owned());
    }
    if let Err(error) = &store {
        reasons.push(error.clone());
    }
    if let Some(pressure) = pressure.as_ref().filter(|seen| !seen.level.is_ready()) {
        let causes = resources::causes(pressure);
        reasons.push(format!("pressure is {}: {causes}", pressure.level));
    }
    let is_ready = reasons.is_empty();
    let body = json!({
        "status": if is_ready { "ready" } else { "not ready" },
        "store": store.err().unwrap_or_else(|| "writable".to_owned()),
        "results_not_yet_written": app.core().undelivered(),
        "shutting_down": is_stopping,
        "pressure": pressure.map(|pressure| pressure.level.as_str()),
        "reasons": reasons,
    });
    let code = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    answer(code, &body)
}

/// `GET /startupz`: 200. A request is answered only when the store has been read and the core runs;
/// until then clients wait to be accepted.
pub(super) async fn startupz(State(app): State<App>) -> Response {
    let started = app.0.options.started_unix_ms;
    answer(
        StatusCode::OK,
        &json!({ "status": "started", "started_unix_ms": started }),
    )
}

fn timestamp(app: &App) -> String {
    let now = jiff::Timestamp::from_millisecond(app.now().unix_ms);
    now.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

fn answer(code: StatusCode, body: &Value) -> Response {
    (
        code,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}
