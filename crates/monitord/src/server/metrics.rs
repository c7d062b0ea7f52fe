//! `GET /metrics`, in the Prometheus text format or, when asked for, in OpenMetrics.
//!
//! Counters and histograms are fed by events. What has a present value is read from the core at the
//! moment of a scrape, so that the series of a deleted monitor end with it. Label values are ids of
//! defined monitors and names of closed sets, nothing else.

mod counters;
mod gauges;
mod text;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use monitor_core::Core;
use monitor_model::Event;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;

use self::counters::Counters;
use self::gauges::Gauges;
use super::app::App;
use super::problem::Problem;

const PREFIX: &str = "prober";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is counted while the process runs.
#[derive(Debug)]
pub(super) struct Metrics {
    counters: Counters,
    registry: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let counters = Counters::register(&mut registry);
        Self { counters, registry }
    }
}

impl Metrics {
    /// Takes an event in. Never waits.
    pub(super) fn event(&self, event: &Event) {
        self.counters.event(event);
    }

    /// Where the kinds of monitors are found from now on.
    pub(super) fn attach(&self, core: &Core) {
        self.counters.attach(core);
    }

    /// Lets go of the core.
    pub(super) fn detach(&self) {
        self.counters.detach();
    }

    /// The whole exposition, in OpenMetrics.
    fn openmetrics(&self, core: &Core) -> Result<String, std::fmt::Error> {
        let mut now = Registry::with_prefix(PREFIX);
        now.register_collector(Box::new(Gauges::read(core)));
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &now)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

pub(super) async fn get(State(app): State<App>, headers: HeaderMap) -> Response {
    let Ok(text) = app.0.parts.metrics.openmetrics(app.core()) else {
        let detail = "the metrics cannot be written";
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response();
    };
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
        ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response()
    } else {
        ([(header::CONTENT_TYPE, CLASSIC)], text::classic(&text)).into_response()
    }
}
