//! What is where: the root, the target folder and the crates with their manifests.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The checked-out workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The folder of the root manifest.
    pub(crate) root: PathBuf,
    /// The root manifest.
    pub(crate) manifest: toml::Table,
    /// The members, in the order of their names.
    pub(crate) packages: Vec<Package>,
}

/// One member.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Its folder, relative to the root and with slashes: `crates/monitor-backoff`.
    pub(crate) folder: String,
    pub(crate) manifest: toml::Table,
}

impl Workspace {
    /// Finds the workspace around the current directory and reads its manifests.
    pub(crate) fn find() -> Result<Self> {
        let here = env::current_dir().context("cannot tell the current directory")?;
        let Some(root) = here.ancestors().find(|folder| is_root(folder)) else {
            bail!(
                "{} is not inside the workspace: change into the checkout",
                here.display()
            );
        };
        Self::read(root)
    }

    /// Reads the manifests of the workspace at `root`.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let manifest = read_toml(&root.join("Cargo.toml"))?;
        let mut packages = Vec::new();
        for name in folders(&root.join("crates"))? {
            let folder = format!("crates/{name}");
            let excluded = list(&manifest, &["workspace", "exclude"]).any(|path| path == folder);
            if !excluded {
                packages.push(Package::read(root, folder)?);
            }
        }
        packages.push(Package::read(root, "xtask".into())?);
        Ok(Self {
            root: root.to_owned(),
            manifest,
            packages,
        })
    }

    /// Where cargo puts what it builds, `CARGO_TARGET_DIR` included.
    pub(crate) fn target(&self) -> PathBuf {
        match env::var_os("CARGO_TARGET_DIR").filter(|path| !path.is_empty()) {
            // Cargo reads a relative one from the current directory, which stays the same here.
            Some(path) => env::current_dir()
                .unwrap_or_else(|_| self.root.clone())
                .join(path),
            None => self.root.join("target"),
        }
    }

    /// The package of that name.
    ///
    /// # Errors
    ///
    /// There is none; the error lists those there are.
    pub(crate) fn package(&self, name: &str) -> Result<&Package> {
        self.packages
            .iter()
            .find(|package| package.name == name)
            .with_context(|| {
                let names: Vec<_> = self.packages.iter().map(|package| &*package.name).collect();
                format!(
                    "no package `{name}` in the workspace; there are {}",
                    names.join(", ")
                )
            })
    }

    /// The packages that are published to be depended on, in the order of their names: libraries,
    /// and not those beside a program.
    pub(crate) fn published_libraries(&self) -> impl Iterator<Item = &Package> {
        let has =
            |package: &Package, file: &str| self.root.join(&package.folder).join(file).exists();
        self.packages.iter().filter(move |package| {
            package.is_published() && has(package, "src/lib.rs") && !has(package, "src/main.rs")
        })
    }
}

impl Package {
    fn read(root: &Path, folder: String) -> Result<Self> {
        let path = root.join(&folder).join("Cargo.toml");
        let manifest = read_toml(&path)?;
        let name = manifest
            .get("package")
            .and_then(|package| package.get("name"))
            .and_then(toml::Value::as_str)
            .with_context(|| format!("{}: package.name is missing", path.display()))?
            .to_owned();
        Ok(Self {
            name,
            folder,
            manifest,
        })
    }

    /// Whether it is meant for a registry.
    pub(crate) fn is_published(&self) -> bool {
        let publish = self
            .manifest
            .get("package")
            .and_then(|package| package.get("publish"));
        publish.and_then(toml::Value::as_bool) != Some(false)
    }

    /// Whether it has loom models: they are what the private configuration is for.
    pub(crate) fn has_loom_models(&self) -> bool {
        let target = self.manifest.get("target").and_then(toml::Value::as_table);
        target.is_some_and(|target| target.contains_key("cfg(monitor_loom)"))
    }

    /// The dependency tables, as (where it stands, name as written, value). Those for a target
    /// are included.
    pub(crate) fn dependencies(&self) -> Vec<(String, &str, &toml::Value)> {
        let mut found = Vec::new();
        collect_dependencies("", &self.manifest, &mut found);
        if let Some(targets) = self.manifest.get("target").and_then(toml::Value::as_table) {
            for (target, tables) in targets {
                if let Some(tables) = tables.as_table() {
                    collect_dependencies(&format!("target.'{target}'."), tables, &mut found);
                }
            }
        }
        found
    }
}

fn collect_dependencies<'a>(
    prefix: &str,
    tables: &'a toml::Table,
    found: &mut Vec<(String, &'a str, &'a toml::Value)>,
) {
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(table) = tables.get(kind).and_then(toml::Value::as_table) else {
            continue;
        };
        for (name, value) in table {
            found.push((format!("{prefix}{kind}"), name, value));
        }
    }
}

/// The strings of the array at `path`, none if there is no such array.
fn list<'a>(table: &'a toml::Table, path: &[&str]) -> impl Iterator<Item = &'a str> + use<'a> {
    let (first, rest) = path
        .split_first()
        .map_or(("", &[][..]), |(first, rest)| (*first, rest));
    let value = rest.iter().fold(table.get(first), |value, key| {
        value.and_then(|v| v.get(key))
    });
    value
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(toml::Value::as_str)
}

/// Reads and parses a TOML file.
pub(crate) fn read_toml(path: &Path) -> Result<toml::Table> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.parse()
        .with_context(|| format!("{} is not valid TOML", path.display()))
}

/// The names of the folders inside `parent` that hold a manifest, sorted.
fn folders(parent: &Path) -> Result<Vec<String>> {
    let entries =
        fs::read_dir(parent).with_context(|| format!("cannot list {}", parent.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", parent.display()))?;
        if entry.path().join("Cargo.toml").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn is_root(folder: &Path) -> bool {
    folder.join("xtask/Cargo.toml").is_file()
        && fs::read_to_string(folder.join("Cargo.toml"))
            .is_ok_and(|text| text.lines().any(|line| line.trim() == "[workspace]"))
}
