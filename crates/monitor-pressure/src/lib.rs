#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod config;
mod error;
mod gauge;
#[cfg(feature = "tokio")]
mod lag;
mod lateness;
mod level;
#[cfg(target_os = "linux")]
mod linux;
mod plan;
mod pressure;
mod reading;
mod rule;
mod snapshot;
mod transition;
mod trend;

#[cfg(feature = "tokio")]
pub use crate::lag::LagProbe;
#[cfg(target_os = "linux")]
pub use crate::linux::ProcessReader;
#[cfg(all(target_os = "linux", feature = "tokio"))]
pub use crate::linux::StallWatch;
pub use crate::{
    config::{Builder, Config},
    error::ConfigError,
    lateness::Lag,
    level::Level,
    plan::{Decision, Measure, Plan, Priority},
    pressure::Pressure,
    reading::{Reading, Source, Unit, Usage},
    rule::{Rule, Thresholds},
    snapshot::{Snapshot, SourceStatus},
    transition::{Scope, Transition},
    trend::Trend,
};
