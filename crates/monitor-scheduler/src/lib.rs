#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod begin;
mod config;
mod driver;
mod error;
#[cfg(feature = "serde")]
mod json;
mod kernel;
mod observer;
mod outcome;
mod phase;
mod run;
mod scheduler;
mod shared;
mod spec;
mod status;
mod sync;
mod task;

pub use crate::{
    config::{Config, Saturation},
    error::{ScheduleError, SpecError},
    observer::{Ended, Finished, Missed, MissedReason, Observer},
    outcome::{Scheduled, ShutdownReport, TriggerOutcome},
    phase::Phase,
    run::{Claim, Completion, Due, Run, Trigger},
    scheduler::Scheduler,
    spec::{Spec, SpecBuilder},
    status::{KeyState, ProbeStatus, Status},
};

pub use monitor_backoff::Verdict;
pub use monitor_operation::Operations;
