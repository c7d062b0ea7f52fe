//! Presets and the keys that override them: how a monitor behaves when its target fails.

use std::ops::RangeInclusive;
use std::time::Duration;

use monitor_backoff::{Base, Cap, Policy, Schedule};
use monitor_breaker::Config as Breaker;
use serde_json::{Map, Value as Json, json};

use super::format_duration;
use super::reader::Reader;
use super::suggest::closest;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// How long a breaker may stay open.
pub(crate) const RECOVERY: RangeInclusive<Duration> = Duration::from_millis(100)..=DAY;
/// The intervals that the scheduler takes; a wait after a failure keeps to them as well.
pub(crate) const WAITS: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(2_592_000);
/// How fast waits may grow.
pub(crate) const FACTORS: RangeInclusive<f64> = 1.01..=100.0;
/// After how many failures waits stop to grow.
pub(crate) const EXPONENTS: RangeInclusive<u64> = 0..=1000;
/// How many failures may open a breaker; 0 turns it off.
pub(crate) const THRESHOLDS: RangeInclusive<u64> = 0..=1000;

/// What a preset says beyond its backoff, which `monitor-backoff` knows by the same name.
struct Preset {
    name: &'static str,
    interval: Duration,
    intervals: RangeInclusive<Duration>,
    breaker: Option<fn() -> Breaker>,
}

const fn preset(name: &'static str, interval_s: u64, breaker: Option<fn() -> Breaker>) -> Preset {
    Preset {
        name,
        interval: Duration::from_secs(interval_s),
        intervals: WAITS,
        breaker,
    }
}

static PRESETS: [Preset; 5] = [
    preset("hardened", 60, Some(Breaker::hardened)),
    preset("gate2", 60, None),
    preset("monitor", 300, None),
    preset("socket", 300, None),
    Preset {
        intervals: Duration::from_secs(30)..=HOUR,
        ..preset("mail", 300, Some(Breaker::mail))
    },
];

/// The keys that choose and override a preset. Each absent one is as the next layer says.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct PolicyKeys {
    /// `preset`: the name of a set of policies.
    pub preset: Option<String>,
    /// `backoff_base_interval`: what waits after a failure grow from.
    pub backoff_base_interval: Option<Duration>,
    /// `backoff_max_interval`: the longest wait after a failure.
    pub backoff_max_interval: Option<Duration>,
    /// `backoff_multiplier`: how much a wait grows with each failure.
    pub backoff_multiplier: Option<f64>,
    /// `backoff_max_failures`: after how many failures waits stop to grow.
    pub backoff_max_failures: Option<u32>,
    /// `circuit_breaker_failure_threshold`: failures in a row that open the breaker; 0 for none.
    pub circuit_breaker_failure_threshold: Option<u32>,
    /// `circuit_breaker_recovery_timeout`: how long an open breaker holds checks back.
    pub circuit_breaker_recovery_timeout: Option<Duration>,
}

impl PolicyKeys {
    /// The keys in TOML and JSON.
    pub(crate) const NAMES: [&str; 7] = [
        "preset",
        "backoff_base_interval",
        "backoff_max_interval",
        "backoff_multiplier",
        "backoff_max_failures",
        "circuit_breaker_failure_threshold",
        "circuit_breaker_recovery_timeout",
    ];

    pub(crate) fn read(reader: &mut Reader<'_, '_>) -> Self {
        let [preset, base, max, multiplier, failures, threshold, recovery] = Self::NAMES;
        Self {
            preset: reader.text(preset, &preset_names().join(", "), preset_name),
            backoff_base_interval: reader.duration(base, WAITS),
            backoff_max_interval: reader.duration(max, WAITS),
            backoff_multiplier: reader.number(multiplier, FACTORS),
            backoff_max_failures: reader.integer(failures, EXPONENTS).map(to_u32),
            circuit_breaker_failure_threshold: reader.integer(threshold, THRESHOLDS).map(to_u32),
            circuit_breaker_recovery_timeout: reader.duration(recovery, RECOVERY),
        }
    }

    /// These keys, and for each absent one that of `fallback`.
    #[must_use]
    pub fn or(&self, fallback: &Self) -> Self {
        Self {
            preset: self.preset.clone().or_else(|| fallback.preset.clone()),
            backoff_base_interval: self
                .backoff_base_interval
                .or(fallback.backoff_base_interval),
            backoff_max_interval: self.backoff_max_interval.or(fallback.backoff_max_interval),
            backoff_multiplier: self.backoff_multiplier.or(fallback.backoff_multiplier),
            backoff_max_failures: self.backoff_max_failures.or(fallback.backoff_max_failures),
            circuit_breaker_failure_threshold: self
                .circuit_breaker_failure_threshold
                .or(fallback.circuit_breaker_failure_threshold),
            circuit_breaker_recovery_timeout: self
                .circuit_breaker_recovery_timeout
                .or(fallback.circuit_breaker_recovery_timeout),
        }
    }

