//! What only ever grows.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use monitor_core::Core;
use monitor_model::{Event, EventKind, MonitorId, Outcome, Record, Trigger};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// From a quick answer next door to the longest usual timeout.
const PHASE_BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
const LAG_BUCKETS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];
/// The kind of a monitor that is gone before its kind was asked for.
const GONE: &str = "unknown";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Check {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    kind: &'static str,
    category: &'static str,
    layer: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Part {
    kind: &'static str,
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

#[derive(Debug, Clone)]
struct Phases;

impl MetricConstructor<Histogram> for Phases {
    fn new_metric(&self) -> Histogram {
        Histogram::new(PHASE_BUCKETS)
    }
}

#[derive(Debug)]
pub(super) struct Counters {
    checks: Family<Check, Counter>,
    failures: Family<Failure, Counter>,
    phases: Family<Part, Histogram, Phases>,
    lag: Histogram,
    missed: Family<Why, Counter>,
    fenced: Family<Why, Counter>,
    kinds: Mutex<Kinds>,
}

/// The protocol of each monitor, which events do not carry.
#[derive(Debug, Default)]
struct Kinds {
    core: Option<Core>,
    known: HashMap<MonitorId, &'static str>,
    /// Records from before there was a core to ask.
    early: Vec<Record>,
}

impl Counters {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let counters = Self {
            checks: Family::default(),
            failures: Family::default(),
            phases: Family::new_with_constructor(Phases),
            lag: Histogram::new(LAG_BUCKETS),
            missed: Family::default(),
            fenced: Family::default(),
            kinds: Mutex::default(),
        };
        registry.register(
            "checks",
            "Due times by what became of them; a run of missed ones counts each",
            counters.checks.clone(),
        );
        registry.register(
            "check_failures",
            "Checks that found a fault, by how far they came and what went wrong",
            counters.failures.clone(),
        );
        registry.register_with_unit(
            "phase_duration",
            "How long each phase of a check took",
            Unit::Seconds,
            counters.phases.clone(),
        );
        registry.register_with_unit(
            "schedule_lag",
            "From the nominal due time to the start of the check, intended jitter included",
            Unit::Seconds,
            counters.lag.clone(),
        );
        registry.register(
            "checks_missed",
            "Due times at which nobody looked, by the reason",
            counters.missed.clone(),
        );
        registry.register(
            "results_fenced",
            "Results that were not written, by why their right to write was gone",
            counters.fenced.clone(),
        );
        counters
    }

    pub(super) fn event(&self, event: &Event) {
        match &event.kind {
            EventKind::Committed { record, .. } => self.committed(record),
            EventKind::Fenced { cause, .. } => {
                self.fenced
                    .get_or_create(&Why {
                        reason: cause.as_str(),
                    })
                    .inc();
            }
            // An edit may change the kind.
            EventKind::Defined { monitor, .. } | EventKind::Deleted { monitor } => {
                self.lock().known.remove(monitor);
            }
            _ => {}
        }
    }

    pub(super) fn attach(&self, core: &Core) {
        let mut kinds = self.lock();
        kinds.core = Some(core.clone());
        let early = std::mem::take(&mut kinds.early);
        drop(kinds);
        for record in early {
            self.committed(&record);
        }
    }

    pub(super) fn detach(&self) {
        let core = self.lock().core.take();
        drop(core);
    }

    fn committed(&self, record: &Record) {
        let Some(kind) = self.kind(record) else {
            return;
        };
        let outcome = record.outcome();
        let slots = u64::from(record.slots);
        self.checks
            .get_or_create(&Check {
                kind,
                outcome: outcome.as_str(),
            })
            .inc_by(slots);
        if let Some(reason) = record.reason() {
            self.missed
                .get_or_create(&Why {
                    reason: reason.as_str(),
                })
                .inc_by(slots);
        }
        if let Some(fault) = record.fault() {
            let failure = Failure {
                kind,
                category: fault.category().as_str(),
                layer: fault.layer().as_str(),
                reason: fault.reason().as_str(),
            };
            self.failures.get_or_create(&failure).inc();
        }
        for (phase, took) in record.phases().iter() {
            let part = Part {
                kind,
                phase: phase.as_str(),
            };
            self.phases.get_or_create(&part).observe(took.as_secs_f64());
        }
        let is_scheduled = record.trigger == Trigger::Timer && record.took.is_some();
        if is_scheduled && outcome != Outcome::Cancelled {
            let lag = (record.started_unix_ms - record.due_unix_ms).max(0);
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of one wait")]
            self.lag.observe(lag as f64 / 1000.0);
        }
    }

    /// The kind of the record's monitor. `None` when the record was put aside until it is known.
    fn kind(&self, record: &Record) -> Option<&'static str> {
        let mut kinds = self.lock();
        if let Some(kind) = kinds.known.get(&record.monitor) {
            return Some(kind);
        }
        let Some(core) = kinds.core.clone() else {
            kinds.early.push(record.clone());
            return None;
        };
        drop(kinds);
        let Some(view) = core.view(&record.monitor) else {
            return Some(GONE);
        };
        self.lock().known.insert(record.monitor.clone(), view.kind);
        Some(view.kind)
    }

    fn lock(&self) -> MutexGuard<'_, Kinds> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
