//! The daemon's binary: parse, dispatch, exit code.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use monitord::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
