//! `load`: the daemon with thousands of targets on the loopback, for minutes.

use std::num::NonZeroU64;

use crate::run::cargo;
use crate::steps::Step;
use crate::workspace::Workspace;

/// One step: every due time must be on record once; the rest is figures, for a quiet machine.
pub(crate) fn steps(
    workspace: &Workspace,
    monitors: NonZeroU64,
    interval_ms: NonZeroU64,
    seconds: NonZeroU64,
) -> Vec<Step<'_>> {
    let mut command = cargo(workspace, &["test", "--release", "--all-features"]);
    command.args(["--package", "monitord", "--test", "load"]);
    command.args(["--", "--nocapture"]);
    for (name, value) in [
        ("MONITOR_LOAD_MONITORS", monitors),
        ("MONITOR_LOAD_INTERVAL_MS", interval_ms),
        ("MONITOR_LOAD_SECONDS", seconds),
    ] {
        command.env(name, value.to_string());
    }
    let name = format!("{monitors} targets every {interval_ms} ms for {seconds} s");
    vec![Step::command(name, command)]
}
