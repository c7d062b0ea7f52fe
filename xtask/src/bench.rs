//! `bench`: measurements against other crates.
//!
//! The peers are built by `crates/monitor-bench`, a workspace of its own with its own lock file.
//! Its program prints a JSON object for each row; here they become tables, and are compared with
//! the [`targets`].

mod machine;
mod markdown;
mod rows;
mod tables;
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::run::cargo;
use crate::steps::{self, Options, Output, Step};
use crate::workspace::Workspace;
use targets::Verdict;

/// The folder of the program that measures.
pub(crate) const FOLDER: &str = "crates/monitor-bench";

/// Groups that are programs of their own, with a feature of their name: they take so long, or need
/// so much, that they run only when they are asked for.
const PROGRAMS: [&str; 1] = ["jobs"];

/// What to do with the figures, besides printing them.
#[derive(Debug, clap::Args)]
pub(crate) struct Wanted {
    /// Only this group
    group: Option<String>,
    /// Only workloads with this in their name
    #[arg(requires = "group", conflicts_with = "markdown")]
    workload: Option<String>,
    /// Compare with the targets; a target that is missed is a failure
    #[arg(long)]
    check: bool,
    /// Also write the rows to a file, and the targets with --check
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write the generated parts of a document again
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Do not measure: take the rows that --json has written
    #[arg(long, value_name = "FILE", conflicts_with_all = ["group", "json"])]
    from: Option<PathBuf>,
}

/// Measures one group or all and prints tables. `false` when a step failed, or a target was
/// missed that had to be met.
pub(crate) fn run(workspace: &Workspace, wanted: &Wanted) -> Result<bool> {
    let rows = match &wanted.from {
        Some(path) => rows::read(path)?,
        None => match measure(workspace, wanted)? {
            Some(printed) => rows::parse(&printed)?,
            None => return Ok(false),
        },
    };
    print!("{}", tables::plain(&rows));
    let mut verdicts = targets::judge(&rows);
    if wanted.workload.is_some() {
        verdicts.retain(|verdict| rows.iter().any(|row| row.workload == verdict.workload));
    }
    if wanted.check {
        print!("{}", tables::verdicts(&verdicts));
    }
    if let Some(path) = &wanted.json {
        let shown = if wanted.check { &*verdicts } else { &[] };
        rows::write(path, &rows, shown)?;
    }
    if let Some(path) = &wanted.markdown {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let blocks = markdown::blocks(&machine::about(workspace)?, &rows, &verdicts);
        fs::write(path, markdown::replace(&text, &blocks)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(!wanted.check || verdicts.iter().all(Verdict::is_met))
}

/// What the program prints, or nothing when it could not be built or run.
fn measure(workspace: &Workspace, wanted: &Wanted) -> Result<Option<String>> {
    let manifest = Path::new(FOLDER).join("Cargo.toml");
    let manifest = manifest.to_string_lossy();
    let mut arguments = vec!["--manifest-path", &manifest, "--locked", "--release"];
    let by_name = wanted
        .group
        .as_deref()
        .filter(|group| PROGRAMS.contains(group));
    if let Some(program) = by_name {
        arguments.extend([
            "--no-default-features",
            "--features",
            program,
            "--bin",
            program,
        ]);
    }
    let mut build = cargo(workspace, &["build"]);
    build.args(&arguments);
    let mut measure = cargo(workspace, &["run", "--quiet"]);
    measure.args(&arguments).arg("--");
    if by_name.is_none() {
        measure.args(&wanted.group);
    }
    measure.args(&wanted.workload);
    for command in [&mut build, &mut measure] {
        // Another lock file, other features: a folder of its own keeps both builds.
        command.env("CARGO_TARGET_DIR", workspace.target().join("bench"));
    }
    let mut printed = String::new();
    let measuring = Step::new("measure", |progress| {
        printed = progress.capture(&mut measure)?;
        Ok(String::new())
    });
    let options = Options {
        output: Output::OnFailure,
        keep_going: false,
        json: None,
    };
    let steps = vec![Step::command("build", build), measuring];
    Ok(steps::run(steps, &options)?.then_some(printed))
}
