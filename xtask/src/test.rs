//! `test`: unit, integration and documentation tests.

use std::process::Command;

use anyhow::Result;

use crate::run::{cargo, succeeds};
use crate::steps::Step;
use crate::workspace::Workspace;

/// The steps for one package or for all; `filter` narrows the tests by name and leaves the
/// documentation tests out.
pub(crate) fn steps<'a>(
    workspace: &'a Workspace,
    package: Option<&str>,
    filter: Option<&str>,
) -> Result<Vec<Step<'a>>> {
    let mut selection = vec!["--all-features".to_owned()];
    // A package without a library has no documentation tests, and cargo calls that an error.
    let mut documented = true;
    match package {
        Some(name) => {
            let package = workspace.package(name)?;
            documented = workspace
                .root
                .join(&package.folder)
                .join("src/lib.rs")
                .exists();
            selection.extend(["--package".to_owned(), name.to_owned()]);
        }
        None => selection.push("--workspace".to_owned()),
    }
    let mut tests = runner(workspace);
    tests.args(&selection).args(filter);
    let mut steps = vec![Step::new("test", move |progress| {
        progress.run(&mut tests)?;
        Ok(String::new())
    })];
    if filter.is_none() && documented {
        let mut examples = cargo(workspace, &["test", "--doc"]);
        examples.args(&selection);
        steps.push(Step::command("doc tests", examples));
    }
    Ok(steps)
}

/// nextest where it is installed: a process for each test, and all of them in parallel.
fn runner(workspace: &Workspace) -> Command {
    if succeeds(&mut cargo(workspace, &["nextest", "--version"])) {
        cargo(workspace, &["nextest", "run", "--no-fail-fast"])
    } else {
        cargo(workspace, &["test", "--no-fail-fast", "--all-targets"])
    }
}
