//! `consume`: every library as its users get it, each one alone.
//!
//! The crates are packaged, unpacked in a temporary folder outside the workspace, and used there
//! by one small program each (`xtask/consume/<crate>.rs`) that depends on that crate and no other
//! of ours: with its default features, and without. What the workspace lends its members by
//! accident - features, patches, neighbours - is not there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::run::{cargo, output};
use crate::steps::{Progress, Step};
use crate::workspace::{Package, Workspace};

/// The most run-time packages that a crate may bring along, where that is a promise.
const LIMITS: [(&str, usize); 1] = [("monitor-backoff", 3)];

/// One step for one library or for all.
pub(crate) fn steps<'a>(workspace: &'a Workspace, package: Option<&str>) -> Result<Vec<Step<'a>>> {
    let libraries: Vec<&Package> = match package {
        Some(name) => {
            let package = workspace.package(name)?;
            if !workspace
                .published_libraries()
                .any(|library| library.name == name)
            {
                bail!("{name} is not a library that is published, so nobody can depend on it");
            }
            vec![package]
        }
        None => workspace.published_libraries().collect(),
    };
    Ok(vec![Step::new("consume", move |progress| {
        consume(workspace, &libraries, progress)
    })])
}

fn consume(
    workspace: &Workspace,
    libraries: &[&Package],
    progress: &mut Progress,
) -> Result<String> {
    let place = Place::prepare(workspace, progress)?;
    let mut problems = Vec::new();
    for library in libraries {
        if let Err(problem) = use_alone(&place, library, progress) {
            problems.push(format!("{}: {problem:#}", library.name));
        }
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("\n\n"));
    }
    Ok(format!(
        "{} crates, each alone, with and without default features",
        libraries.len()
    ))
}

/// Counts what one library brings along, and builds and runs its program twice.
fn use_alone(place: &Place<'_>, library: &Package, progress: &Progress) -> Result<()> {
    let name = &library.name;
    let count = place.run_time_packages(library, progress)?;
    let limit = LIMITS
        .iter()
        .find(|(limited, _)| limited == name)
        .map(|(_, limit)| *limit);
    let packages = if count == 1 { "package" } else { "packages" };
    let allowed = limit
        .map(|limit| format!(" (at most {limit})"))
        .unwrap_or_default();
    progress.print(&format!("{name:18} {count:3} run-time {packages}{allowed}"));
    if limit.is_some_and(|limit| count > limit) {
        bail!("too many run-time packages: see `cargo tree -p {name} -e normal,no-proc-macro`");
    }
    let project = Project::create(place, library)?;
    project.run(place, true, progress)?;
    project.run(place, false, progress)
}

/// The temporary folder with the unpacked crates.
struct Place<'a> {
    workspace: &'a Workspace,
    folder: TempDir,
    /// Shared by all projects, so that what they have in common is built once.
    target: PathBuf,
}

impl<'a> Place<'a> {
    /// Packages what is published and unpacks it.
    fn prepare(workspace: &'a Workspace, progress: &Progress) -> Result<Self> {
        let published: Vec<_> = workspace
            .packages
            .iter()
            .filter(|p| p.is_published())
            .collect();
        progress.say("packaging");
        let mut package = cargo(
            workspace,
            &["package", "--no-verify", "--allow-dirty", "--quiet"],
        );
        package.args(
            published
                .iter()
                .flat_map(|package| ["--package", &package.name]),
        );
        progress.run(&mut package)?;

        let target = workspace.target().join("consume");
        remove_ours(&target)?;
        let folder = tempfile::Builder::new()
            .prefix("monitor-consume-")
            .tempdir()
            .context("cannot create a temporary folder")?;
        let place = Self {
            workspace,
            folder,
            target,
        };
        let packed = workspace.target().join("package");
        let version = version(workspace)?;
        let mut patches = String::from("[patch.crates-io]\n");
        for package in published {
            let file = packed.join(format!("{}-{version}.crate", package.name));
            place.unpack(&file)?;
            let unpacked = place.unpacked(package)?;
            patches.push_str(&format!("{} = {{ path = {unpacked:?} }}\n", package.name));
        }
        // Holds for everything below this folder: ours come from here instead of the registry.
        let cargo_folder = place.folder.path().join(".cargo");
        fs::create_dir(&cargo_folder).context("cannot create the configuration folder")?;
        fs::write(cargo_folder.join("config.toml"), patches)
            .context("cannot write the configuration")?;
        Ok(place)
    }

