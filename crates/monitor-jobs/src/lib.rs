#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod backend;
mod error;
mod id;
mod job;
mod kernel;
mod payload;
mod priority;
mod state;
mod transaction;
mod view;

pub use backend::{
    Backend, Beat, Claim, ClaimRequest, ClaimedJob, Enqueued, Outcome, Register, Rescued, Settle,
    Settled, WorkerPulse,
};
pub use error::{ClaimError, EnqueueError, RegisterError, StoreError, StoreErrorKind};
pub use id::{Epoch, JobId, WorkerId};
pub use job::{Edge, NewJob, On, Ordering, Parent, Unmet, When};
pub use payload::{InvalidPayload, Payload};
pub use priority::{Band, InvalidPriority, Priority};
pub use state::{JobState, WorkerState};
pub use transaction::JobTransaction;
pub use view::{Execution, Finding, JobFilter, JobView, QueueView, Reason, WorkerView};
