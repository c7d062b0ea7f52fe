#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod config;
mod error;
mod observer;
mod phase;
mod run;
mod scheduler;
mod spec;
mod status;

pub use crate::{
    config::{Config, Saturation},
    error::{ScheduleError, SpecError},
    observer::{Ended, Finished, Missed, MissedReason, Observer},
    phase::Phase,
    run::{Claim, Completion, Due, Run, Trigger},
    scheduler::{Scheduled, Scheduler, ShutdownReport, TriggerOutcome},
    spec::{Spec, SpecBuilder},
    status::{KeyState, ProbeStatus, Status},
};
