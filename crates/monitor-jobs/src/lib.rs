#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod attempt;
mod backend;
mod claimed;
#[cfg(feature = "conformance")]
#[allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::print_stdout,
    reason = "a suite of tests: it panics when a promise is broken, and shows its seeds"
)]
pub mod conformance;
mod context;
#[cfg(feature = "cron")]
mod cron;
mod desk;
mod error;
mod failure;
mod id;
mod job;
mod jobs;
#[cfg_attr(
    not(any(feature = "sqlite", feature = "postgres")),
    allow(dead_code, reason = "numbers that only databases keep")
)]
mod kernel;
mod memory;
#[cfg_attr(
    not(any(feature = "sqlite", feature = "postgres")),
    allow(dead_code, reason = "numbers that only databases keep")
)]
mod payload;
#[cfg(feature = "postgres")]
mod postgres;
mod priority;
mod registered;
mod run;
mod schema;
mod session;
mod signal;
#[cfg(feature = "sqlite")]
mod sqlite;
mod state;
mod stats;
mod sync;
mod transaction;
mod upkeep;
mod view;
mod worker;

pub use backend::{
    Backend, Beat, Claim, ClaimRequest, ClaimedJob, Enqueued, Outcome, Register, Rescued, Settle,
    Settled, WorkerPulse,
};
pub use claimed::{Claimed, CommitPermit};
pub use context::Context;
#[cfg(feature = "cron")]
pub use cron::{Cron, InvalidCron, Schedule};
pub use error::{ClaimError, EnqueueError, RegisterError, SettleError, StoreError, StoreErrorKind};
pub use failure::Failure;
pub use id::{Epoch, JobId, WorkerId};
pub use job::{Edge, NewJob, On, Ordering, Parent, Unmet, When};
pub use jobs::Jobs;
pub use kernel::predict::{Advice, Predictor};
pub use kernel::regression::Baseline;
pub use kernel::retrying::RetryPolicy;
pub use memory::{Memory, MemoryTransaction, OnConflict, SnapshotError, Snapshots};
pub use payload::{InvalidPayload, Payload};
#[cfg(feature = "postgres")]
pub use postgres::{PgJobs, PgManager, PgOptions, PgTransaction};
pub use priority::{Band, InvalidPriority, Priority};
pub use registered::Registered;
#[cfg(feature = "sqlite")]
pub use rusqlite;
pub use schema::Schema;
pub use signal::Stop;
#[cfg(feature = "sqlite")]
pub use sqlite::{
    Clock, Durability, SqliteJobs, SqliteOpenError, SqliteOptions, SqliteStats, SqliteTransaction,
    SqliteWrite,
};
pub use state::{JobState, WorkerState};
pub use stats::{BUCKETS, Histogram, Stats};
pub use transaction::JobTransaction;
pub use upkeep::{Keeping, Upkeep};
pub use view::{Execution, Finding, JobFilter, JobView, QueueView, Reason, Snapshot, WorkerView};
pub use worker::{Drained, RunningWorker, Worker};
