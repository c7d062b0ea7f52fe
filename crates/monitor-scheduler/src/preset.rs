//! Named settings: data, not code paths.

use std::{num::NonZeroUsize, time::Duration};

use monitor_backoff::Policy;

use crate::{Config, Saturation, Spec, SpecBuilder};

/// Settings that go together, by name. They change policies only: what a scheduler promises - one
/// run of a key, no due time lost, no more runs than permits - it promises under each of them.
///
/// | | runs at once | without a permit | timeout | after a failure | jitter |
/// |---|---|---|---|---|---|
/// | `gate2` | 3 | skip | 30 s | 2, 5, 10 s | ±20 % |
/// | `monitor` | no limit | skip | 30 s | the interval, doubled | ±10 % |
/// | `socket` | 5 | queue, 30 s | 30 s | 1, 2, 4 s up to 10 s | none |
/// | `mail` | 20 | queue | 30 s | 300 s, doubled up to an hour | ±20 %, after failures |
/// | `hardened` | 20 | queue | the interval up to 30 s | two quick looks, then doubled | ±20 % |
///
/// A run that heeds no cancellation is given up 5 s after its timeout. With `mail` a manual trigger
/// keeps the backoff.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Preset {
    /// Few probes at once, short steps after failures.
    Gate2,
    /// Each key by itself.
    Monitor,
    /// Sockets to few peers.
    Socket,
    /// Slow and patient.
    Mail,
    /// The default of this crate.
    #[default]
    Hardened,
}

impl Preset {
    /// All presets.
    pub const ALL: [Self; 5] = [
        Self::Gate2,
        Self::Monitor,
        Self::Socket,
        Self::Mail,
        Self::Hardened,
    ];

    /// Returns the preset of this name, if there is one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.as_str() == name)
    }

    /// Returns the name, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gate2 => "gate2",
            Self::Monitor => "monitor",
            Self::Socket => "socket",
            Self::Mail => "mail",
            Self::Hardened => "hardened",
        }
    }

    /// Returns the settings of a scheduler.
    #[must_use]
    pub fn config(self) -> Config {
        let (max_concurrent, saturation, max_wait) = match self {
            Self::Gate2 => (3, Saturation::Skip, None),
            Self::Monitor => (usize::MAX, Saturation::Skip, None),
            Self::Socket => (5, Saturation::Queue { bound: 1024 }, Some(30)),
            Self::Mail | Self::Hardened => (20, Saturation::Queue { bound: 1024 }, None),
        };
        Config {
            max_concurrent: NonZeroUsize::MIN.saturating_add(max_concurrent - 1),
            saturation,
            max_wait: max_wait.map(Duration::from_secs),
            ..Config::default()
        }
    }

    /// Starts the spec of a key.
    pub fn spec(self, interval: Duration) -> SpecBuilder {
        let spec = Spec::builder(interval);
        let guard = Spec::DEFAULT_TIMEOUT;
        match self {
            Self::Gate2 => spec.backoff(Policy::gate2()).timeout(guard),
            Self::Monitor => spec.backoff(Policy::monitor()).timeout(guard),
            Self::Socket => spec.backoff(Policy::socket()).timeout(guard),
            Self::Mail => spec
                .backoff(Policy::mail())
                .timeout(guard)
                .trigger_resets_backoff(false),
            Self::Hardened => spec.backoff(Policy::hardened()),
        }
    }
}
