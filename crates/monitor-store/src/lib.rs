#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "sqlite")]
pub use sqlite::{OpenError, Options, SqliteStore, Stats};

#[doc(no_inline)]
pub use monitor_model as model;
