#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod services;
#[cfg(feature = "targets")]
pub mod targets;
