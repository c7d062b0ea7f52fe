#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod cli;
pub mod commands;
pub mod config;
mod daemon;
mod demo;
mod jobs;
pub mod server;
pub mod simulate;
mod terminal;
mod view;

/// The guides speak of several crates, all of which this one has: their examples are run here.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/failing-well.md")]
struct FailingWell;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/priority-inheritance.md")]
struct PriorityInheritance;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/testing-with-jobs.md")]
struct TestingWithJobs;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/jobs-troubleshooting.md")]
struct JobsTroubleshooting;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/jobs-runbook.md")]
struct JobsRunbook;
