#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod error;
mod event;
mod kernel;
mod outcome;
mod phase;
mod report;
mod runner;
mod shutdown;
#[cfg(all(unix, feature = "signals"))]
mod signals;
mod spec;
mod status;
mod supervisor;
mod sync;
mod uptime;
mod watch;

#[cfg(all(unix, feature = "signals"))]
pub use crate::signals::{Signal, Signals};
pub use crate::{
    error::{RegisterError, SpawnError, SpecError},
    event::{Event, What},
    outcome::{BoxError, FailureKind, Health, Outcome, Report},
    phase::Phase,
    report::{HandlerOutcome, HandlerReport, ShutdownReport},
    shutdown::{Registration, Shutdown},
    spec::{TaskBuilder, TaskSpec},
    status::{Counts, Depth, TaskStatus, Tick},
    supervisor::{Supervisor, TaskHandle},
    uptime::Uptime,
};
