//! On what was measured, and with which versions.

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use anyhow::Result;
use toml::{Table, Value};

use super::FOLDER;
use crate::run;
use crate::workspace::{Workspace, read_toml};

/// A paragraph about the machine and one about the peers.
pub(super) fn about(workspace: &Workspace) -> Result<String> {
    let rustc = run::output(Command::new("rustc").arg("--version"))?;
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let manifest = read_toml(&workspace.root.join(FOLDER).join("Cargo.toml"))?;
    let lock = read_toml(&workspace.root.join(FOLDER).join("Cargo.lock"))?;
    Ok(format!(
        "{}, {}, fat LTO, one codegen unit.\n\nMeasured against {}.",
        processor(&cpuinfo),
        rustc.trim().split(" (").next().unwrap_or_default(),
        versions(&manifest, &lock).join(", ")
    ))
}

/// How many processors there are, and of which family; no name.
fn processor(cpuinfo: &str) -> String {
    let values: HashMap<&str, &str> = cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect();
    let count = cpuinfo
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let value = |key: &str| values.get(key).copied().unwrap_or("unknown");
    let hypervisor = value("flags").split(' ').any(|flag| flag == "hypervisor");
    let place = if hypervisor {
        " of a virtual machine"
    } else {
        ""
    };
    format!(
        "{count} processors{place} ({} family {} model {})",
        value("vendor_id"),
        value("cpu family"),
        value("model")
    )
}

/// The peers with their locked versions: what the manifest takes from elsewhere.
fn versions(manifest: &Table, lock: &Table) -> Vec<String> {
    let dependencies = manifest.get("dependencies").and_then(Value::as_table);
    let packages = lock.get("package").and_then(Value::as_array);
    let version = |name: &str| {
        let mut found = packages
            .into_iter()
            .flatten()
            .filter(|package| package.get("name").and_then(Value::as_str) == Some(name))
            .filter_map(|package| package.get("version")?.as_str());
        // Of two versions in the lock file, the later is the one that is depended on directly.
        found.next_back().map(|version| format!("{name} {version}"))
    };
    dependencies
        .into_iter()
        .flatten()
        .filter(|(_, value)| value.get("path").is_none())
        .filter(|(name, _)| !["rustix", "serde_json"].contains(&name.as_str()))
        .filter_map(|(name, _)| version(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_of_the_machine_is_said_and_no_name() {
        let cpuinfo = "processor\t: 0\nvendor_id\t: V\ncpu family\t: 6\nmodel\t\t: 85\n\
                       model name\t: Secret\nflags\t\t: fpu hypervisor\n\nprocessor\t: 1\n";
        assert_eq!(
            processor(cpuinfo),
            "2 processors of a virtual machine (V family 6 model 85)"
        );
        assert_eq!(
            processor(""),
            "0 processors (unknown family unknown model unknown)"
        );
    }

    #[test]
    fn peers_have_the_versions_of_the_lock_file() {
        let manifest =
            "[dependencies]\nours = { path = \"../ours\" }\nbb8 = \"0.9\"\nrand = \"0.10\"\n";
        let lock = "[[package]]\nname = \"bb8\"\nversion = \"0.9.1\"\n\
                    [[package]]\nname = \"rand\"\nversion = \"0.8.6\"\n\
                    [[package]]\nname = \"rand\"\nversion = \"0.10.2\"\n";
        let versions = versions(&manifest.parse().unwrap(), &lock.parse().unwrap());
        assert_eq!(versions, ["bb8 0.9.1", "rand 0.10.2"]);
    }
}
