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
        let printed = progress.run(&mut tests)?;
        Ok(count(&printed)
            .map(|count| format!("{count} tests"))
            .unwrap_or_default())
    })];
    if filter.is_none() && documented {
        let mut examples = cargo(workspace, &["test", "--doc"]);
        examples.args(&selection);
        steps.push(Step::new("doc tests", move |progress| {
            let printed = progress.run(&mut examples)?;
            Ok(count(&printed)
                .map(|count| format!("{count} examples"))
                .unwrap_or_default())
        }));
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

/// How many tests passed, by what the runner printed in the end: `460 passed` once, or once for
/// each program.
fn count(printed: &[String]) -> Option<usize> {
    let lines = printed.iter().map(|line| without_colours(line));
    let results = lines.filter(|line| line.contains("tests run:") || line.contains("test result:"));
    let passed: Option<usize> = results
        .map(|line| {
            let words: Vec<_> = line
                .split([' ', ';', ','])
                .filter(|word| !word.is_empty())
                .collect();
            let passed = words.windows(2).find(|pair| pair[1] == "passed");
            passed.and_then(|pair| pair[0].parse::<usize>().ok())
        })
        .sum();
    passed.filter(|count| *count > 0)
}

/// Removes the escape sequences that colour a line.
fn without_colours(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    plain.extend(parts.map(|part| part.split_once('m').map_or("", |(_, text)| text)));
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn passed_tests_are_counted_for_both_runners() {
        let nextest = "\x1b[32m Summary\x1b[0m [ 8.4s] \x1b[1m46\x1b[0m tests run: \x1b[1m46\x1b[0m \x1b[32mpassed\x1b[0m, 0 skipped";
        assert_eq!(count(&lines(nextest)), Some(46));
        let cargo = "running 2 tests\ntest result: ok. 2 passed; 0 failed\n\n\
                     test result: ok. 3 passed; 0 failed";
        assert_eq!(count(&lines(cargo)), Some(5));
        assert_eq!(count(&lines("Finished\ntest result: odd")), None);
        assert_eq!(count(&[]), None);
    }
}
