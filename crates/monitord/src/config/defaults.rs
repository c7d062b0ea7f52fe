//! What holds for a monitor that does not say otherwise.

use std::ops::RangeInclusive;
use std::time::Duration;

use monitor_probes::Resolver;

use super::PolicyKeys;
use super::monitor::TIMEOUTS;
use super::node::Node;
use super::policy::WAITS;
use super::problem::Problem;
use super::reader::Reader;

/// What holds for a monitor that does not say otherwise: the table `[defaults]` with the
/// environment on top.
///
/// ```
/// use std::time::Duration;
/// use monitord::config::Defaults;
///
/// assert_eq!(Defaults::default().interval(), Duration::from_secs(60));
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Defaults {
    /// How often to check. `None`: as the preset says, 60 s in `hardened`.
    pub interval: Option<Duration>,
    /// How long a check may take. `None`: as the preset says; in `hardened` the interval, 30 s at
    /// most.
    pub timeout: Option<Duration>,
    /// The preset and what overrides it.
    pub policy: PolicyKeys,
    /// How many connections a probe may keep. `None`: 5.
    pub max_connections_per_probe: Option<u32>,
    /// The resolver that all probes share.
    pub resolver: Resolver,
}

/// How many connections a probe may keep.
pub(crate) const CONNECTIONS: RangeInclusive<u64> = 1..=100;
pub(super) const CONNECTIONS_DEFAULT: u32 = 5;

impl Defaults {
    /// How often to check a monitor that follows the default preset.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval.unwrap_or_else(|| self.policy.interval())
    }

    /// How many connections a probe may keep.
    #[must_use]
    pub fn max_connections_per_probe(&self) -> usize {
        let most = self
            .max_connections_per_probe
            .unwrap_or(CONNECTIONS_DEFAULT);
        usize::try_from(most).unwrap_or(usize::MAX)
    }

    pub(crate) fn read(node: &Node, problems: &mut Vec<Problem>) -> Self {
        let mut known = vec!["interval", "timeout"];
        known.extend(PolicyKeys::NAMES);
        let Some(mut reader) = Reader::new(node, "defaults", &known, problems) else {
            return Self::default();
        };
        Self {
            interval: reader.duration("interval", WAITS),
            timeout: reader.duration("timeout", TIMEOUTS),
            policy: PolicyKeys::read(&mut reader),
            max_connections_per_probe: None,
            resolver: Resolver::default(),
        }
    }
}
