//! What every test of a probe needs.
#![allow(dead_code, reason = "each test file uses its part of this")]

use std::time::Duration;

use monitor_fault::{Fault, Layer, Reason};
use monitor_model::{Finding, Observation, Phase, Probe, ProbeContext, Progress};
use monitor_operation::{Epoch, Operation, Operations};
use monitor_probes::{HttpProbe, HttpProbeBuilder};

/// A context, with the operation that it belongs to.
pub(crate) struct Check {
    pub(crate) context: ProbeContext,
    _operation: Operation<&'static str>,
}

impl Check {
    pub(crate) fn new() -> Self {
        let operations = Operations::new();
        operations
            .register("check", Epoch::new(1))
            .expect("a new key");
        let operation = operations.begin(&"check").expect("a known key");
        let context = ProbeContext {
            timeout: Duration::from_secs(30),
            cancellation: operation.cancellation(),
            progress: Progress::default(),
            resources: Default::default(),
            footprint: Default::default(),
        };
        Self {
            context,
            _operation: operation,
        }
    }

    /// The phases that ended.
    pub(crate) fn phases(&self) -> Vec<Phase> {
        self.context
            .progress
            .phases()
            .iter()
            .map(|(phase, _)| phase)
            .collect()
    }
}

/// Runs one check; returns what it saw and the phases that ended.
pub(crate) async fn run(probe: &impl Probe) -> (Observation, Vec<Phase>) {
    let check = Check::new();
    let observation = probe.check(&check.context).await;
    (observation, check.phases())
}

pub(crate) fn http(url: &str) -> HttpProbe {
    build(HttpProbe::builder(url))
}

pub(crate) fn build(builder: HttpProbeBuilder) -> HttpProbe {
    builder.build().expect("a valid probe")
}

/// The fault of a check that found its target down.
pub(crate) async fn down(probe: &impl Probe) -> Fault {
    match run(probe).await.0.finding {
        Finding::Down(fault) => fault,
        other => panic!("expected down, found {other:?}"),
    }
}

pub(crate) fn place(fault: &Fault) -> (Layer, Reason) {
    (fault.layer(), fault.reason())
}
