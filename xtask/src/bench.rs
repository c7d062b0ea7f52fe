//! `bench`: measurements against other crates.
//!
//! The peers are built by `crates/monitor-bench`, a workspace of its own with its own lock file.
//! Its program prints a JSON object for each row; here they become a table.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::run::cargo;
use crate::steps::{self, Options, Output, Step};
use crate::workspace::Workspace;

/// One measured cell. Times are nanoseconds for one operation.
#[derive(Debug, Deserialize)]
struct Row {
    group: String,
    workload: String,
    subject: String,
    /// The median.
    ns: f64,
    cpu_ns: f64,
    min_ns: f64,
    max_ns: f64,
    allocs: f64,
}

/// Measures one group or all, prints a table and writes the rows to `json` as an array.
pub(crate) fn run(workspace: &Workspace, group: Option<&str>, json: Option<&Path>) -> Result<bool> {
    let manifest = [
        "--manifest-path",
        "crates/monitor-bench/Cargo.toml",
        "--locked",
        "--release",
    ];
    let mut build = cargo(workspace, &["build"]);
    build.args(manifest);
    let mut measure = cargo(workspace, &["run", "--quiet"]);
    measure.args(manifest).arg("--").args(group);
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
    if !steps::run(vec![Step::command("build", build), measuring], &options)? {
        return Ok(false);
    }
    let rows = parse(&printed)?;
    print!("{}", table(&rows));
    if let Some(path) = json {
        write_json(path, &printed)?;
    }
    Ok(true)
}

fn parse(printed: &str) -> Result<Vec<Row>> {
    let lines = printed.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            serde_json::from_str(line).with_context(|| format!("not a row of figures: {line}"))
        })
        .collect()
}

/// The rows by group and workload, each with its ratio to the first peer of its workload: the
/// first that is not ours.
fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.subject.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let workload = |other: &Row| other.group == row.group && other.workload == row.workload;
        if index == 0 || !workload(&rows[index - 1]) {
            text.push_str(&format!(
                "\n{}: {}\n  {:width$}  {:>9}  {:>9}  {:>19}  {:>6}  ratio\n",
                row.group, row.workload, "", "ns", "cpu ns", "least .. most", "allocs"
            ));
        }
        let peer = rows
            .iter()
            .find(|other| workload(other) && !other.subject.starts_with("monitor-"));
        let ratio = peer.map_or_else(String::new, |peer| format!("{:.2}", row.ns / peer.ns));
        let spread = format!("{:.2} .. {:.2}", row.min_ns, row.max_ns);
        text.push_str(&format!(
            "  {:width$}  {:>9.2}  {:>9.2}  {spread:>19}  {:>6.2}  {ratio:>5}\n",
            row.subject, row.ns, row.cpu_ns, row.allocs
        ));
    }
    text
}

fn write_json(path: &Path, printed: &str) -> Result<()> {
    let rows: Vec<Box<RawValue>> = printed
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let text = serde_json::to_string_pretty(&rows)?;
    fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = r#"
{"group":"g","workload":"w","subject":"monitor-x","ns":1.0,"cpu_ns":1.0,"min_ns":0.9,"max_ns":1.2,"allocs":0.0,"extra":{"threads":1}}
{"group":"g","workload":"w","subject":"peer","ns":4.0,"cpu_ns":3.9,"min_ns":3.0,"max_ns":5.0,"allocs":1.0,"extra":{"threads":1}}
{"group":"g","workload":"v","subject":"monitor-x","ns":2.0,"cpu_ns":2.0,"min_ns":2.0,"max_ns":2.0,"allocs":0.0,"extra":{}}
"#;

    #[test]
    fn the_table_compares_with_the_first_peer() {
        let table = table(&parse(PRINTED).unwrap());
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[1], "g: w");
        assert!(lines[3].ends_with("0.25"), "{table}");
        assert!(lines[4].ends_with("1.00"), "{table}");
        assert_eq!(lines[6], "g: v");
        assert!(
            lines[8].trim_end().ends_with("0.00"),
            "no peer, no ratio: {table}"
        );
    }

    #[test]
    fn a_line_that_is_no_row_is_quoted() {
        let error = parse("panicked").unwrap_err();
        assert!(error.to_string().contains("not a row of figures: panicked"));
    }
}