    /// The interval where none is given.
    pub(crate) fn interval(&self) -> Duration {
        self.chosen().interval
    }

    /// The intervals that the preset takes.
    pub(crate) fn intervals(&self) -> RangeInclusive<Duration> {
        self.chosen().intervals.clone()
    }

    /// Whether a manual check forgets the failures before it: not in `mail`, whose servers would
    /// take it amiss.
    pub(crate) fn trigger_resets_backoff(&self) -> bool {
        self.preset_name() != "mail"
    }

    /// The name of the preset.
    pub(crate) fn preset_name(&self) -> &'static str {
        self.chosen().name
    }

    /// The backoff: that of the preset, changed where a key says so.
    ///
    /// # Errors
    /// Which keys contradict each other, in words.
    pub(crate) fn backoff(&self) -> Result<Policy, String> {
        let policy = Policy::preset(self.preset_name()).unwrap_or_else(Policy::hardened);
        let mut builder = policy.to_builder();
        if self.backoff_base_interval.is_some() || self.backoff_multiplier.is_some() {
            let (base, factor) = match *policy.schedule() {
                Schedule::Exponential { base, factor } => (base, factor),
                _ => (Base::Interval, 2.0),
            };
            builder = builder.schedule(Schedule::Exponential {
                base: self.backoff_base_interval.map_or(base, Base::Fixed),
                factor: self.backoff_multiplier.unwrap_or(factor),
            });
        }
        if let Some(max) = self.backoff_max_interval {
            builder = builder
                .min_delay(policy.min_delay().min(max))
                .cap(match policy.cap() {
                    Cap::Fixed(_) => Cap::Fixed(max),
                    Cap::IntervalOr(_) => Cap::IntervalOr(max),
                });
        }
        if self.backoff_max_failures.is_some() {
            builder = builder.exponent_cap(self.backoff_max_failures);
        }
        builder.build().map_err(|error| error.to_string())
    }

    /// The breaker: that of the preset, changed where a key says so. `None` for none. A trial has
    /// `trial_deadline` to come to a verdict.
    ///
    /// # Errors
    /// Which keys contradict each other, in words.
    pub(crate) fn breaker(&self, trial_deadline: Duration) -> Result<Option<Breaker>, String> {
        let of_preset = self.chosen().breaker;
        let config = match (of_preset, self.circuit_breaker_failure_threshold) {
            (_, Some(0)) | (None, None) => return Ok(None),
            (Some(of_preset), _) => of_preset(),
            (None, Some(_)) => Breaker::mail(),
        };
        let mut builder = config.to_builder().trial_deadline(trial_deadline);
        if let Some(failures) = self.circuit_breaker_failure_threshold {
            builder = builder.failure_threshold(failures);
        }
        if let Some(open) = self.circuit_breaker_recovery_timeout {
            builder = builder.open_duration(open);
        }
        builder.build().map(Some).map_err(|error| error.to_string())
    }

    /// The keys that are set.
    pub(crate) fn to_json(&self) -> Map<String, Json> {
        let duration = |value: Option<Duration>| value.map(|value| json!(format_duration(value)));
        let values = [
            self.preset.as_ref().map(|value| json!(value)),
            duration(self.backoff_base_interval),
            duration(self.backoff_max_interval),
            self.backoff_multiplier.map(|value| json!(value)),
            self.backoff_max_failures.map(|value| json!(value)),
            self.circuit_breaker_failure_threshold
                .map(|value| json!(value)),
            duration(self.circuit_breaker_recovery_timeout),
        ];
        let named = Self::NAMES.into_iter().zip(values);
        named
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }

    fn chosen(&self) -> &'static Preset {
        let name = self.preset.as_deref().unwrap_or("hardened");
        PRESETS
            .iter()
            .find(|preset| preset.name == name)
            .unwrap_or(&PRESETS[0])
    }
}

fn preset_names() -> Vec<&'static str> {
    PRESETS.iter().map(|preset| preset.name).collect()
}

fn preset_name(text: &str) -> Result<String, String> {
    let names = preset_names();
    if names.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(match closest(text, &names) {
        Some(name) => format!("is no preset, did you mean `{name}`?"),
        None => "is no preset".to_owned(),
    })
}

/// For numbers that a range has bounded already.
pub(crate) fn to_u32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
