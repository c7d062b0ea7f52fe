//! `soak`: crashes and chaos, for longer than `test` runs them.

use std::num::NonZeroU32;
use std::process::Command;

use crate::run::cargo;
use crate::steps::Step;
use crate::workspace::Workspace;

/// The daemon `rounds` times killed under load, restarted and compared; then 64 callers of a pool
/// against servers behind a bad network, and eight worker processes on one database, for `seconds`
/// each; at last the suite of the jobs with twenty times as many of everything.
pub(crate) fn steps(workspace: &Workspace, rounds: NonZeroU32, seconds: u64) -> Vec<Step<'_>> {
    let mut crashes = tests(workspace, "monitord", &["crash"]);
    crashes.env("MONITOR_KILL_ROUNDS", rounds.to_string());
    let mut chaos = tests(workspace, "monitor-pool", &["real_chaos", "real_line"]);
    chaos
        .env("MONITOR_CHAOS_TASKS", "64")
        .env("MONITOR_CHAOS_SECONDS", seconds.to_string())
        .env("MONITOR_LINE_FRAMES", "10000");
    let mut workers = tests(workspace, "monitor-jobs", &["chaos"]);
    workers.env("MONITOR_CHAOS_SECONDS", seconds.to_string());
    let mut suite = tests(workspace, "monitor-jobs", &["sqlite", "postgres"]);
    suite.env("JOBS_SCALE", "20").env("JOBS_SCHEDULES", "240");
    vec![
        Step::command(format!("crash test, {rounds} rounds"), crashes),
        Step::command(format!("pool under chaos, 64 x {seconds} s"), chaos),
        Step::command(format!("jobs under chaos, 8 x {seconds} s"), workers),
        Step::command("jobs by the hundred thousand", suite),
    ]
}

/// The optimised tests of some files of a package, one after the other, with all they print.
fn tests(workspace: &Workspace, package: &str, files: &[&str]) -> Command {
    let mut command = cargo(workspace, &["test", "--release", "--all-features"]);
    command.args(["--package", package]);
    for file in files {
        command.args(["--test", file]);
    }
    command.args(["--", "--nocapture", "--test-threads=1"]);
    command
}
