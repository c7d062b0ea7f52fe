#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod begin;
mod class;
mod config;
mod driver;
mod error;
mod explain;
mod handover;
#[cfg(feature = "serde")]
mod json;
mod kernel;
mod observer;
mod outcome;
mod phase;
mod preset;
mod run;
mod scheduler;
mod shared;
#[cfg(feature = "simulation")]
pub mod simulation;
mod spec;
mod status;
mod sync;
mod task;
pub mod wheel;

pub use crate::{
    class::{Class, ClassConfig, Classes, Pace},
    config::{Config, Saturation},
    error::{ScheduleError, SpecError},
    explain::{Explanation, Limit, Why},
    observer::{Ended, Finished, Missed, MissedCounts, MissedReason, Observer},
    outcome::{Scheduled, ShutdownReport, TriggerOutcome},
    phase::Phase,
    preset::Preset,
    run::{Claim, Completion, Due, Run, Trigger},
    scheduler::Scheduler,
    spec::{Spec, SpecBuilder},
    status::{ClassStatus, KeyState, Page, ProbeStatus, Status},
};

pub use monitor_backoff::Verdict;
pub use monitor_operation::Operations;
