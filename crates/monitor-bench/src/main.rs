//! Measures our crates, their peers and some floors; prints one JSON object for each row.
//!
//! `monitor-bench [GROUP [WORKLOAD [SUBJECT]]]`: only workloads and subjects with this in their
//! names, and with a subject for a profiler: nothing is counted besides. Progress goes to standard
//! error, a line at a time.
//! Workloads that take minutes run only when they are named.

#![allow(clippy::disallowed_methods, reason = "measuring needs the real clock")]

mod allocations;
mod backoff;
mod breaker;
mod noise;
mod operation;
mod plan;
mod pool;
mod scheduler;
mod store;
mod threads;

use std::env;
use std::process::ExitCode;

use plan::Plan;

/// What plans a group.
type Group = fn(&mut Plan);

/// The groups by name.
const GROUPS: [(&str, Group); 6] = [
    ("backoff", backoff::plan),
    ("breaker", breaker::plan),
    ("operation", operation::plan),
    ("pool", pool::plan),
    ("scheduler", scheduler::plan),
    ("store", store::plan),
];

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let wanted = arguments.next();
    let names = GROUPS.map(|(name, _)| name);
    if let Some(wanted) = &wanted
        && !names.contains(&wanted.as_str())
    {
        let names = names.join(", ");
        eprintln!("error: no group {wanted:?}; there are {names}");
        return ExitCode::from(2);
    }
    let mut plan = Plan::default();
    for (name, group) in GROUPS {
        if wanted.as_ref().is_none_or(|wanted| wanted == name) {
            group(plan.group(name));
        }
    }
    let [workload, subject] = [arguments.next(), arguments.next()].map(Option::unwrap_or_default);
    if plan.run(&workload, &subject) {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: no workload has {workload:?} in its name");
    ExitCode::from(2)
}