    fn unpack(&self, file: &Path) -> Result<()> {
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--gzip", "--file"]).arg(file);
        tar.arg("--directory").arg(self.folder.path());
        output(&mut tar).map(drop)
    }

    /// Where the package was unpacked.
    fn unpacked(&self, package: &Package) -> Result<PathBuf> {
        let name = format!("{}-{}", package.name, version(self.workspace)?);
        Ok(self.folder.path().join(name))
    }

    /// A cargo command that is run in `folder`, far from the workspace.
    fn cargo(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = cargo(self.workspace, arguments);
        command
            .current_dir(folder)
            .env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// How many packages a program gets through `library` with its default features: procedural
    /// macros and what they need apart, and the library itself apart.
    fn run_time_packages(&self, library: &Package, progress: &Progress) -> Result<usize> {
        let folder = self.unpacked(library)?;
        let arguments = [
            "tree",
            "--edges",
            "normal,no-proc-macro",
            "--prefix",
            "none",
            "--quiet",
        ];
        let tree = progress.capture(&mut self.cargo(&folder, &arguments))?;
        Ok(count_packages(&tree).saturating_sub(1))
    }
}

/// Removes what earlier runs built of our crates. Each run unpacks them elsewhere, so none of it
/// would be used again; what they depend on is kept.
fn remove_ours(target: &Path) -> Result<()> {
    for part in [".fingerprint", "deps", "incremental"] {
        let Ok(entries) = fs::read_dir(target.join("debug").join(part)) else {
            continue;
        };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().contains("monitor") {
                let path = entry.path();
                let removed = if path.is_dir() {
                    fs::remove_dir_all(&path)
                } else {
                    fs::remove_file(&path)
                };
                removed.with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
    }
    Ok(())
}

/// The version of all our crates.
fn version(workspace: &Workspace) -> Result<&str> {
    let package = workspace
        .manifest
        .get("workspace")
        .and_then(|table| table.get("package"));
    package
        .and_then(|package| package.get("version"))
        .and_then(toml::Value::as_str)
        .context("Cargo.toml: workspace.package.version is missing")
}

/// The different packages in the output of `cargo tree --prefix none`.
fn count_packages(tree: &str) -> usize {
    let names = tree.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()?))
    });
    names.collect::<BTreeSet<_>>().len()
}

/// A small project that uses one library.
struct Project {
    library: String,
    folder: PathBuf,
    /// What its program has to print.
    expected: String,
}

impl Project {
    fn create(place: &Place<'_>, library: &Package) -> Result<Self> {
        let name = &library.name;
        let source = place
            .workspace
            .root
            .join(format!("xtask/consume/{name}.rs"));
        let program = fs::read_to_string(&source).with_context(|| {
            format!(
                "cannot read {}: each published library has a program there that uses it",
                source.display()
            )
        })?;
        let expected = expected(&program);
        if expected.is_empty() {
            bail!(
                "{}: say what it prints in lines that begin with `//> `",
                source.display()
            );
        }
        let folder = place.folder.path().join(format!("uses-{name}"));
        fs::create_dir_all(folder.join("src"))
            .with_context(|| format!("cannot create {}", folder.display()))?;
        fs::write(folder.join("src/main.rs"), &program)?;
        fs::write(
            folder.join("Cargo.toml"),
            manifest(library, version(place.workspace)?, &program),
        )?;
        // The same versions as in the workspace, as far as they are needed.
        fs::copy(
            place.workspace.root.join("Cargo.lock"),
            folder.join("Cargo.lock"),
        )
        .context("cannot copy Cargo.lock")?;
        Ok(Self {
            library: name.clone(),
            folder,
            expected,
        })
    }

