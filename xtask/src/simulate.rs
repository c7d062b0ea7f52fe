//! `simulate`: a day of ten thousand targets on the real kernels, with a new seed each time.
//!
//! Optimised, and with the kernels' own assertions on. A seed that fails is in what is printed, and
//! brings the same run again.

use std::hash::{BuildHasher, Hasher, RandomState};

use anyhow::{Context, Result};

use crate::run::cargo;
use crate::steps::{Progress, Step};
use crate::workspace::Workspace;

/// What becomes of a check for which there is no permit, and how many permits there are: enough, and
/// so few that there is often somebody who is passed over.
const RUNS: [(&str, Option<&str>); 2] = [("queue", None), ("shed", Some("60"))];

/// One step; `seed` is a new one unless it is given.
pub(crate) fn steps(workspace: &Workspace, seed: Option<u64>) -> Vec<Step<'_>> {
    let seed = seed.unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 32);
    vec![Step::new("simulate", move |progress| {
        for (without_permit, concurrent) in RUNS {
            simulate(workspace, progress, seed, without_permit, concurrent)?;
        }
        Ok(format!(
            "{} x 24 h of 10000 targets, seed {seed}",
            RUNS.len()
        ))
    })]
}

fn simulate(
    workspace: &Workspace,
    progress: &Progress,
    seed: u64,
    without_permit: &str,
    concurrent: Option<&str>,
) -> Result<()> {
    let mut command = cargo(workspace, &["run", "--profile", "loom", "--quiet"]);
    command.args(["--package", "monitord", "--", "simulate"]);
    command.args(["--targets", "10000", "--hours", "24"]);
    command.args(["--seed", &seed.to_string()]);
    command.args(["--without-permit", without_permit]);
    if let Some(concurrent) = concurrent {
        command.args(["--concurrent", concurrent]);
    }
    progress.say(&format!(
        "24 hours of 10000 targets, {without_permit}, seed {seed}"
    ));
    progress
        .run(&mut command)
        .with_context(|| format!("seed {seed} breaks a promise"))?;
    Ok(())
}
