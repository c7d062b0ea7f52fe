#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![no_std]

#[cfg(feature = "std")]
extern crate std;

mod bounds;
mod builder;
mod delays;
mod error;
mod jitter;
mod nanos;
mod policy;
mod presets;
mod schedule;
mod steps;
mod streak;
mod verdict;

pub use crate::{
    bounds::{Cap, Floor},
    builder::Builder,
    delays::Delays,
    error::BackoffError,
    jitter::{Jitter, JitterKind},
    policy::Policy,
    schedule::{Base, ExponentOrigin, Schedule},
    steps::Steps,
    streak::FailureStreak,
    verdict::Verdict,
};
