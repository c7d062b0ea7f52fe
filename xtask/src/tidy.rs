//! `tidy`: the rules of the house that no compiler checks. Plain reading, nothing is built.
//!
//! Each rule is a function that reads the tree and adds [`Finding`]s: where, what is wrong, and
//! what would be right. None of them stops at its first.

mod documents;
mod invariants;
mod layers;
mod lexer;
mod manifests;
mod requirements;
mod sources;
mod top_level;

use std::fmt;

use anyhow::{Result, bail};

use crate::workspace::Workspace;
use sources::Sources;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Relative to the root, with slashes.
    file: String,
    /// From 1; 0 when it is about the file as a whole.
    line: usize,
    /// What is wrong and what would be right.
    what: String,
}

impl Finding {
    fn new(file: impl Into<String>, line: usize, what: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what),
            line => write!(f, "{}:{line}: {}", self.file, self.what),
        }
    }
}

/// The chore: with `fix` writes the generated documents again, then checks. `false` when there
/// are findings.
pub(crate) fn run(workspace: &Workspace, fix: bool) -> Result<bool> {
    if fix {
        let sources = Sources::read(&workspace.root)?;
        if requirements::rewrite(&workspace.root, &sources)? {
            println!("{} written", requirements::FILE);
        }
    }
    match check(workspace) {
        Ok(note) => {
            println!("tidy: {note}");
            Ok(true)
        }
        Err(error) => {
            println!("{error:#}");
            Ok(false)
        }
    }
}

/// Checks everything; the error lists all findings.
pub(crate) fn check(workspace: &Workspace) -> Result<String> {
    let sources = Sources::read(&workspace.root)?;
    let mut findings = Vec::new();
    // A document that is missing is found here; the rules about it have nothing to say then.
    top_level::check(&workspace.root, &mut findings)?;
    manifests::check(workspace, &mut findings)?;
    layers::check(workspace, &mut findings);
    sources.check(&mut findings);
    invariants::check(&workspace.root, &sources, &mut findings)?;
    requirements::check(&workspace.root, &sources, &mut findings)?;
    documents::check(workspace, &mut findings)?;
    findings.sort();
    if findings.is_empty() {
        return Ok(format!("{} files", sources.files.len()));
    }
    let lines: Vec<_> = findings.iter().map(Finding::to_string).collect();
    let findings = if lines.len() == 1 {
        "finding"
    } else {
        "findings"
    };
    bail!("{}\n\n{} {findings}", lines.join("\n"), lines.len())
}
