//! Trying again: what decides, and what sleeps.

mod attempts;
mod builder;
mod call;
mod error;
mod stats;

pub use self::{
    attempts::{Attempts, Decision},
    builder::{ClassChange, LongPushBack, Retry, RetryBuilder, RetryConfigError},
    call::{Call, RetryEvent},
    error::{RetryError, Stop},
    stats::{GaveUp, RetryStats},
};
