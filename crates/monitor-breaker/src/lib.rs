#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod breaker;
mod call;
mod clock;
mod config;
mod error;
mod machine;
mod permit;
mod quota;
mod ramp;
mod registry;
mod shared;
mod state;
mod sync;
#[cfg(feature = "tower")]
pub mod tower;
mod window;
mod word;

pub use crate::{
    breaker::Breaker,
    call::{Call, CallError, CallOf, Caller, ErrIsFailure, Judge, OwnedCall},
    clock::{Clock, InstantClock, TickClock},
    config::{Builder, Config, Trip},
    error::{ConfigError, Rejected},
    permit::{OwnedPermit, Permit, PermitOf},
    registry::{Registry, RegistryBuilder},
    shared::{Hint, InProcess, PeerHint, SharedState, Sharing},
    state::{Cause, Mode, Snapshot, State, Transition},
    window::Counts,
};
pub use monitor_backoff::{Policy, Verdict};
