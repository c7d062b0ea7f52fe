//! The body of a request.

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde_json::Value;

use crate::server::guard::MAX_BODY;
use crate::server::problem::Problem;

/// A body of JSON, [`MAX_BODY`] bytes at most.
pub(in crate::server) struct Body(pub(super) Value);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = axum::body::Bytes::from_request(request, state)
            .await
            .map_err(|rejection| {
                if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                    let detail = format!("the body is larger than {MAX_BODY} bytes");
                    return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail);
                }
                Problem::new(rejection.status(), "the body cannot be read")
            })?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                format!("the body is no JSON: {error}"),
            )
        })
    }
}
