//! `soak`: the crash test of the daemon, for longer than `test` runs it.

use std::num::NonZeroU32;

use crate::run::cargo;
use crate::steps::Step;
use crate::workspace::Workspace;

/// One step: `rounds` times killed under load, restarted and compared.
pub(crate) fn steps(workspace: &Workspace, rounds: NonZeroU32) -> Vec<Step<'_>> {
    let mut command = cargo(
        workspace,
        &[
            "test",
            "--release",
            "--package",
            "monitord",
            "--test",
            "crash",
            "--",
        ],
    );
    command.args(["--nocapture", "--test-threads=1"]);
    command.env("MONITOR_KILL_ROUNDS", rounds.to_string());
    vec![Step::command(
        format!("crash test, {rounds} rounds"),
        command,
    )]
}
