//! The project's own chores: `cargo xtask help` lists them.
//!
//! Continuous integration, the scripts and the people all call these and nothing else, so there
//! is one answer to the question how something is done here.
//!
//! A chore is a list of [`steps`]; `ci` is those of several chores in a row. Each verb has a module
//! of its name. [`workspace`] knows what is where, [`run`] starts programs.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the command line"
)]

mod bench;
mod ci;
mod cli;
mod consume;
mod disk;
mod figures;
mod lint;
mod load;
mod loom;
mod page;
mod run;
mod services;
mod simulate;
mod soak;
mod steps;
mod test;
mod tidy;
mod tools;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<monitor_testkit::services::Missing>() {
                return ExitCode::from(2);
            }
            ExitCode::FAILURE
        }
    }
}
