#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "targets")]
pub mod proxy;
pub mod services;
#[cfg(feature = "targets")]
pub mod targets;
