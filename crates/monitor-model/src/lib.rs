#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod doctor;
mod event;
mod footprint;
mod health;
mod id;
mod incident;
mod look;
mod memory;
mod outcome;
mod probe;
mod record;
mod resources;
mod rollup;
mod status;
mod store;

pub use doctor::{Defect, DefectKind, STUCK_ATTEMPTS};
pub use event::{Event, EventKind, PoolChange};
pub use footprint::{Footprint, Held};
pub use health::{Health, Rating, majority};
pub use id::{InvalidId, MonitorId};
pub use incident::{Closed, ClosedBy, Delivery, Incident, Notice, NoticeKind, Outbox, Settlement};
pub use look::probe_fn;
pub use memory::MemoryStore;
pub use outcome::{Outcome, UnknownOutcome, Unobserved};
pub use probe::{Finding, Observation, Phase, Phases, Probe, ProbeContext, Progress};
pub use record::{Record, Trigger};
pub use resources::{NameTaken, ResourceError, Resources};
pub use rollup::{Bucket, Latency, Resolution};
pub use status::{Lifecycle, Status, Tally};
pub use store::{
    Applied, Commit, HistoryRow, LastDue, Loaded, Monitor, Refusal, Source, Store, StoreError,
    StoreErrorKind, Stored,
};

#[doc(no_inline)]
pub use monitor_fault as fault;
#[doc(no_inline)]
pub use monitor_operation as operation;
