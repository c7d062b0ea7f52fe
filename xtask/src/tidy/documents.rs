//! The documents: what they name exists.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Finding;
use crate::cli::Cli;
use crate::workspace::Workspace;

pub(super) fn check(workspace: &Workspace, findings: &mut Vec<Finding>) -> Result<()> {
    let known = Known {
        root: &workspace.root,
        verbs: Cli::verbs(),
        packages: workspace
            .packages
            .iter()
            .map(|package| package.name.clone())
            .collect(),
    };
    for file in files(&workspace.root)? {
        let path = workspace.root.join(&file);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        known.check(&file, &text, findings);
    }
    Ok(())
}

/// The documents that speak of the whole: those at the top, in docs and in .github.
fn files(root: &Path) -> Result<Vec<String>> {
    let mut files = vec!["README.md".to_owned()];
    for folder in ["docs", "docs/guides", ".github"] {
        let path = root.join(folder);
        let entries =
            fs::read_dir(&path).with_context(|| format!("cannot list {}", path.display()))?;
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".md") {
                files.push(format!("{folder}/{name}"));
            }
        }
    }
    files.retain(|file| root.join(file).exists());
    files.sort();
    Ok(files)
}

/// What there is to name.
struct Known<'a> {
    root: &'a Path,
    verbs: Vec<String>,
    packages: Vec<String>,
}

impl Known<'_> {
    fn check(&self, file: &str, text: &str, findings: &mut Vec<Finding>) {
        let mut fenced = false;
        for (index, line) in text.lines().enumerate() {
            let mut report = |what: String| findings.push(Finding::new(file, index + 1, what));
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
                continue;
            }
            if fenced {
                self.check_command(line, &mut report);
                continue;
            }
            for quoted in line.split('`').skip(1).step_by(2) {
                self.check_command(quoted, &mut report);
                self.check_name(quoted, &mut report);
            }
            for target in links(line) {
                self.check_link(file, target, &mut report);
            }
        }
    }

    /// The verb after `cargo xtask`.
    fn check_command(&self, text: &str, report: &mut impl FnMut(String)) {
        let Some((_, rest)) = text.split_once("cargo xtask ") else {
            return;
        };
        let verb = rest.split_whitespace().next().unwrap_or_default();
        let is_word = verb.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let known = verb == "help" || self.verbs.iter().any(|known| known == verb);
        if is_word && !verb.starts_with('-') && !verb.is_empty() && !known {
            report(format!(
                "there is no `cargo xtask {verb}`; there are {}",
                self.verbs.join(", ")
            ));
        }
    }

    /// A path, or the name of a crate.
    fn check_name(&self, text: &str, report: &mut impl FnMut(String)) {
        let folders = ["crates/", "docs/", "xtask/", ".github/", ".ci/"];
        if folders.iter().any(|folder| text.starts_with(folder)) {
            let path = text.split([' ', ':', '#']).next().unwrap_or(text);
            let pattern = path.contains(['*', '<', '{', '…']);
            if !pattern && !self.root.join(path).exists() {
                report(format!("`{path}` does not exist"));
            }
            return;
        }
        let is_name = text.starts_with("monitor-")
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        let apart = self.root.join("crates").join(text).is_dir();
        if is_name && !apart && !self.packages.iter().any(|name| name == text) {
            report(format!("there is no crate `{text}`"));
        }
    }

    /// The target of a link, when it is a file of ours.
    fn check_link(&self, file: &str, target: &str, report: &mut impl FnMut(String)) {
        let path = target.split('#').next().unwrap_or_default();
        if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
            return;
        }
        let folder = Path::new(file).parent().unwrap_or(Path::new(""));
        if !self.root.join(folder).join(path).exists() {
            report(format!("links to {path}, which does not exist"));
        }
    }
}

/// The targets of the links and pictures in a line: `[text](target)`, `src="target"`.
fn links(line: &str) -> Vec<&str> {
    let between = |open: &str, close: char| -> Vec<&str> {
        line.match_indices(open)
            .filter_map(|(at, _)| line[at + open.len()..].split_once(close))
            .map(|(target, _)| target)
            .collect()
    };
    [
        between("](", ')'),
        between("src=\"", '"'),
        between("srcset=\"", '"'),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("crates/monitor-a/src")).unwrap();
        fs::create_dir_all(root.path().join("docs/images")).unwrap();
        fs::write(root.path().join("docs/images/page.png"), "").unwrap();
        let known = Known {
            root: root.path(),
            verbs: vec!["ci".into(), "tidy".into()],
            packages: vec!["monitor-a".into()],
        };
        let mut findings = Vec::new();
        known.check("docs/A.md", text, &mut findings);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_exists_may_be_named() {
        let text = "`crates/monitor-a/src`, `monitor-a`, `cargo xtask ci --json x`, `crates/*/src`\n\
                    ![page](images/page.png) [web](https://example.org/x) [here](#top) a|b\n\
                    ```sh\ncargo xtask tidy\n```\n";
        assert_eq!(check(text), [""; 0]);
    }

    #[test]
    fn what_does_not_exist_is_found() {
        let text = "`crates/monitor-b/src`\n`monitor-b` and `monitor-a`\n`cargo xtask fly`\n\
                    ```sh\ncargo xtask swim\n```\n[x](images/other.png)\n<img src=\"no.png\">\n";
        let found = check(text);
        let expected = [
            "docs/A.md:1: `crates/monitor-b/src` does not exist",
            "docs/A.md:2: there is no crate `monitor-b`",
            "docs/A.md:3: there is no `cargo xtask fly`; there are ci, tidy",
            "docs/A.md:5: there is no `cargo xtask swim`; there are ci, tidy",
            "docs/A.md:7: links to images/other.png, which does not exist",
            "docs/A.md:8: links to no.png, which does not exist",
        ];
        assert_eq!(found, expected);
    }
}
