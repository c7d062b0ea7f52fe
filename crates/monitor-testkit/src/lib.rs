#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod disk;
#[cfg(feature = "targets")]
pub mod proxy;
pub mod services;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(feature = "targets")]
pub mod targets;
