//! The overlay from the environment: the established names, in their established units.

use std::ffi::OsString;
use std::time::Duration;

use super::PolicyKeys;
use super::node::{Entry, Node, Value};
use super::policy::{EXPONENTS, FACTORS, RECOVERY, THRESHOLDS, WAITS, to_u32};
use super::problem::{Place, Problem};
use super::reader::Reader;

/// The environment variables that are read, each with the key that it stands above.
///
/// Times are in seconds. An empty variable counts as not set.
pub const VARIABLES: [(&str, &str); 11] = [
    ("MAX_CONCURRENT_PROBES", "limits.max_concurrent_probes"),
    (
        "MAX_CONNECTIONS_PER_PROBE",
        "limits.max_connections_per_probe",
    ),
    ("PROBE_COLLECTION_INTERVAL", "defaults.interval"),
    ("BACKOFF_BASE_INTERVAL", "defaults.backoff_base_interval"),
    ("BACKOFF_MAX_INTERVAL", "defaults.backoff_max_interval"),
    ("BACKOFF_MULTIPLIER", "defaults.backoff_multiplier"),
    ("BACKOFF_MAX_FAILURES", "defaults.backoff_max_failures"),
    (
        "CIRCUIT_BREAKER_FAILURE_THRESHOLD",
        "defaults.circuit_breaker_failure_threshold",
    ),
    (
        "CIRCUIT_BREAKER_RECOVERY_TIMEOUT",
        "defaults.circuit_breaker_recovery_timeout",
    ),
    ("MEMORY_LIMIT_MB", "limits.memory_limit_mb"),
    ("RESOURCE_CHECK_INTERVAL", "limits.resource_check_interval"),
];

/// What the environment says.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    pub(crate) max_concurrent_probes: Option<u64>,
    pub(crate) max_connections_per_probe: Option<u32>,
    pub(crate) memory_limit_mb: Option<u64>,
    pub(crate) resource_check_interval: Option<Duration>,
    pub(crate) interval: Option<Duration>,
    pub(crate) policy: PolicyKeys,
}

impl Overlay {
    pub(crate) fn read(
        variable: impl Fn(&str) -> Option<OsString>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let names = VARIABLES.map(|(name, _)| name);
        let given = names.into_iter().filter_map(|name| {
            let text = variable(name).filter(|text| !text.is_empty())?;
            let node = Node {
                place: Place::Environment,
                value: value(&text),
            };
            Some(Entry {
                place: Place::Environment,
                key: name.to_owned(),
                node,
            })
        });
        let table = Value::Table(given.collect());
        let node = Node {
            place: Place::Environment,
            value: table,
        };
        let Some(mut reader) = Reader::new(&node, "", &names, problems) else {
            return Self::default();
        };
        let [
            probes,
            connections,
            interval,
            base,
            max,
            multiplier,
            failures,
            threshold,
            recovery,
            memory,
            looks,
        ] = names;
        Self {
            max_concurrent_probes: reader.integer(probes, super::file::PROBES),
            max_connections_per_probe: reader
                .integer(connections, super::defaults::CONNECTIONS)
                .map(to_u32),
            memory_limit_mb: reader.integer(memory, super::file::MEMORY),
            resource_check_interval: reader.seconds(looks, super::file::LOOKS),
            interval: reader.seconds(interval, WAITS),
            policy: PolicyKeys {
                backoff_base_interval: reader.seconds(base, WAITS),
                backoff_max_interval: reader.seconds(max, WAITS),
                backoff_multiplier: reader.number(multiplier, FACTORS),
                backoff_max_failures: reader.integer(failures, EXPONENTS).map(to_u32),
                circuit_breaker_failure_threshold: reader
                    .integer(threshold, THRESHOLDS)
                    .map(to_u32),
                circuit_breaker_recovery_timeout: reader.seconds(recovery, RECOVERY),
                ..PolicyKeys::default()
            },
        }
    }
}

/// A variable is text; what looks like a number is one.
fn value(text: &OsString) -> Value {
    let Some(text) = text.to_str() else {
        return Value::Other(text.to_string_lossy().into_owned());
    };
    if let Ok(integer) = text.parse() {
        return Value::Integer(integer);
    }
    text.parse()
        .map_or_else(|_| Value::Text(text.to_owned()), Value::Float)
}
