//! `figures`: the pictures of the documents, drawn by simulations in virtual time.
//!
//! The simulations live in `crates/monitor-bench`, whose program `figures` needs no peer. They use
//! the real crates, and their own tests say which shape the pictures must have.

use crate::bench::FOLDER;
use crate::run::cargo;
use crate::steps::Step;
use crate::workspace::Workspace;

/// Where the pictures are kept.
const PICTURES: &str = "docs/figures";

/// Draws the pictures; with `check` tests the simulations, and that the pictures are theirs.
pub(crate) fn steps(workspace: &Workspace, check: bool) -> Vec<Step<'_>> {
    let program = |verb: &str| {
        let mut command = cargo(workspace, &[verb, "--quiet", "--manifest-path"]);
        command
            .arg(format!("{FOLDER}/Cargo.toml"))
            .args(["--locked", "--release"])
            .args(["--no-default-features", "--bin", "figures"])
            .env("CARGO_TARGET_DIR", workspace.target().join("bench"));
        command
    };
    let mut draw = program("run");
    draw.args(["--", PICTURES]);
    if !check {
        return vec![Step::command("figures", draw)];
    }
    draw.arg("--check");
    vec![
        Step::command("simulations", program("test")),
        Step::command("figures", draw),
    ]
}
