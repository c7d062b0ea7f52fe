//! What is particular to a file of SQLite.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod batches;
mod failures;
mod open;
mod place;
mod transactions;
