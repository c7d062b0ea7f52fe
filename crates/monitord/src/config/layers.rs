//! Which layer set a value: flag, environment, file or preset.

use std::fmt;
use std::time::Duration;

use super::defaults::CONNECTIONS_DEFAULT;
use super::environment::Overlay;
use super::file::{DATABASE_DEFAULT, File, LISTEN_DEFAULT, LOOKS_DEFAULT, MEMORY_DEFAULT};
use super::permits::{PermitKeys, max_concurrent};
use super::{Overrides, PolicyKeys, format_duration};

/// Who set a value. Later ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// Nobody: it is the preset's or the program's own.
    Preset,
    /// The file.
    File,
    /// The environment.
    Environment,
    /// The command line.
    Flag,
}

/// An effective value and who set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key in the file, with its table.
    pub key: String,
    /// The value.
    pub value: String,
    /// Who set it.
    pub layer: Layer,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preset => "preset",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "flag",
        })
    }
}

impl File {
    /// The effective value of everything that several layers may set, with the layer that did.
    pub(super) fn settings(&self, flags: &Overrides, overlay: &Overlay) -> Vec<Setting> {
        let text = |value: Option<Duration>| value.map(format_duration);
        let (over, under) = (&overlay.policy, &self.defaults.policy);
        let policy = over.or(under);
        let mut settings = vec![
            setting(
                "server.listen",
                [flags.listen.map(show), None, self.listen.map(show)],
                LISTEN_DEFAULT.to_string(),
            ),
            setting(
                "store.database",
                [
                    flags.database().ok().flatten().map(show),
                    None,
                    self.database.as_ref().map(show),
                ],
                DATABASE_DEFAULT.to_owned(),
            ),
            setting(
                "limits.max_concurrent_probes",
                [
                    None,
                    overlay.max_concurrent_probes.map(show),
                    self.max_concurrent_probes.map(show),
                ],
                max_concurrent(&policy).to_string(),
            ),
            setting(
                "limits.max_connections_per_probe",
                [
                    None,
                    overlay.max_connections_per_probe.map(show),
                    self.defaults.max_connections_per_probe.map(show),
                ],
                CONNECTIONS_DEFAULT.to_string(),
            ),
            setting(
                "limits.memory_limit_mb",
                [
                    None,
                    overlay.memory_limit_mb.map(show),
                    self.memory_limit_mb.map(show),
                ],
                MEMORY_DEFAULT.to_string(),
            ),
            setting(
                "limits.resource_check_interval",
                [
                    None,
                    text(overlay.resource_check_interval),
                    text(self.resource_check_interval),
                ],
                format_duration(LOOKS_DEFAULT),
            ),
            setting(
                "defaults.interval",
                [None, text(overlay.interval), text(self.defaults.interval)],
                format_duration(policy.interval()),
            ),
        ];
        settings.extend(self.permit_settings(&policy));
        let (over, under) = (over.to_json(), under.to_json());
        let of_preset = format!("as preset {} says", policy.preset_name());
        for name in PolicyKeys::NAMES {
            let value = |keys: &serde_json::Map<_, _>| keys.get(name).map(plain);
            let preset = if name == "preset" {
                policy.preset_name().to_owned()
            } else {
                of_preset.clone()
            };
            let key = format!("defaults.{name}");
            settings.push(setting(&key, [None, value(&over), value(&under)], preset));
        }
        settings
    }

    fn permit_settings(&self, policy: &PolicyKeys) -> impl Iterator<Item = Setting> {
        let given = self.permits.given().into_iter();
        let of_preset = self.permits.of_preset(policy);
        let named = PermitKeys::NAMES.into_iter().zip(given).zip(of_preset);
        named.map(|((name, given), preset)| {
            setting(&format!("limits.{name}"), [None, None, given], preset)
        })
    }
}

fn show(value: impl fmt::Display) -> String {
    value.to_string()
}

fn plain(value: &serde_json::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// `given` is what flag, environment and file say, in this order.
fn setting(key: &str, given: [Option<String>; 3], preset: String) -> Setting {
    let layers = [Layer::Flag, Layer::Environment, Layer::File];
    let first = layers
        .into_iter()
        .zip(given)
        .find_map(|(layer, value)| Some((layer, value?)));
    let (layer, value) = first.unwrap_or((Layer::Preset, preset));
    Setting {
        key: key.to_owned(),
        value,
        layer,
    }
}
