//! What every manifest has to say, and where it may not speak for itself.

use std::fs;
use std::path::Path;

use anyhow::Result;
use toml::{Table, Value};

use super::Finding;
use crate::workspace::{Package, Workspace, read_toml};

/// What all members take from the workspace.
const INHERITED: [&str; 5] = ["version", "edition", "rust-version", "license", "lints"];

/// The crates outside the workspace, each with a lock file of its own.
const APART: [&str; 1] = ["crates/monitor-bench"];

pub(super) fn check(workspace: &Workspace, findings: &mut Vec<Finding>) -> Result<()> {
    check_workspace_table(workspace, findings);
    for package in &workspace.packages {
        check_member(&workspace.root, package, findings);
        check_dependencies(workspace, package, findings);
        check_library(&workspace.root, package, findings);
    }
    for folder in APART {
        check_apart(&workspace.root, folder, findings)?;
    }
    Ok(())
}

/// Ours in the workspace's table: with path, and with version where the crate is published.
fn check_workspace_table(workspace: &Workspace, findings: &mut Vec<Finding>) {
    let table = workspace_dependencies(workspace);
    let version = workspace
        .manifest
        .get("workspace")
        .and_then(|table| table.get("package"));
    let version = version.and_then(|package| package.get("version"));
    for package in workspace
        .packages
        .iter()
        .filter(|package| package.name != "xtask")
    {
        // One that no other depends on needs no entry.
        let Some(entry) = table.and_then(|table| table.get(&package.name)) else {
            continue;
        };
        if entry.get("path").and_then(Value::as_str) != Some(&package.folder) {
            let what = format!("`{}` needs path = \"{}\"", package.name, package.folder);
            findings.push(Finding::new("Cargo.toml", 0, what));
        }
        if package.is_published()
            && (entry.get("version").is_none() || entry.get("version") != version)
        {
            let what = format!(
                "`{}` needs a version equal to workspace.package.version, or its users cannot be \
                 published",
                package.name
            );
            findings.push(Finding::new("Cargo.toml", 0, what));
        }
    }
}

fn check_member(root: &Path, package: &Package, findings: &mut Vec<Finding>) {
    let file = format!("{}/Cargo.toml", package.folder);
    let mut report = |what: String| findings.push(Finding::new(&*file, 0, what));
    let folder_name = package.folder.rsplit('/').next();
    if folder_name != Some(&package.name) {
        report(format!(
            "package.name is `{}`: name package and folder alike",
            package.name
        ));
    }
    let described = package.manifest.get("package").and_then(Value::as_table);
    for key in INHERITED {
        let value = match key {
            "lints" => package.manifest.get(key),
            _ => described.and_then(|described| described.get(key)),
        };
        let inherits = value
            .and_then(|value| value.get("workspace"))
            .and_then(Value::as_bool);
        if inherits != Some(true) {
            report(format!(
                "`{key}` does not come from the workspace: {key}.workspace = true"
            ));
        }
    }
    for key in ["description", "readme", "keywords", "categories"] {
        if package.is_published() && described.is_none_or(|described| !described.contains_key(key))
        {
            report(format!(
                "package.{key} is missing; a published crate needs it"
            ));
        }
    }
    if package.folder != "xtask" && !root.join(&package.folder).join("README.md").is_file() {
        report("the crate has no README.md".into());
    }
}

/// Every version stands once, in the table of the workspace.
fn check_dependencies(workspace: &Workspace, package: &Package, findings: &mut Vec<Finding>) {
    let file = format!("{}/Cargo.toml", package.folder);
    for (section, name, value) in package.dependencies() {
        let shared = value.get("workspace").and_then(Value::as_bool) == Some(true);
        // A crate may name itself, to test with its own features on.
        let itself = name == package.name && value.get("path").and_then(Value::as_str) == Some(".");
        if !shared && !itself {
            let ours = workspace
                .packages
                .iter()
                .any(|package| package.name == name);
            let why = if ours {
                "path and version"
            } else {
                "its version"
            };
            let what =
                format!("[{section}] {name}: take {why} from the table in the root manifest");
            findings.push(Finding::new(&*file, 0, what));
        }
    }
}

/// The first lines of the crate's root.
fn check_library(root: &Path, package: &Package, findings: &mut Vec<Finding>) {
    let library = format!("{}/src/lib.rs", package.folder);
    let binary = format!("{}/src/main.rs", package.folder);
    let text = |path: &str| fs::read_to_string(root.join(path)).ok();
    for (path, text) in [(&library, text(&library)), (&binary, text(&binary))] {
        let Some(text) = text else { continue };
        let has = |wanted: &str| text.lines().any(|line| line.trim() == wanted);
        for wanted in wanted_lines(path) {
            if !has(wanted) {
                findings.push(Finding::new(path, 1, format!("needs the line `{wanted}`")));
            }
        }
    }
}

