//! What has a value at this moment.

use std::fmt;

use monitor_core::{Core, View};
use monitor_model::{Footprint, Lifecycle, Outcome};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

const STATES: [&str; 6] = ["up", "degraded", "down", "unknown", "paused", "maintenance"];
const BREAKER_STATES: [&str; 4] = ["closed", "open", "half_open", "recovering"];

/// One reading of the core.
#[derive(Debug)]
pub(super) struct Gauges {
    views: Vec<View>,
    in_flight: usize,
    limit: usize,
    queued: usize,
    stuck: usize,
    lost: usize,
    is_writable: bool,
    unwritten: u64,
}

impl Gauges {
    pub(super) fn read(core: &Core) -> Self {
        let status = core.scheduler_status();
        Self {
            views: core.views(),
            in_flight: status.current_concurrency,
            limit: status.concurrency_limit,
            queued: status.queue_depth,
            stuck: status.stuck.len(),
            lost: status.lost,
            is_writable: core.store_state().is_ok(),
            unwritten: core.undelivered(),
        }
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let gauges = [
            (
                "in_flight",
                "Checks that hold a permit",
                self.in_flight as u64,
            ),
            ("concurrency_limit", "Permits there are", self.limit as u64),
            (
                "queue_depth",
                "Checks that are due and wait for a permit",
                self.queued as u64,
            ),
            (
                "checks_stuck",
                "Checks given up that still do not end",
                self.stuck as u64,
            ),
            (
                "schedules_lost",
                "Active monitors with nothing armed; always 0",
                self.lost as u64,
            ),
            (
                "store_writable",
                "Whether the store took the last write",
                self.is_writable.into(),
            ),
            (
                "results_unwritten",
                "Results on their way to the store",
                self.unwritten,
            ),
        ];
        for (name, help, value) in gauges {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            metric.encode_gauge(&value)?;
        }
        let help = "The version of this program";
        let mut metric = encoder.encode_descriptor("build", help, None, MetricType::Info)?;
        metric.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
    }

    fn monitors(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Whether the last verdict of an active monitor is up or degraded";
        let mut up = encoder.encode_descriptor("up", help, None, MetricType::Gauge)?;
        for view in self.active() {
            if let Some(outcome) = view.status.outcome.filter(|outcome| outcome.is_observed()) {
                let labels = [("monitor", view.monitor.id.as_str()), ("kind", view.kind)];
                up.encode_family(&labels)?
                    .encode_gauge(&u64::from(outcome != Outcome::Down))?;
            }
        }
        let help = "The state of a monitor: 1 for the one it is in";
        let mut states = encoder.encode_descriptor("state", help, None, MetricType::Gauge)?;
        for view in &self.views {
            for state in STATES {
                let labels = [("monitor", view.monitor.id.as_str()), ("state", state)];
                let is_in = state == state_of(view);
                states
                    .encode_family(&labels)?
                    .encode_gauge(&u64::from(is_in))?;
            }
        }
        let help = "Whether the verdicts of a monitor come and go";
        let mut flapping = encoder.encode_descriptor("flapping", help, None, MetricType::Gauge)?;
        for view in &self.views {
            let is_flapping = u64::from(view.flapping.is_flapping());
            flapping
                .encode_family(&[("monitor", view.monitor.id.as_str())])?
                .encode_gauge(&is_flapping)?;
        }
        self.footprints(encoder)?;
        let help = "The state of a monitor's circuit breaker: 1 for the one it is in";
        let mut breakers =
            encoder.encode_descriptor("breaker_state", help, None, MetricType::Gauge)?;
        for view in &self.views {
            let Some(breaker) = &view.breaker else {
                continue;
            };
            for state in BREAKER_STATES {
                let labels = [("monitor", view.monitor.id.as_str()), ("state", state)];
                let is_in = state == breaker.state.as_str();
                breakers
                    .encode_family(&labels)?
                    .encode_gauge(&u64::from(is_in))?;
            }
        }
        self.last_attempts(encoder)
    }

    fn footprints(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Read = fn(&Footprint) -> usize;
        let now = "What the checks of a monitor and their unwritten results hold in memory";
        let most = "The most that they held at once so far";
        let of = [
            ("check_memory", now, Footprint::held as Read),
            ("check_memory_peak", most, Footprint::most),
        ];
        for (name, help, read) in of {
            let unit = Some(&Unit::Bytes);
            let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
            for view in &self.views {
                metric
                    .encode_family(&[("monitor", view.monitor.id.as_str())])?
                    .encode_gauge(&(read(&view.footprint) as u64))?;
            }
        }
        Ok(())
    }

    fn last_attempts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "When the last check of a monitor that came to a verdict began";
        let (name, unit) = ("last_attempt_timestamp", Unit::Seconds);
        let mut last = encoder.encode_descriptor(name, help, Some(&unit), MetricType::Gauge)?;
        for view in &self.views {
            if let Some(unix_ms) = view.status.checked_unix_ms {
                #[expect(clippy::cast_precision_loss, reason = "exact until the year 287396")]
                let seconds = unix_ms as f64 / 1000.0;
                last.encode_family(&[("monitor", view.monitor.id.as_str())])?
                    .encode_gauge(&seconds)?;
            }
        }
        Ok(())
    }

    /// Those that are to be checked now.
    fn active(&self) -> impl Iterator<Item = &View> {
        let is_active = |view: &&View| view.status.lifecycle == Lifecycle::Active;
        let active = self.views.iter().filter(is_active);
        active.filter(|view| view.maintenance_until.is_none())
    }
}

fn state_of(view: &View) -> &'static str {
    match (view.status.lifecycle, view.status.outcome) {
        (Lifecycle::Paused, _) => "paused",
        _ if view.maintenance_until.is_some() => "maintenance",
        (_, Some(outcome @ (Outcome::Up | Outcome::Degraded | Outcome::Down))) => outcome.as_str(),
        _ => "unknown",
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.process(&mut encoder)?;
        self.monitors(&mut encoder)
    }
}
