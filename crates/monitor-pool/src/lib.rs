#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(
    monitor_loom,
    expect(dead_code, reason = "the models drive the kernel alone")
)]

mod acquire;
mod caller;
mod clock;
mod config;
mod driver;
mod error;
mod event;
mod gate;
mod kernel;
mod manager;
pub mod managers;
pub mod metrics;
mod object;
mod pool;
mod shared;
#[cfg(feature = "simulation")]
pub mod simulation;
mod status;
mod sync;
mod tasks;

pub use self::{
    acquire::Acquire,
    config::{Builder, IdleOrder, Nested, OnConnectError, OnPanic},
    error::{AcquireError, ConfigError, ConnectError, ExecuteError, Stage, TryAcquireError},
    event::{CloseReason, ConnectionId, Event, Listener},
    manager::Manager,
    object::Object,
    pool::Pool,
    status::{CloseReport, Holder, Phase, Status, Totals},
};

#[doc(no_inline)]
pub use monitor_backoff as backoff;
