//! The requirements: `docs/REQUIREMENTS.md` lists each with the tests that prove it.
//!
//! Ids and titles are written by hand in that file; its last column is generated. A test proves
//! what the comment directly above it names: `PRB-9`, `OPS-1, OPS-2` or `PRB-1..5`, and the
//! properties `S1` to `S8` and `L1` to `L8` at the beginning of a comment line. A promise of a suite
//! is listed with whoever runs it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Finding;
use super::sources::{SourceFile, Sources, Test};

/// The document.
pub(super) const FILE: &str = "docs/REQUIREMENTS.md";

/// In place of tests, while there are none.
const NOT_BUILT: &str = "not built yet";

/// For each id the tests that name it: crate, and function as it is shown.
type Proofs = BTreeMap<String, BTreeSet<(String, String)>>;

/// Checks that every id in a test is listed, and that the generated column is up to date.
pub(super) fn check(root: &Path, sources: &Sources, findings: &mut Vec<Finding>) -> Result<()> {
    if !root.join(FILE).exists() {
        return Ok(());
    }
    let text = read(root)?;
    let listed = listed(&text);
    check_ids(&listed, sources, findings);
    let generated = generate(&text, &proofs(sources, &listed));
    if let Some(line) = first_difference(&text, &generated) {
        let what = "is out of date: `cargo xtask tidy --fix` writes the last column again";
        findings.push(Finding::new(FILE, line, what));
    }
    Ok(())
}

/// Writes the generated column again. `false` when it was up to date.
pub(super) fn rewrite(root: &Path, sources: &Sources) -> Result<bool> {
    let text = read(root)?;
    let generated = generate(&text, &proofs(sources, &listed(&text)));
    if generated == text {
        return Ok(false);
    }
    let path = root.join(FILE);
    fs::write(&path, generated).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}

fn read(root: &Path) -> Result<String> {
    let path = root.join(FILE);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The ids of the table, in its order.
fn listed(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(row)
        .map(|(id, _)| id.to_owned())
        .collect()
}

/// Id and title of a line of a table.
fn row(line: &str) -> Option<(&str, &str)> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    let (id, title) = (cells.next()?, cells.next()?);
    is_id(id).then_some((id, title))
}

fn check_ids(listed: &[String], sources: &Sources, findings: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    for id in listed {
        if !seen.insert(id) {
            findings.push(Finding::new(FILE, 0, format!("{id} is listed twice")));
        }
    }
    let prefixes: BTreeSet<&str> = listed.iter().filter_map(|id| prefix(id)).collect();
    for (file, test) in sources.tests() {
        for (line, comment) in &test.comments {
            for id in ids(comment, &prefixes) {
                if !seen.contains(&id) {
                    let what = format!("{id}, named by `{}`, is not listed in {FILE}", test.name);
                    findings.push(Finding::new(&*file.path, *line, what));
                }
            }
        }
    }
}

fn proofs(sources: &Sources, listed: &[String]) -> Proofs {
    let prefixes: BTreeSet<&str> = listed.iter().filter_map(|id| prefix(id)).collect();
    let mut proofs = Proofs::new();
    for (file, test) in sources.tests() {
        for id in test
            .comments
            .iter()
            .flat_map(|(_, comment)| ids(comment, &prefixes))
        {
            let proof = (file.package().to_owned(), with_callers(sources, file, test));
            proofs.entry(id).or_default().insert(proof);
        }
    }
    proofs
}

/// A test by name; a promise with the programs of tests that run it.
fn with_callers(sources: &Sources, file: &SourceFile, test: &Test) -> String {
    if !test.promise {
        return format!("`{}`", test.name);
    }
    let callers = sources.callers(file.package());
    format!("`{}` ({})", test.name, callers.join(", "))
}

/// The text with the last column written anew.
fn generate(text: &str, proofs: &Proofs) -> String {
    let mut generated = String::with_capacity(text.len());
    for line in text.lines() {
        match row(line) {
            Some((id, title)) => {
                let tests = proofs.get(id).map_or_else(|| NOT_BUILT.to_owned(), shown);
                generated.push_str(&format!("| {id} | {title} | {tests} |"));
            }
            None => generated.push_str(line),
        }
        generated.push('\n');
    }
    generated
}

/// The tests of one id: crates with their functions.
fn shown(tests: &BTreeSet<(String, String)>) -> String {
    let mut by_package: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (package, name) in tests {
        by_package.entry(package).or_default().push(name.clone());
    }
    let parts = by_package
        .iter()
        .map(|(package, names)| format!("{package}: {}", names.join(", ")));
    parts.collect::<Vec<_>>().join("; ")
}

/// The line, from 1, where two texts begin to differ.
fn first_difference(one: &str, other: &str) -> Option<usize> {
    if one == other {
        return None;
    }
    let same = one
        .lines()
        .zip(other.lines())
        .take_while(|(one, other)| one == other)
        .count();
    Some(same + 1)
}

