#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bounds;
mod builder;
mod error;
mod jitter;
mod nanos;
mod policy;
mod presets;
mod schedule;
mod streak;
mod verdict;

pub use crate::{
    bounds::{Cap, Floor},
    builder::Builder,
    error::BackoffError,
    jitter::{Jitter, JitterKind},
    policy::Policy,
    schedule::{Base, ExponentOrigin, Schedule},
    streak::FailureStreak,
    verdict::Verdict,
};
