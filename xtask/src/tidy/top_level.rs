//! What may lie at the top: a newcomer should take it in at a glance.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Finding;

const ALLOWED: [&str; 17] = [
    ".cargo",
    ".ci",
    ".config",
    ".git",
    ".github",
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "clippy.toml",
    "crates",
    "deny.toml",
    "docs",
    "rustfmt.toml",
    "xtask",
];

/// What has to be there for the rest to make sense.
const REQUIRED: [&str; 12] = [
    ".ci/run",
    ".github/CONTRIBUTING.md",
    ".github/SECURITY.md",
    ".github/workflows/ci.yml",
    "Cargo.lock",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "docs/ARCHITECTURE.md",
    "docs/GLOSSARY.md",
    "docs/INVARIANTS.md",
    "docs/REQUIREMENTS.md",
];

pub(super) fn check(root: &Path, findings: &mut Vec<Finding>) -> Result<()> {
    let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
    let entries = fs::read_dir(root).with_context(|| format!("cannot list {}", root.display()))?;
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let ignored = ignored.lines().any(|line| line.trim_matches('/') == name);
        if !ignored && !ALLOWED.contains(&name.as_str()) {
            let what = "does not belong at the top level: code goes to crates/ or xtask/, \
                        documents go to docs/";
            findings.push(Finding::new(name, 0, what));
        }
    }
    for path in REQUIRED {
        if !root.join(path).exists() {
            findings.push(Finding::new(path, 0, "is missing"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_file_is_found_and_an_ignored_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(".gitignore"), "/target\n").unwrap();
        fs::create_dir(root.path().join("target")).unwrap();
        fs::write(root.path().join("notes.txt"), "").unwrap();
        for path in REQUIRED {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let mut findings = Vec::new();
        check(root.path(), &mut findings).unwrap();
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].file, "notes.txt");
        fs::remove_file(root.path().join("LICENSE-MIT")).unwrap();
        check(root.path(), &mut findings).unwrap();
        assert!(findings.contains(&Finding::new("LICENSE-MIT", 0, "is missing")));
    }
}
