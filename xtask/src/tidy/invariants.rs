//! The invariants: each is stated once in `docs/INVARIANTS.md`, recurs in a comment where the code
//! keeps it, and has a test with its name. Who meets it in one place finds the other two.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Finding;
use super::sources::Sources;

const FILE: &str = "docs/INVARIANTS.md";

pub(super) fn check(root: &Path, sources: &Sources, findings: &mut Vec<Finding>) -> Result<()> {
    let path = root.join(FILE);
    if path.exists() {
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        check_text(&text, sources, findings);
    }
    Ok(())
}

fn check_text(text: &str, sources: &Sources, findings: &mut Vec<Finding>) {
    let stated = stated(text);
    let sites = Sites::find(sources);
    for (id, line) in &stated {
        if !sites.comments.contains_key(id) {
            let what =
                format!("{id} stands in no comment outside of tests: name it where it is kept");
            findings.push(Finding::new(FILE, *line, what));
        }
        if !sites.tests.contains_key(id) {
            let name = id.to_lowercase().replace('-', "_");
            let what = format!("{id} has no test: name one `{name}_...`");
            findings.push(Finding::new(FILE, *line, what));
        }
    }
    for (id, (file, line)) in sites.comments.iter().chain(&sites.tests) {
        if !stated.contains_key(id) {
            let what = format!("{id} is not stated in {FILE}: add a row");
            findings.push(Finding::new(file, *line, what));
        }
    }
    check_named_tests(text, sources, findings);
}

/// The tests that the table names have to exist.
fn check_named_tests(text: &str, sources: &Sources, findings: &mut Vec<Finding>) {
    let names: BTreeSet<&str> = sources
        .tests()
        .map(|(_, test)| test.name.as_str())
        .collect();
    for (index, line) in text.lines().enumerate() {
        if ids(line).is_empty() || !line.trim_start().starts_with('|') {
            continue;
        }
        let cell = line
            .trim()
            .trim_end_matches('|')
            .rsplit('|')
            .next()
            .unwrap_or_default();
        let mut named = cell.split('`').skip(1).step_by(2).peekable();
        if named.peek().is_none() {
            let what = "the last column names no test: `inv_..._n_...`";
            findings.push(Finding::new(FILE, index + 1, what));
        }
        for path in named {
            let name = path.rsplit("::").next().unwrap_or(path);
            if !names.contains(name) {
                let what = format!("there is no test `{name}`");
                findings.push(Finding::new(FILE, index + 1, what));
            }
        }
    }
}

/// The ids in the document, with the line of the first mention.
fn stated(text: &str) -> BTreeMap<String, usize> {
    let mut stated = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        for id in ids(line) {
            stated.entry(id).or_insert(index + 1);
        }
    }
    stated
}

/// Where the sources name an id first: file and line.
#[derive(Debug, Default)]
struct Sites {
    comments: BTreeMap<String, (String, usize)>,
    tests: BTreeMap<String, (String, usize)>,
}

impl Sites {
    fn find(sources: &Sources) -> Self {
        let mut sites = Self::default();
        for file in sources
            .files
            .iter()
            .filter(|file| file.package() != "xtask")
        {
            for (index, line) in file
                .lines
                .iter()
                .enumerate()
                .take_while(|(i, _)| i + 1 < file.tests_from)
            {
                for id in ids(&line.comment) {
                    sites
                        .comments
                        .entry(id)
                        .or_insert((file.path.clone(), index + 1));
                }
            }
            for test in &file.tests {
                for id in ids_of_test(&test.name) {
                    sites
                        .tests
                        .entry(id)
                        .or_insert((file.path.clone(), test.line));
                }
            }
        }
        sites
    }
}

