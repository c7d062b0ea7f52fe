//! What presses the process, and what becomes of its own periodic tasks.

use std::fmt;

use monitor_core::Core;
use monitor_core::pressure::{Level, Snapshot};
use monitor_core::supervisor::{FailureKind, TaskStatus};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// The levels of pressure at one look.
#[derive(Debug)]
pub(super) struct Pressure(Snapshot);

impl Pressure {
    /// `None`: nobody looks.
    pub(super) fn read(core: &Core) -> Option<Self> {
        core.pressure().map(Self)
    }
}

impl Collector for Pressure {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "How hard-pressed the process is: 1 for the level it is at";
        let mut levels =
            encoder.encode_descriptor("pressure_level", help, None, MetricType::Gauge)?;
        for level in Level::ALL {
            levels
                .encode_family(&[("level", level.as_str())])?
                .encode_gauge(&u64::from(level == self.0.level))?;
        }
        let help = "How much of its limit each source of pressure uses";
        let name = "pressure_usage_ratio";
        let mut usages = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for source in &self.0.sources {
            if let Some(usage) = source.usage {
                usages
                    .encode_family(&[("source", source.source.as_str())])?
                    .encode_gauge(&usage.ratio())?;
            }
        }
        Ok(())
    }
}

/// The periodic tasks at one time.
#[derive(Debug)]
pub(super) struct Tasks(Vec<TaskStatus>);

impl Tasks {
    pub(super) fn read(core: &Core) -> Self {
        Self(core.supervisor().status())
    }
}

impl Collector for Tasks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Ticks of the periodic tasks of this process that failed, by how";
        let name = "health_check_failures";
        let mut failures = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for task in &self.0 {
            for kind in FailureKind::ALL {
                failures
                    .encode_family(&[("component", &*task.name), ("kind", kind.as_str())])?
                    .encode_counter::<NoLabelSet, _, f64>(&task.counts.of(kind), None)?;
            }
        }
        Ok(())
    }
}
