//! Jobs on a real PostgreSQL: the suite that every backend passes, and what is PostgreSQL's own.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod call;
mod claims;
mod collation;
mod graph_races;
mod guards;
mod keeping;
mod owner_races;
mod people;
mod people_races;
mod pinned;
mod server;
mod storms;
mod support;

monitor_jobs::conformance_tests!(crate::support::Server);