/// `PRB` of `PRB-9`; none for `S1`.
fn prefix(id: &str) -> Option<&str> {
    id.split_once('-').map(|(prefix, _)| prefix)
}

/// Whether it looks like `PRB-9`, `S1` or `L8`.
fn is_id(text: &str) -> bool {
    let (prefix, number) = match text.split_once('-') {
        Some(parts) => parts,
        None => text.split_at(text.chars().next().map_or(0, char::len_utf8)),
    };
    let plain = !prefix.is_empty() && prefix.chars().all(|c| c.is_ascii_uppercase());
    plain && !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
}

/// The ids that a comment names. `prefixes` are those in use: `UTF-8` is no requirement.
fn ids(comment: &str, prefixes: &BTreeSet<&str>) -> Vec<String> {
    let mut found = Vec::new();
    for word in comment.split(|c: char| !c.is_ascii_alphanumeric() && !"-.=".contains(c)) {
        let word = word.trim_matches(['.', '=']);
        let Some((prefix, rest)) = word.split_once('-') else {
            continue;
        };
        if prefixes.contains(prefix) {
            found.extend(range(rest).map(|number| format!("{prefix}-{number}")));
        }
    }
    found.extend(properties(comment));
    found
}

/// The numbers of `9` or `1..5`, both ends included; nothing when it is neither.
fn range(text: &str) -> impl Iterator<Item = u32> + use<> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let (first, last) = (
        first.parse::<u32>(),
        last.trim_start_matches('=').parse::<u32>(),
    );
    match (first, last) {
        (Ok(first), Ok(last)) => first..last.saturating_add(1),
        _ => 0..0,
    }
}

/// The properties at the beginning of a comment line: `S1, L3: ...`. Further on, `S1` may be
/// anything.
fn properties(comment: &str) -> Vec<String> {
    let words = comment
        .split([',', ' ', ':'])
        .filter(|word| !word.is_empty());
    let words = words.take_while(|word| is_id(word) || word.contains('-'));
    let properties = words.filter(|word| is_id(word) && word.starts_with(['S', 'L']));
    properties
        .filter(|word| !word.contains('-'))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
# Requirements

| id | requirement | tests |
|---|---|---|
| PRB-1 | one run | stale |
| PRB-2 | lookup | not built yet |
| S1 | one run per key | |
";

    fn sources(code: &str) -> Sources {
        Sources {
            files: vec![SourceFile::new("crates/monitor-x/tests/a.rs", code)],
        }
    }

    fn named(comment: &str) -> Vec<String> {
        ids(comment, &BTreeSet::from(["PRB", "OPS"]))
    }

    #[test]
    fn ids_lists_and_ranges_are_read() {
        assert_eq!(named("PRB-9: waits"), ["PRB-9"]);
        assert_eq!(
            named("OPS-1, OPS-2 (see PRB-30.)"),
            ["OPS-1", "OPS-2", "PRB-30"]
        );
        assert_eq!(named("PRB-1..3"), ["PRB-1", "PRB-2", "PRB-3"]);
        assert_eq!(named("PRB-1..=2"), ["PRB-1", "PRB-2"]);
        assert_eq!(named("UTF-8, PRB-x, PRB-, INV-OPS-1, XPRB-1"), [""; 0]);
    }

    #[test]
    fn properties_are_read_at_the_beginning_only() {
        assert_eq!(named("S1, L3: one run"), ["S1", "L3"]);
        assert_eq!(named("PRB-1, S1: one run"), ["PRB-1", "S1"]);
        assert_eq!(named("as in S1"), [""; 0]);
        assert_eq!(named("SHA-1 of S1"), [""; 0]);
    }

    #[test]
    fn the_last_column_is_generated_and_nothing_else_changes() {
        let code =
            "//! T.\n/// PRB-1, S1: x\n#[test]\nfn b() {}\n/// PRB-1: y\n#[test]\nfn a() {}\n";
        let listed = listed(TABLE);
        assert_eq!(listed, ["PRB-1", "PRB-2", "S1"]);
        let generated = generate(TABLE, &proofs(&sources(code), &listed));
        let expected = "\
# Requirements

| id | requirement | tests |
|---|---|---|
| PRB-1 | one run | monitor-x: `a`, `b` |
| PRB-2 | lookup | not built yet |
| S1 | one run per key | monitor-x: `b` |
";
        assert_eq!(generated, expected);
        assert_eq!(first_difference(TABLE, &generated), Some(5));
        assert_eq!(
            generate(&generated, &proofs(&sources(code), &listed)),
            generated
        );
    }

    #[test]
    fn an_id_that_is_not_listed_is_found_where_it_stands() {
        let code = "//! T.\n/// Waits.\n/// PRB-77: y\n#[test]\nfn a() {}\n";
        let mut findings = Vec::new();
        check_ids(&listed(TABLE), &sources(code), &mut findings);
        assert_eq!(findings.len(), 1);
        let found = findings[0].to_string();
        assert!(
            found.starts_with("crates/monitor-x/tests/a.rs:3: PRB-77, named by `a`"),
            "{found}"
        );
    }
}
