#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod cancellation;
mod cause;
mod epoch;
mod error;
mod fence;
mod gate;
mod generation;
mod id;
mod operation;
mod operations;
mod registry;
mod sync;
#[cfg(test)]
mod tests;

pub use crate::{
    cancellation::{Cancellation, Canceller},
    cause::Cause,
    epoch::Epoch,
    error::{BeginError, CommitError, RegisterError},
    fence::Fence,
    id::{OperationId, ParseIdError},
    operation::{Committing, Operation},
    operations::{Operations, Record},
};
