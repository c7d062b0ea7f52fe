//! `loom`: model checking of the kernels, with every model in a process of its own.
//!
//! A model that fails while its values are being dropped aborts its process. In a shared one that
//! would take the other models along, so each is started alone and judged by its exit code.

use std::collections::VecDeque;
use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::run::cargo;
use crate::steps::{Progress, Step, now};
use crate::workspace::Workspace;

/// How many times loom may switch threads where it need not, unless the environment says.
const MAX_PREEMPTIONS: &str = "3";

/// One step for the models of one crate or of all.
pub(crate) fn steps<'a>(
    workspace: &'a Workspace,
    package: Option<&str>,
    filter: Option<String>,
) -> Result<Vec<Step<'a>>> {
    let packages: Vec<String> = match package {
        Some(name) if !workspace.package(name)?.has_loom_models() => bail!(
            "{name} has no loom models: its manifest has no \
             [target.'cfg(monitor_loom)'.dependencies]"
        ),
        Some(name) => vec![name.to_owned()],
        None => {
            let all = workspace
                .packages
                .iter()
                .filter(|package| package.has_loom_models());
            all.map(|package| package.name.clone()).collect()
        }
    };
    Ok(vec![Step::new("loom", move |progress| {
        check(workspace, &packages, filter.as_deref(), progress)
    })])
}

fn check(
    workspace: &Workspace,
    packages: &[String],
    filter: Option<&str>,
    progress: &mut Progress,
) -> Result<String> {
    let mut models = Vec::new();
    for (package, program) in build(workspace, packages, progress)? {
        let names = list(&program)?;
        if names.is_empty() {
            bail!("{package} depends on loom but has no test with `loom` in its path");
        }
        let wanted = names
            .into_iter()
            .filter(|name| filter.is_none_or(|part| name.contains(part)));
        models.extend(wanted.map(|name| Model {
            package: package.clone(),
            program: program.clone(),
            name,
        }));
    }
    if models.is_empty() {
        bail!("no model has {:?} in its name", filter.unwrap_or_default());
    }
    let (count, preemptions) = (models.len(), max_preemptions());
    progress.say(&format!(
        "checking {count} models with at most {preemptions} preemptions"
    ));
    let mut results = check_all(models, progress);
    results
        .sort_by(|a, b| (&a.model.package, &a.model.name).cmp(&(&b.model.package, &b.model.name)));
    report(&results, progress);
    let failed: Vec<_> = results
        .iter()
        .filter(|result| result.problem.is_some())
        .collect();
    if !failed.is_empty() {
        let problems = failed
            .iter()
            .map(|result| result.describe())
            .collect::<Vec<_>>();
        bail!(
            "{}\n\n{} of {count} models failed",
            problems.join("\n\n"),
            failed.len()
        );
    }
    Ok(format!("{count} models, at most {preemptions} preemptions"))
}

/// Builds the unit tests with loom in place of std, and returns each package's program.
fn build(
    workspace: &Workspace,
    packages: &[String],
    progress: &Progress,
) -> Result<Vec<(String, PathBuf)>> {
    let mut command = cargo(
        workspace,
        &["test", "--profile", "loom", "--lib", "--no-run"],
    );
    command.args(["--message-format", "json-render-diagnostics"]);
    command.args(packages.iter().flat_map(|package| ["--package", package]));
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    command.env("RUSTFLAGS", format!("{flags} --cfg monitor_loom").trim());
    // Other flags build everything anew; a folder of its own keeps both builds.
    command.env("CARGO_TARGET_DIR", workspace.target().join("loom"));
    progress.say("building the models");
    let messages = progress.capture(&mut command)?;
    let programs = programs(&messages);
    for package in packages {
        if !programs.iter().any(|(name, _)| name == package) {
            bail!("cargo built no unit tests for {package}");
        }
    }
    Ok(programs)
}

/// The test programs among cargo's messages, with the names of their packages.
fn programs(messages: &str) -> Vec<(String, PathBuf)> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["profile"]["test"] == true)
        .filter_map(|message| {
            let program = message["executable"].as_str()?;
            let target = message["target"]["name"].as_str()?;
            Some((target.replace('_', "-"), PathBuf::from(program)))
        })
        .collect()
}

/// The models in a test program.
fn list(program: &PathBuf) -> Result<Vec<String>> {
    let printed =
        crate::run::output(Command::new(program).args(["loom", "--list", "--format", "terse"]))?;
    Ok(printed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect())
}

#[derive(Debug)]
struct Model {
    package: String,
    program: PathBuf,
    name: String,
}

#[derive(Debug)]
struct Checked {
    model: Model,
    time: Duration,
    problem: Option<String>,
}

impl Checked {
    fn describe(&self) -> String {
        let problem = self.problem.as_deref().unwrap_or_default();
        format!(
            "{} {} failed:\n{problem}",
            self.model.package, self.model.name
        )
    }
}

/// Checks the models, as many at a time as there are processors.
fn check_all(models: Vec<Model>, progress: &Progress) -> Vec<Checked> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let waiting = Mutex::new(VecDeque::from(models));
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let next = waiting
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .pop_front();
                    let Some(model) = next else { break };
                    progress.say(&format!("{} {}", model.package, model.name));
                    let checked = check_one(model);
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(checked);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn check_one(model: Model) -> Checked {
    let started = now();
    let mut command = Command::new(&model.program);
    command.args(["--exact", &model.name, "--nocapture"]);
    command.env("LOOM_MAX_PREEMPTIONS", max_preemptions());
    let problem = match command.output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let printed = [output.stdout, output.stderr].concat();
            Some(format!(
                "{}({})",
                String::from_utf8_lossy(&printed),
                output.status
            ))
        }
        Err(error) => Some(format!("cannot start {}: {error}", model.program.display())),
    };
    Checked {
        model,
        time: started.elapsed(),
        problem,
    }
}

fn report(results: &[Checked], progress: &Progress) {
    for Checked {
        model,
        time,
        problem,
    } in results
    {
        let verdict = if problem.is_some() { "FAILED" } else { "holds" };
        let name = model.name.replace("::tests::", "::").replace("loom::", "");
        progress.print(&format!(
            "{verdict:6} {:>8.3} s  {} {name}",
            time.as_secs_f64(),
            model.package
        ));
    }
}

fn max_preemptions() -> String {
    env::var("LOOM_MAX_PREEMPTIONS").unwrap_or_else(|_| MAX_PREEMPTIONS.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_found_among_the_messages() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"name":"loom"},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","target":{"name":"monitor_breaker"},"profile":{"test":true},"executable":"/t/a"}
not json
{"reason":"build-finished","success":true}"#;
        let expected = vec![("monitor-breaker".to_owned(), PathBuf::from("/t/a"))];
        assert_eq!(programs(messages), expected);
    }
}
