//! `GET /metrics`, in the Prometheus text format or, when asked for, in OpenMetrics.
//!
//! Counters and histograms are fed by events. What has a present value is read from the core at the
//! moment of a scrape, so that the series of a deleted monitor end with it. Label values are ids of
//! defined monitors and of pools, and names of closed sets, nothing else.
//!
//! Names begin with `prober_`, but for those that stand written elsewhere and are looked for by
//! that name: of pools, of jobs, and `health_check_failures_total`.

mod counters;
mod gauges;
mod jobs;
mod pools;
mod process;
mod text;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use monitor_core::{Core, pool};
use monitor_model::{Event, EventKind};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;

use self::counters::Counters;
use self::gauges::Gauges;
use self::jobs::OwnJobs;
use self::pools::Told;
use self::process::{Pressure, Tasks};
use super::app::App;
use super::problem::Problem;
use crate::jobs::Watch;

const PREFIX: &str = "prober";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is counted while the process runs.
#[derive(Debug)]
pub(super) struct Metrics {
    counters: Counters,
    pools: Told,
    registry: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let counters = Counters::register(&mut registry);
        Self {
            counters,
            pools: Told::default(),
            registry,
        }
    }
}

impl Metrics {
    /// Takes an event in. Never waits.
    pub(super) fn event(&self, event: &Event) {
        self.counters.event(event);
        if let EventKind::Deleted { monitor } = &event.kind {
            self.pools.forget(&format!("monitor:{monitor}"));
        }
    }

    /// Takes an event of a pool in. Never waits.
    pub(super) fn pool(&self, pool: &str, event: &pool::Event<'_>) {
        self.pools.event(pool, event);
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
    fn openmetrics(
        &self,
        core: &Core,
        jobs: Option<&Watch>,
        old_names: bool,
    ) -> Result<String, std::fmt::Error> {
        let mut now = Registry::with_prefix(PREFIX);
        now.register_collector(Box::new(Gauges::read(core)));
        if let Some(pressure) = Pressure::read(core) {
            now.register_collector(Box::new(pressure));
        }
        let mut as_written = Registry::default();
        as_written.register_collector(Box::new(Tasks::read(core)));
        as_written.register_collector(Box::new(self.pools.read(core, old_names)));
        if let Some(jobs) = jobs {
            as_written.register_collector(Box::new(OwnJobs(jobs.reading())));
        }
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &now)?;
        encode_registry(&mut text, &as_written)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// With `?names=old`, pools also have the names that others have used for the same: on request
/// alone, for one of them has its unit in short, which is not accepted as good style.
pub(super) async fn get(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let mut parameters = query.iter().flat_map(|query| query.split('&'));
    let old_names = parameters.any(|parameter| parameter == "names=old");
    let metrics = &app.0.parts.metrics;
    let Ok(text) = metrics.openmetrics(app.core(), app.jobs(), old_names) else {
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
