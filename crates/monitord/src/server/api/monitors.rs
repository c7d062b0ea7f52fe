//! `/api/v1/monitors`: what is watched.

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use monitor_core::{CoreError, View};
use monitor_model::{MonitorId, Source};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Body;
use super::json::{row_json, view_json};
use crate::config::MonitorSpec;
use crate::server::app::App;
use crate::server::problem::Problem;

const HISTORY_DEFAULT: u32 = 100;
const HISTORY_MAX: u32 = 1000;

impl From<CoreError> for Problem {
    fn from(error: CoreError) -> Self {
        let code = match &error {
            CoreError::Settings { .. } | CoreError::Schedule { .. } => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(code, error.to_string())
    }
}

/// `GET /api/v1/monitors`
pub(in crate::server) async fn list(State(app): State<App>) -> Response {
    let monitors: Vec<_> = app.core().views().iter().map(view_json).collect();
    answer(StatusCode::OK, &json!({ "monitors": monitors }))
}

/// `GET /api/v1/monitors/{id}`
pub(in crate::server) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(answer(StatusCode::OK, &view_json(&view(&app, &id)?)))
}

/// `POST /api/v1/monitors`
pub(in crate::server) async fn create(
    State(app): State<App>,
    Body(json): Body,
) -> Result<Response, Problem> {
    let spec = MonitorSpec::from_json(&json).map_err(|problems| Problem::invalid(&problems))?;
    if app.core().view(&spec.id).is_some() {
        let detail = format!(
            "there is a monitor {:?} already; PUT changes it",
            spec.id.as_str()
        );
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let view = define(&app, &spec).await?;
    let location = format!("/api/v1/monitors/{}", view.monitor.id);
    let response = answer(StatusCode::CREATED, &view_json(&view));
    Ok(([(header::LOCATION, location)], response).into_response())
}

/// `PUT /api/v1/monitors/{id}`: the definition anew, whole. The id may be left out of the body.
pub(in crate::server) async fn edit(
    State(app): State<App>,
    Path(id): Path<String>,
    Body(mut json): Body,
) -> Result<Response, Problem> {
    let standing = ours(&app, &id)?;
    if let Value::Object(body) = &mut json {
        body.entry("id").or_insert_with(|| json!(id));
    }
    let spec = MonitorSpec::from_json(&json).map_err(|problems| Problem::invalid(&problems))?;
    if spec.id != standing.monitor.id {
        let detail = format!(
            "the body is of {:?}; an id cannot be changed",
            spec.id.as_str()
        );
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let view = define(&app, &spec).await?;
    Ok(answer(StatusCode::OK, &view_json(&view)))
}

/// `DELETE /api/v1/monitors/{id}`: the monitor with its history.
pub(in crate::server) async fn delete(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let view = ours(&app, &id)?;
    if app.core().delete(&view.monitor.id).await? {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Problem::no_monitor(&id))
    }
}

#[derive(Deserialize)]
pub(in crate::server) struct Limit {
    limit: Option<String>,
}

/// `GET /api/v1/monitors/{id}/history?limit=100`: the last lines of history, oldest first.
pub(in crate::server) async fn history(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(Limit { limit }): Query<Limit>,
) -> Result<Response, Problem> {
    let view = view(&app, &id)?;
    let limit = match limit {
        None => HISTORY_DEFAULT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| (1..=HISTORY_MAX).contains(n))
            .ok_or_else(|| {
                let detail = format!("limit = {text:?}: allowed is 1 to {HISTORY_MAX}");
                Problem::new(StatusCode::BAD_REQUEST, detail)
            })?,
    };
    let rows = app.core().store().history(&view.monitor.id, limit).await;
    let rows =
        rows.map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    let rows: Vec<_> = rows.iter().map(row_json).collect();
    Ok(answer(
        StatusCode::OK,
        &json!({ "monitor": id, "history": rows }),
    ))
}

async fn define(app: &App, spec: &MonitorSpec) -> Result<View, Problem> {
    let definition = spec
        .definition(&app.0.options.defaults, Source::Api)
        .map_err(|problem| Problem::invalid(&[problem]))?;
    app.core().define(definition).await?;
    view(app, spec.id.as_str())
}

fn view(app: &App, id: &str) -> Result<View, Problem> {
    let view = id
        .parse::<MonitorId>()
        .ok()
        .and_then(|id| app.core().view(&id));
    view.ok_or_else(|| Problem::no_monitor(id))
}

/// A monitor that the API may change: one that is not defined in the file, where the change would
/// be undone by the next start.
fn ours(app: &App, id: &str) -> Result<View, Problem> {
    let view = view(app, id)?;
    match view.monitor.source {
        Source::Api => Ok(view),
        Source::File => {
            let detail = format!(
                "monitor {id:?} is defined in the configuration file; edit it there and start \
                 anew. Pause and resume work here"
            );
            Err(Problem::new(StatusCode::CONFLICT, detail))
        }
    }
}

fn answer(code: StatusCode, body: &Value) -> Response {
    (
        code,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}
