#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "sqlite")]
pub use sqlite::{OpenError, Options, SqliteStore, Stats};
