//! `/api/admin/probes`: the schedule as it is, and what may be done to it.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use monitor_core::CoreError;
use monitor_model::{Lifecycle, MonitorId, Status};
use monitor_scheduler::TriggerOutcome;
use serde_json::json;

use crate::server::app::App;
use crate::server::problem::Problem;

/// `GET /api/admin/probes`: one consistent snapshot of the scheduler.
pub(in crate::server) async fn probes(State(app): State<App>) -> Response {
    match serde_json::to_string(&app.core().scheduler_status()) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => {
            let detail = format!("the status cannot be written: {error}");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
        }
    }
}

/// `POST /api/admin/probes/{id}/{action}`
pub(in crate::server) async fn act(
    State(app): State<App>,
    Path((id, action)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let known = id
        .parse::<MonitorId>()
        .ok()
        .filter(|id| app.core().view(id).is_some());
    let id = known.ok_or_else(|| Problem::no_monitor(&id))?;
    match action.as_str() {
        "pause" => changed(&id, app.core().pause(&id).await),
        "resume" => changed(&id, app.core().resume(&id).await),
        "trigger" => triggered(&app, &id, app.core().trigger(&id)),
        "reset-backoff" if app.core().reset_backoff(&id) => Ok(done(
            StatusCode::OK,
            &id,
            "reset",
            "the next check is no longer held back",
        )),
        "reset-backoff" => Err(Problem::no_monitor(id.as_str())),
        other => Err(Problem::not_found(format!(
            "there is no action {other:?}; there are pause, resume, trigger and reset-backoff"
        ))),
    }
}

fn changed(
    id: &MonitorId,
    changed: Result<Option<Status>, CoreError>,
) -> Result<Response, Problem> {
    let status = changed
        .map_err(Problem::from)?
        .ok_or_else(|| Problem::no_monitor(id.as_str()))?;
    let detail = match status.lifecycle {
        Lifecycle::Active => "checked again, at its next due time",
        Lifecycle::Paused => "paused; what was in flight changes nothing",
    };
    Ok(done(StatusCode::OK, id, status.lifecycle.as_str(), detail))
}

fn triggered(app: &App, id: &MonitorId, outcome: TriggerOutcome) -> Result<Response, Problem> {
    let accepted = |result, detail| Ok(done(StatusCode::ACCEPTED, id, result, detail));
    match outcome {
        TriggerOutcome::Started => accepted("started", "being checked now"),
        TriggerOutcome::Queued => accepted("queued", "checked as soon as a permit is free"),
        TriggerOutcome::Coalesced => accepted(
            "coalesced",
            "checked once more when the running check has ended",
        ),
        TriggerOutcome::Skipped => {
            let view = app.core().view(id);
            let is_paused = view.is_some_and(|it| it.status.lifecycle == Lifecycle::Paused);
            let detail = match is_paused {
                true => "every permit is taken; it is paused, so it is checked when you ask again",
                false => {
                    "every permit is taken; it is checked at its next due time, or when you ask again"
                }
            };
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
        }
        TriggerOutcome::Unknown => Err(Problem::no_monitor(id.as_str())),
        _ => Err(Problem::from(CoreError::ShuttingDown)),
    }
}

fn done(code: StatusCode, id: &MonitorId, result: &str, detail: &str) -> Response {
    let body = json!({ "id": id, "result": result, "detail": detail }).to_string();
    (code, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
