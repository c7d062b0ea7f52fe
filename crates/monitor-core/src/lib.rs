#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod builder;
mod change;
mod core;
mod delivery;
mod entry;
mod error;
mod explain;
mod flapping;
mod hub;
mod maintenance;
#[cfg(feature = "pool")]
mod pools;
#[cfg(feature = "pressure")]
mod pressing;
#[cfg(feature = "pool")]
mod queues;
mod run;
mod shared;
mod shutdown;
mod tasks;

pub use crate::builder::Builder;
pub use crate::core::Core;
#[cfg(not(feature = "pool"))]
pub use crate::entry::OwnPool;
pub use crate::entry::{Defined, Definition, Settings, View};
pub use crate::error::CoreError;
pub use crate::explain::{CategoryWait, Explained};
pub use crate::flapping::Flapping;
pub use crate::hub::Sink;
pub use crate::maintenance::{InvalidWindow, Maintenance, Window};
#[cfg(feature = "pool")]
pub use crate::pools::{Changes, OpenPoolError, OwnPool, PoolView, Pools};
pub use crate::shutdown::ShutdownReport;

#[doc(no_inline)]
pub use monitor_backoff as backoff;
#[doc(no_inline)]
pub use monitor_breaker as breaker;
#[doc(no_inline)]
pub use monitor_fault as fault;
#[doc(no_inline)]
pub use monitor_model as model;
#[doc(no_inline)]
pub use monitor_operation as operation;
#[cfg(feature = "pool")]
#[doc(no_inline)]
pub use monitor_pool as pool;
#[cfg(feature = "pressure")]
#[doc(no_inline)]
pub use monitor_pressure as pressure;
#[doc(no_inline)]
pub use monitor_scheduler as scheduler;
#[doc(no_inline)]
pub use monitor_supervisor as supervisor;
