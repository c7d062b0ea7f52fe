//! The configuration: what is read, what is refused and how that is told, and what wins.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod layers;
mod refused;
mod schedules;
mod values;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use monitor_model::Source;
use monitor_scheduler::Saturation;
use monitord::config::{
    Config, Defaults, Layer, MonitorSpec, Overrides, Report, VARIABLES, format_duration,
    parse_duration,
};
use serde_json::json;

pub(crate) const MINIMAL: &str = "[[monitor]]\nid = \"a\"\nurl = \"http://127.0.0.1:1/\"\n";

pub(crate) fn parse(text: &str) -> Result<Config, Report> {
    parse_with(text, &Overrides::default(), &[])
}

pub(crate) fn parse_with(
    text: &str,
    overrides: &Overrides,
    environment: &[(&str, &str)],
) -> Result<Config, Report> {
    let environment: HashMap<_, _> = environment.iter().copied().collect();
    let variable = |name: &str| environment.get(name).map(OsString::from);
    Config::parse(
        Path::new("/etc/monitord.toml"),
        text.as_bytes(),
        overrides,
        variable,
    )
}

/// The problems as they are printed.
pub(crate) fn problems(text: &str) -> Vec<String> {
    let report = parse(text).expect_err("this configuration is wrong");
    report.problems.iter().map(ToString::to_string).collect()
}

/// The one problem of a minimal file with one key more.
pub(crate) fn problem_of(line: &str) -> String {
    let mut all = problems(&format!("{MINIMAL}{line}\n"));
    assert_eq!(all.len(), 1, "{line}: {all:#?}");
    all.remove(0)
}

pub(crate) fn settings(config: &Config) -> monitor_core::Settings {
    config.monitors[0]
        .definition(&config.defaults, Source::File)
        .unwrap()
        .settings
}
