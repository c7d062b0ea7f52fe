//! The simulator: what it finds, what it does not, and what it says on the command line.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::num::NonZeroUsize;
use std::time::Duration;

use monitord::simulate::{Plan, Plant, Property, Report, run};

const HOUR: Duration = Duration::from_secs(3600);

fn simulated(plan: &Plan) -> Report {
    run(plan, |_| {})
}

fn told(report: &Report) -> String {
    let violations = report.violations.iter().map(ToString::to_string);
    violations.collect::<Vec<_>>().join("\n")
}

#[test]
fn smoke() {
    let plan = Plan::new(1000, 6 * HOUR, 7);
    let report = simulated(&plan);
    println!("{report:?}");
    assert_eq!(report.violations_total, 0, "{}", told(&report));
}
