//! `lint`: formatting, clippy and rustdoc, with warnings as errors.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::run::cargo;
use crate::steps::Step;
use crate::workspace::Workspace;

/// The three steps, cheapest first. With `fix` the first one formats.
pub(crate) fn steps(workspace: &Workspace, fix: bool) -> Vec<Step<'_>> {
    let format = Step::new("format", move |progress| {
        let check: &[&str] = if fix { &[] } else { &["--check"] };
        progress.run(cargo(workspace, &["fmt", "--all"]).arg("--").args(check))?;
        // Those that no crate of the workspace contains.
        let apart = sources_apart(workspace);
        progress.run(
            Command::new("rustfmt")
                .current_dir(&workspace.root)
                .args(["--edition", "2024", "--config-path", "rustfmt.toml"])
                .args(check)
                .args(&apart),
        )?;
        Ok(String::new())
    });
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--quiet",
        "--",
    ];
    let mut clippy = cargo(workspace, &clippy);
    clippy.args(["-D", "warnings"]);
    let mut docs = cargo(
        workspace,
        &[
            "doc",
            "--workspace",
            "--all-features",
            "--no-deps",
            "--quiet",
        ],
    );
    docs.env("RUSTDOCFLAGS", "-D warnings");
    vec![
        format,
        Step::command("clippy", clippy),
        Step::command("rustdoc", docs),
    ]
}

/// The Rust files that belong to no member: the programs of `consume`, and the benchmarks.
fn sources_apart(workspace: &Workspace) -> Vec<PathBuf> {
    let folders = ["xtask/consume", "crates/monitor-bench/src"];
    let entries = folders
        .iter()
        .filter_map(|path| fs::read_dir(workspace.root.join(path)).ok());
    let mut files: Vec<_> = entries
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    files
}
