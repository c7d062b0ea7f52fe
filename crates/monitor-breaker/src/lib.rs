#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod breaker;
mod config;
mod error;
mod machine;
mod permit;
mod state;
mod sync;
mod word;

pub use crate::{
    breaker::Breaker,
    config::{Builder, Config},
    error::{ConfigError, Rejected},
    permit::{OwnedPermit, Permit, PermitOf},
    state::{Cause, Snapshot, State, Transition},
};
pub use monitor_backoff::{Policy, Verdict};
