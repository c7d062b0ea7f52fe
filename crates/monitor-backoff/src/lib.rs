#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(not(any(feature = "std", test)), no_std)]

mod bounds;
#[cfg(feature = "std")]
mod budget;
mod builder;
#[cfg(feature = "std")]
mod clock;
#[cfg(feature = "serde")]
pub mod config;
mod delays;
mod disposition;
mod error;
#[cfg(feature = "tokio")]
mod hedge;
mod jitter;
mod nanos;
mod policy;
mod presets;
#[cfg(feature = "std")]
mod retry;
mod schedule;
mod steps;
mod streak;
#[cfg(feature = "std")]
mod sync;
#[cfg(feature = "tower")]
pub mod tower;
mod verdict;

pub use crate::{
    bounds::{Cap, Floor},
    builder::Builder,
    delays::Delays,
    disposition::{Class, Disposition},
    error::BackoffError,
    jitter::{Jitter, JitterKind},
    policy::Policy,
    schedule::{Base, ExponentOrigin, Schedule},
    steps::Steps,
    streak::FailureStreak,
    verdict::Verdict,
};

#[cfg(feature = "std")]
pub use crate::{
    budget::{BudgetBuilder, BudgetError, BudgetExhausted, BudgetStats, RetryBudget, RetryToken},
    clock::process_time,
    retry::{
        Attempts, Call, ClassChange, Decision, GaveUp, LongPushBack, Retry, RetryBuilder,
        RetryConfigError, RetryError, RetryEvent, RetryStats, Stop,
    },
};

#[cfg(feature = "tokio")]
pub use crate::hedge::{Hedge, HedgeBuilder};
