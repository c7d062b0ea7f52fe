#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod cancellation;
mod cause;
mod epoch;
mod error;
mod fence;
mod id;
mod index;
mod key;
mod line;
mod operation;
mod operations;
mod sync;
mod table;
#[cfg(test)]
mod tests;
mod word;

pub use crate::{
    cancellation::{Cancellation, Canceller},
    cause::Cause,
    epoch::Epoch,
    error::{BeginError, CommitError, RegisterError},
    fence::Fence,
    id::{OperationId, ParseIdError},
    key::Key,
    operation::{Committing, Operation},
    operations::{Operations, Record},
};
