//! Errors as `application/problem+json` (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::config;

/// Why a request was not carried out. Nothing has changed.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    fields: Vec<Value>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            fields: Vec::new(),
        }
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(super) fn no_monitor(id: &str) -> Self {
        Self::not_found(format!(
            "there is no monitor {id:?}; GET /api/v1/monitors lists them"
        ))
    }

    /// A body that was read and says something wrong, field by field.
    pub(super) fn invalid(problems: &[config::Problem]) -> Self {
        let detail = problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n");
        let field = |problem: &config::Problem| {
            json!({
                "field": problem.key,
                "value": problem.value,
                "detail": problem.what,
                "allowed": problem.allowed,
            })
        };
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            detail,
            fields: problems.iter().map(field).collect(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = Map::new();
        body.insert("type".to_owned(), json!("about:blank"));
        body.insert("title".to_owned(), json!(self.status.canonical_reason()));
        body.insert("status".to_owned(), json!(self.status.as_u16()));
        body.insert("detail".to_owned(), json!(self.detail));
        if !self.fields.is_empty() {
            body.insert("errors".to_owned(), Value::Array(self.fields));
        }
        let mut response = (self.status, Value::Object(body).to_string()).into_response();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        response
    }
}
