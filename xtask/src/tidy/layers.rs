//! Which of our crates may depend on which other.

use super::Finding;
use crate::workspace::{Package, Workspace};

/// For each crate what it may depend on, without the prefix `monitor-`. A crate that is not
/// listed may depend on none of ours.
const ALLOWED: [(&str, &[&str]); 12] = [
    ("backoff", &[]),
    ("operation", &[]),
    ("pressure", &[]),
    ("fault", &["backoff"]),
    ("breaker", &["backoff"]),
    ("pool", &["backoff"]),
    ("supervisor", &["backoff"]),
    ("scheduler", &["backoff", "operation"]),
    ("model", &["fault", "operation"]),
    ("jobs", &["pool", "backoff", "fault"]),
    // The epoch that a commit is fenced with is the operation's.
    (
        "store",
        &["model", "operation", "pool", "fault", "backoff", "jobs"],
    ),
    ("probes", &["model", "pool", "fault"]),
];

/// What the facade wires together.
const CORE: [&str; 9] = [
    "backoff",
    "fault",
    "operation",
    "breaker",
    "pool",
    "scheduler",
    "supervisor",
    "pressure",
    "model",
];

pub(super) fn check(workspace: &Workspace, findings: &mut Vec<Finding>) {
    for package in &workspace.packages {
        for (section, name, _) in package.dependencies() {
            let ours = workspace
                .packages
                .iter()
                .any(|package| package.name == name);
            if ours && !may_depend(&package.name, name) && !may_test_with(&section, package, name) {
                let allowed = allowed(&package.name).join(", ");
                let what = format!(
                    "[{section}] {name}: {} may depend only on [{allowed}] of ours",
                    package.name
                );
                let file = format!("{}/Cargo.toml", package.folder);
                findings.push(Finding::new(file, 0, what));
            }
        }
    }
}

/// A test may use the kit, the crate itself with other features, and what the crate has anyway
/// through another.
fn may_test_with(section: &str, package: &Package, name: &str) -> bool {
    let indirect = || {
        allowed(&package.name)
            .iter()
            .any(|between| may_depend(between, name))
    };
    section.ends_with("dev-dependencies")
        && (name == "monitor-testkit" || name == package.name || indirect())
}

fn may_depend(from: &str, to: &str) -> bool {
    let to = to.strip_prefix("monitor-").unwrap_or(to);
    match from {
        // The daemon sees everything but what is private.
        "monitord" => to != "testkit" && to != "xtask",
        _ => allowed(from).contains(&to),
    }
}

fn allowed(from: &str) -> &'static [&'static str] {
    match from.strip_prefix("monitor-").unwrap_or(from) {
        "core" => &CORE,
        "xtask" => &["testkit"],
        name => ALLOWED
            .iter()
            .find(|(crate_name, _)| *crate_name == name)
            .map_or(&[], |row| row.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_on_the_wrong_side_is_found() {
        let package = |name: &str, manifest: &str| Package {
            name: name.into(),
            folder: format!("crates/{name}"),
            manifest: manifest.parse().unwrap(),
        };
        let packages = vec![
            package(
                "monitor-breaker",
                "[dependencies]\nmonitor-scheduler.workspace = true\n",
            ),
            package(
                "monitor-probes",
                "[dev-dependencies]\nmonitor-testkit.workspace = true\n",
            ),
            package(
                "monitor-scheduler",
                "[dependencies]\nmonitor-backoff.workspace = true\n",
            ),
            package(
                "monitor-backoff",
                "[dependencies]\nmonitor-testkit.workspace = true\n",
            ),
            package("monitor-testkit", ""),
        ];
        let workspace = Workspace {
            root: "/nowhere".into(),
            manifest: toml::Table::new(),
            packages,
        };
        let mut findings = Vec::new();
        check(&workspace, &mut findings);
        let found: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].contains("monitor-breaker may depend only on [backoff]"),
            "{found:?}"
        );
        assert!(
            found[1].starts_with("crates/monitor-backoff/Cargo.toml"),
            "{found:?}"
        );
    }

    #[test]
    fn the_facade_sees_the_rest_and_is_seen_only_by_the_daemon() {
        assert!(may_depend("monitor-core", "monitor-scheduler"));
        assert!(!may_depend("monitor-core", "monitor-store"));
        assert!(may_depend("monitord", "monitor-core"));
        assert!(!may_depend("monitord", "monitor-testkit"));
        assert!(!may_depend("monitor-probes", "monitor-core"));
    }
}