    /// Builds and runs it and compares what it prints.
    fn run(&self, place: &Place<'_>, default_features: bool, progress: &Progress) -> Result<()> {
        let with = if default_features { "with" } else { "without" };
        progress.say(&format!("{} {with} default features", self.library));
        let mut command = place.cargo(&self.folder, &["run", "--quiet"]);
        if !default_features {
            command.arg("--no-default-features");
        }
        let printed = progress
            .capture(&mut command)
            .with_context(|| format!("alone, {with} default features"))?;
        if printed != self.expected {
            bail!(
                "xtask/consume/{}.rs {with} default features printed\n{printed}\
                 where it says that it prints\n{}",
                self.library,
                self.expected
            );
        }
        Ok(())
    }
}

/// The manifest of the project for `library`. Its own feature `full`, which is on by default,
/// stands for the library's default features, so that the program can ask for it with
/// `#[cfg(feature = "full")]`.
///
/// A line `//+ name = ...` of the program is one more dependency, such as the runtime that an
/// asynchronous library is driven by.
fn manifest(library: &Package, version: &str, program: &str) -> String {
    let name = &library.name;
    let features = library
        .manifest
        .get("features")
        .and_then(toml::Value::as_table);
    let full = match features.is_some_and(|features| features.contains_key("default")) {
        true => format!("\"{name}/default\""),
        false => String::new(),
    };
    let more: String = marked(program, "//+ ");
    format!(
        r#"[package]
name = "uses-{name}"
version = "0.0.0"
edition = "2024"
publish = false

[features]
default = ["full"]
full = [{full}]

[dependencies]
{name} = {{ version = "{version}", default-features = false }}
{more}
[profile.dev]
debug = false
incremental = false

[workspace]
"#
    )
}

/// What the program says that it prints.
fn expected(program: &str) -> String {
    marked(program, "//> ")
}

/// The rest of each line that begins with `mark`.
fn marked(program: &str, mark: &str) -> String {
    program
        .lines()
        .filter_map(|line| line.strip_prefix(mark))
        .fold(String::new(), |mut all, line| {
            all.push_str(line);
            all.push('\n');
            all
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(features: &str) -> Package {
        Package {
            name: "monitor-x".into(),
            folder: "crates/monitor-x".into(),
            manifest: features.parse().unwrap(),
        }
    }

    #[test]
    fn a_package_counts_once() {
        let tree = "monitor-x v0.1.0 (/tmp/x)\nrand v0.10.0\nrand_core v0.10.0\nrand v0.10.0 (*)\n\
                    \nrand_core v0.9.0\n";
        assert_eq!(count_packages(tree), 4);
    }

    #[test]
    fn the_manifest_parses_and_maps_default_features() {
        let program = "//! Uses it.\n//+ tokio = { version = \"1\", features = [\"rt\"] }\n";
        let text = manifest(&package("[features]\ndefault = []\n"), "0.1.0", program);
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(
            table["features"]["full"][0].as_str(),
            Some("monitor-x/default")
        );
        assert_eq!(
            table["dependencies"]["monitor-x"]["default-features"].as_bool(),
            Some(false)
        );
        assert_eq!(
            table["dependencies"]["tokio"]["features"][0].as_str(),
            Some("rt")
        );
        let bare: toml::Table = manifest(&package(""), "0.1.0", "").parse().unwrap();
        assert_eq!(bare["features"]["full"].as_array().unwrap().len(), 0);
    }

    #[test]
    fn the_program_says_what_it_prints() {
        let program = "//! Uses it.\n//> one\n//> two words\nfn main() { } //> not this\n";
        assert_eq!(expected(program), "one\ntwo words\n");
    }
}