/// The ids such as `INV-POOL-2` in `text`.
fn ids(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("INV-") {
        let rest = &text[at + 4..];
        let letters = rest
            .find(|c: char| !c.is_ascii_uppercase())
            .unwrap_or(rest.len());
        let Some(number) = rest[letters..].strip_prefix('-') else {
            continue;
        };
        let digits = number
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(number.len());
        if letters > 0 && digits > 0 {
            found.push(format!("INV-{}-{}", &rest[..letters], &number[..digits]));
        }
    }
    found
}

/// The ids that a test is for: `inv_pool_2_one_holder` is for INV-POOL-2, and
/// `inv_pool_2_3_any_history` for INV-POOL-2 and INV-POOL-3.
fn ids_of_test(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    let words: Vec<&str> = name.split('_').collect();
    for (at, _) in words.iter().enumerate().filter(|(_, word)| **word == "inv") {
        let Some(what) = words
            .get(at + 1)
            .filter(|what| what.chars().all(char::is_alphabetic))
        else {
            continue;
        };
        let numbers = words[at + 2..]
            .iter()
            .take_while(|word| word.parse::<u32>().is_ok());
        found.extend(numbers.map(|number| format!("INV-{}-{number}", what.to_uppercase())));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::sources::SourceFile;
    use super::*;

    const CODE: &str = "\
//! Pool.
struct Pool {
    slots: u32, // INV-POOL-1: never more than the size
}
#[cfg(test)]
mod tests {
    // INV-POOL-9 counts for nothing here
    #[test]
    fn inv_pool_1_never_more() {}
}
";

    fn check(document: &str, code: &str) -> Vec<String> {
        let file = SourceFile::new("crates/monitor-pool/src/lib.rs", code);
        let mut findings = Vec::new();
        check_text(document, &Sources { files: vec![file] }, &mut findings);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_invariant_with_all_its_sites_passes() {
        let document = "| INV-POOL-1 | bounded | `Pool` | `tests::inv_pool_1_never_more` |\n";
        assert_eq!(check(document, CODE), [""; 0]);
    }

    #[test]
    fn a_missing_site_is_found() {
        let document = "| INV-POOL-1 | x | y | `inv_pool_1_never_more` |\n\
                        | INV-POOL-2 | x | y | `inv_pool_2_gone` |\n| INV-POOL-3 | x | y | none |\n";
        let found = check(document, CODE).join("\n");
        for part in [
            "docs/INVARIANTS.md:2: INV-POOL-2 stands in no comment",
            "docs/INVARIANTS.md:2: INV-POOL-2 has no test: name one `inv_pool_2_...`",
            "docs/INVARIANTS.md:2: there is no test `inv_pool_2_gone`",
            "docs/INVARIANTS.md:3: the last column names no test",
        ] {
            assert!(found.contains(part), "{part} in {found}");
        }
        assert!(!found.contains("POOL-1"), "{found}");
    }

    #[test]
    fn an_id_that_is_not_stated_is_found_where_it_stands() {
        let found = check("# Invariants\n", CODE);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("crates/monitor-pool/src/lib.rs:3: INV-POOL-1 is not stated"));
        assert!(found[1].starts_with("crates/monitor-pool/src/lib.rs:9: INV-POOL-1 is not stated"));
    }

    #[test]
    fn ids_are_read_whole() {
        assert_eq!(
            ids("INV-A-1, (INV-BC-23) INV-x-1 INV-D- INV--1 INV-E-4x"),
            ["INV-A-1", "INV-BC-23", "INV-E-4"]
        );
        assert_eq!(
            ids_of_test("inv_breaker_12_late_verdict"),
            ["INV-BREAKER-12"]
        );
        assert_eq!(
            ids_of_test("loom_inv_a_1_inv_b_2_x"),
            ["INV-A-1", "INV-B-2"]
        );
        assert_eq!(ids_of_test("inv_a_1_3_any"), ["INV-A-1", "INV-A-3"]);
        assert_eq!(ids_of_test("inverse_1"), [""; 0]);
        assert_eq!(ids_of_test("a_inv"), [""; 0]);
        assert_eq!(ids_of_test("inv_breaker_late"), [""; 0]);
    }
}
