//! Measures our crates, their peers and some floors; prints one JSON object for each row.
//!
//! `monitor-bench [GROUP]`, with the group `backoff`, `breaker` or `operation`.

#![allow(clippy::disallowed_methods, reason = "measuring needs the real clock")]

mod allocations;
mod backoff;
mod breaker;
mod harness;
mod operation;

use std::env;
use std::process::ExitCode;

use harness::Harness;

/// What measures a group.
type Measure = fn(&mut Harness);

/// The groups by name.
const GROUPS: [(&str, Measure); 3] = [
    ("backoff", backoff::measure),
    ("breaker", breaker::measure),
    ("operation", operation::measure),
];

fn main() -> ExitCode {
    let wanted = env::args().nth(1);
    let names = GROUPS.map(|(name, _)| name);
    if let Some(wanted) = &wanted
        && !names.contains(&wanted.as_str())
    {
        eprintln!("error: no group {wanted:?}; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    for (name, measure) in GROUPS {
        if wanted.as_ref().is_none_or(|wanted| wanted == name) {
            measure(&mut Harness::new(name));
        }
    }
    ExitCode::SUCCESS
}