fn wanted_lines(path: &str) -> &'static [&'static str] {
    if path.ends_with("lib.rs") {
        &[
            "#![doc = include_str!(\"../README.md\")]",
            "#![forbid(unsafe_code)]",
        ]
    } else {
        &["#![forbid(unsafe_code)]"]
    }
}

/// A crate with a lock file of its own, so that what it depends on stays out of ours.
fn check_apart(root: &Path, folder: &str, findings: &mut Vec<Finding>) -> Result<()> {
    let path = root.join(folder);
    if !path.is_dir() {
        return Ok(());
    }
    let manifest = read_toml(&path.join("Cargo.toml"))?;
    let file = format!("{folder}/Cargo.toml");
    if manifest
        .get("workspace")
        .and_then(Value::as_table)
        .is_none_or(|table| !table.is_empty())
    {
        findings.push(Finding::new(
            &*file,
            0,
            "needs an empty [workspace] of its own",
        ));
    }
    let publish = manifest
        .get("package")
        .and_then(|package| package.get("publish"));
    if publish.and_then(Value::as_bool) != Some(false) {
        findings.push(Finding::new(&*file, 0, "needs publish = false"));
    }
    if !path.join("Cargo.lock").is_file() {
        let what =
            "is missing: build the crate once and commit it, so that figures can be repeated";
        findings.push(Finding::new(format!("{folder}/Cargo.lock"), 0, what));
    }
    Ok(())
}

fn workspace_dependencies(workspace: &Workspace) -> Option<&Table> {
    workspace
        .manifest
        .get("workspace")?
        .get("dependencies")?
        .as_table()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(manifest: &str) -> Package {
        Package {
            name: "monitor-a".into(),
            folder: "crates/monitor-a".into(),
            manifest: manifest.parse().unwrap(),
        }
    }

    fn workspace(manifest: &str, packages: Vec<Package>) -> Workspace {
        Workspace {
            root: "/nowhere".into(),
            manifest: manifest.parse().unwrap(),
            packages,
        }
    }

    fn texts(findings: &[Finding]) -> String {
        findings
            .iter()
            .map(|finding| format!("{finding}\n"))
            .collect()
    }

    #[test]
    fn what_a_member_leaves_out_is_found() {
        let mut findings = Vec::new();
        let good = "[package]\nversion.workspace = true\nedition.workspace = true\n\
                    rust-version.workspace = true\nlicense.workspace = true\npublish = false\n\
                    [lints]\nworkspace = true\n";
        check_member(Path::new("/nowhere"), &package(good), &mut findings);
        assert_eq!(
            texts(&findings),
            "crates/monitor-a/Cargo.toml: the crate has no README.md\n"
        );
        findings.clear();
        let bad = good.replace("edition.workspace = true", "edition = \"2021\"");
        let bad = bad
            .replace("publish = false\n", "")
            .replace("[lints]\nworkspace = true\n", "");
        check_member(Path::new("/nowhere"), &package(&bad), &mut findings);
        let found = texts(&findings);
        for part in [
            "`edition` does not",
            "`lints` does not",
            "package.description is missing",
        ] {
            assert!(found.contains(part), "{part} in {found}");
        }
    }

    #[test]
    fn a_version_outside_the_table_is_found_in_every_section() {
        let manifest = "[dependencies]\ntokio = \"1\"\nserde.workspace = true\n\
                        [target.'cfg(monitor_loom)'.dependencies]\nloom = \"0.7\"\n\
                        [dev-dependencies]\nproptest = { version = \"1\" }\n\
                        monitor-a = { path = \".\", features = [\"x\"] }\n";
        let mut findings = Vec::new();
        let package = package(manifest);
        let workspace = workspace("", vec![]);
        check_dependencies(&workspace, &package, &mut findings);
        let found = texts(&findings);
        assert_eq!(findings.len(), 3, "{found}");
        assert!(found.contains("[target.'cfg(monitor_loom)'.dependencies] loom: take its version"));
    }

    #[test]
    fn ours_need_path_and_version() {
        let table = "[workspace.package]\nversion = \"0.1.0\"\n[workspace.dependencies]\n";
        let entry = "monitor-a = { path = \"crates/monitor-a\", version = \"0.1.0\" }\n";
        let check = |entry: &str| {
            let mut findings = Vec::new();
            let workspace = workspace(&format!("{table}{entry}"), vec![package("")]);
            check_workspace_table(&workspace, &mut findings);
            texts(&findings)
        };
        assert_eq!(check(entry), "");
        assert!(check(&entry.replace("0.1.0", "0.2.0")).contains("needs a version equal"));
        assert!(check(&entry.replace("crates/", "")).contains("needs path"));
    }
}
