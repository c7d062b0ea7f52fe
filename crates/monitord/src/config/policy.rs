//! Presets and the keys that override them: how a monitor behaves when its target fails.

use std::ops::RangeInclusive;
use std::time::Duration;

use monitor_backoff::{Base, Cap, Floor, Policy, Schedule};
use monitor_breaker::{Config as Breaker, Mode};
use monitor_fault::Policies;
use monitor_scheduler::{Config as Scheduler, Preset as Scheduling, Spec};
use serde_json::{Map, Value as Json, json};

use super::node::Value;
use super::reader::{Reader, Refused};
use super::suggest::closest;
use super::{format_duration, parse_duration};

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

/// The share of failures that opens a breaker.
pub(crate) const RATES: RangeInclusive<f64> = 0.01..=1.0;
/// How many checks a breaker may look back on.
const CHECKS: RangeInclusive<u64> = 1..=10_000;
/// How far back a breaker may look.
const TIMES: RangeInclusive<Duration> = Duration::from_secs(1)..=DAY;
const WINDOW: &str = "a number of checks, 1 to 10000, or a time, 1s to 1d: \"10m\"";

/// What a preset says beyond its backoff and its schedule, which `monitor-backoff` and
/// `monitor-scheduler` know by the same name.
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
    /// `circuit_breaker_window`: opens by a rate among the last so many checks, or those of the
    /// last so much time, instead of by failures in a row.
    pub circuit_breaker_window: Option<Window>,
    /// `circuit_breaker_failure_rate`: the share of failures in the window that opens the breaker.
    pub circuit_breaker_failure_rate: Option<f64>,
    /// `circuit_breaker_minimum_calls`: how many checks the window must hold before that.
    pub circuit_breaker_minimum_calls: Option<u32>,
    /// `circuit_breaker_success_threshold`: how many trials must succeed for it to close.
    pub circuit_breaker_success_threshold: Option<u32>,
    /// `circuit_breaker_mode`: whether it holds checks back, or only says that it would.
    pub circuit_breaker_mode: Option<BreakerMode>,
    /// `backoff_while_closed`: whether waits grow after failures while the breaker is closed.
    pub backoff_while_closed: Option<bool>,
    /// `backoff_by_category`: whether waits also follow what kind of failure it was.
    pub backoff_by_category: Option<bool>,
}

/// What a breaker counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The last so many checks.
    Checks(u32),
    /// The checks of the last so much time.
    Time(Duration),
}

/// What a breaker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerMode {
    /// `normal`: it holds checks back while it is open.
    Normal,
    /// `shadow`: it says that it is open, and holds nothing back.
    Shadow,
}

impl BreakerMode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Shadow => "shadow",
        }
    }
}

impl PolicyKeys {
    /// The keys in TOML and JSON.
    pub(crate) const NAMES: [&str; 14] = [
        "preset",
        "backoff_base_interval",
        "backoff_max_interval",
        "backoff_multiplier",
        "backoff_max_failures",
        "circuit_breaker_failure_threshold",
        "circuit_breaker_recovery_timeout",
        "circuit_breaker_window",
        "circuit_breaker_failure_rate",
        "circuit_breaker_minimum_calls",
        "circuit_breaker_success_threshold",
        "circuit_breaker_mode",
        "backoff_while_closed",
        "backoff_by_category",
    ];

    pub(crate) fn read(reader: &mut Reader<'_, '_>) -> Self {
        let [
            preset,
            base,
            max,
            multiplier,
            failures,
            threshold,
            recovery,
            window,
            rate,
            minimum,
            successes,
            mode,
            while_closed,
            by_category,
        ] = Self::NAMES;
        Self {
            preset: reader.text(preset, &preset_names().join(", "), preset_name),
            backoff_base_interval: reader.duration(base, WAITS),
            backoff_max_interval: reader.duration(max, WAITS),
            backoff_multiplier: reader.number(multiplier, FACTORS),
            backoff_max_failures: reader.integer(failures, EXPONENTS).map(to_u32),
            circuit_breaker_failure_threshold: reader.integer(threshold, THRESHOLDS).map(to_u32),
            circuit_breaker_recovery_timeout: reader.duration(recovery, RECOVERY),
            circuit_breaker_window: reader.value(window, WINDOW, read_window),
            circuit_breaker_failure_rate: reader.number(rate, RATES),
            circuit_breaker_minimum_calls: reader.integer(minimum, CHECKS).map(to_u32),
            circuit_breaker_success_threshold: reader.integer(successes, 1..=100).map(to_u32),
            circuit_breaker_mode: reader.text(mode, "normal, shadow", |text| match text {
                "normal" => Ok(BreakerMode::Normal),
                "shadow" => Ok(BreakerMode::Shadow),
                _ => Err("is neither".to_owned()),
            }),
            backoff_while_closed: reader.boolean(while_closed),
            backoff_by_category: reader.boolean(by_category),
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
            circuit_breaker_window: self
                .circuit_breaker_window
                .or(fallback.circuit_breaker_window),
            circuit_breaker_failure_rate: self
                .circuit_breaker_failure_rate
                .or(fallback.circuit_breaker_failure_rate),
            circuit_breaker_minimum_calls: self
                .circuit_breaker_minimum_calls
                .or(fallback.circuit_breaker_minimum_calls),
            circuit_breaker_success_threshold: self
                .circuit_breaker_success_threshold
                .or(fallback.circuit_breaker_success_threshold),
            circuit_breaker_mode: self.circuit_breaker_mode.or(fallback.circuit_breaker_mode),
            backoff_while_closed: self.backoff_while_closed.or(fallback.backoff_while_closed),
            backoff_by_category: self.backoff_by_category.or(fallback.backoff_by_category),
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

    /// How long a check at this interval may take where nothing is said.
    pub(crate) fn timeout(&self, interval: Duration) -> Duration {
        let spec = self.scheduling().spec(interval).build();
        spec.map_or(Spec::DEFAULT_TIMEOUT, |spec| spec.timeout())
    }

    /// How checks share the process, which is one for all monitors: that of `[defaults]` counts.
    pub(crate) fn scheduler(&self) -> Scheduler {
        self.scheduling().config()
    }

    fn scheduling(&self) -> Scheduling {
        Scheduling::named(self.preset_name()).unwrap_or_default()
    }

    /// Whether a manual check forgets the failures before it: not in `mail`, whose servers would
    /// take it amiss.
    pub(crate) fn trigger_resets_backoff(&self) -> bool {
        self.preset_name() != "mail"
    }

    /// What to wait for after a failure of each category; by itself in `mail` only, whose servers
    /// lock out who tries a wrong password again and again.
    pub(crate) fn by_category(&self) -> Option<Policies> {
        let by_itself = self.preset_name() == "mail";
        self.backoff_by_category
            .unwrap_or(by_itself)
            .then(Policies::default)
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
        if self.backoff_while_closed == Some(false) {
            // The normal interval whatever failed, spread as the preset spreads it: what slows
            // checks down then is the breaker alone.
            let builder = policy
                .to_builder()
                .schedule(Schedule::Fixed(Duration::ZERO))
                .floor(Floor::AtLeastInterval);
            return builder.build().map_err(|error| error.to_string());
        }
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
            (_, Some(0)) => return Ok(None),
            (None, None) if self.circuit_breaker_window.is_none() => return Ok(None),
            (Some(of_preset), _) => of_preset(),
            (None, _) => Breaker::mail(),
        };
        self.check_window()?;
        let mut builder = config.to_builder().trial_deadline(trial_deadline);
        if let Some(failures) = self.circuit_breaker_failure_threshold {
            builder = builder.failure_threshold(failures);
        }
        match self.circuit_breaker_window {
            Some(Window::Checks(checks)) => builder = builder.count_window(checks),
            Some(Window::Time(time)) => builder = builder.time_window(time),
            None => {}
        }
        if let Some(rate) = self.circuit_breaker_failure_rate {
            builder = builder.failure_rate(rate);
        }
        if let Some(checks) = self.circuit_breaker_minimum_calls {
            builder = builder.minimum_calls(checks);
        }
        if let Some(successes) = self.circuit_breaker_success_threshold {
            builder = builder.success_threshold(successes);
        }
        if self.circuit_breaker_mode == Some(BreakerMode::Shadow) {
            builder = builder.mode(Mode::Shadow);
        }
        if let Some(open) = self.circuit_breaker_recovery_timeout {
            builder = builder.open_duration(open);
        }
        builder.build().map(Some).map_err(|error| error.to_string())
    }

    /// What the breaker would refuse under names of its own.
    fn check_window(&self) -> Result<(), String> {
        let needs_window = [
            (
                "circuit_breaker_failure_rate",
                self.circuit_breaker_failure_rate.is_some(),
            ),
            (
                "circuit_breaker_minimum_calls",
                self.circuit_breaker_minimum_calls.is_some(),
            ),
        ];
        match (
            self.circuit_breaker_window,
            self.circuit_breaker_minimum_calls,
        ) {
            (None, _) => match needs_window.iter().find(|(_, is_given)| *is_given) {
                Some((key, _)) => Err(format!("`{key}` needs `circuit_breaker_window`")),
                None => Ok(()),
            },
            (Some(Window::Checks(checks)), Some(minimum)) if minimum > checks => Err(format!(
                "`circuit_breaker_minimum_calls` is {minimum}, more than the {checks} checks of \
                 `circuit_breaker_window`"
            )),
            _ => Ok(()),
        }
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
            self.circuit_breaker_window.map(|window| match window {
                Window::Checks(checks) => json!(checks),
                Window::Time(time) => json!(format_duration(time)),
            }),
            self.circuit_breaker_failure_rate.map(|value| json!(value)),
            self.circuit_breaker_minimum_calls.map(|value| json!(value)),
            self.circuit_breaker_success_threshold
                .map(|value| json!(value)),
            self.circuit_breaker_mode.map(|mode| json!(mode.as_str())),
            self.backoff_while_closed.map(|value| json!(value)),
            self.backoff_by_category.map(|value| json!(value)),
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

fn read_window(value: &Value) -> Result<Window, Refused> {
    match value {
        Value::Integer(checks) => match u64::try_from(*checks) {
            Ok(checks) if CHECKS.contains(&checks) => Ok(Window::Checks(to_u32(checks))),
            _ => Err("is out of range".to_owned()),
        },
        Value::Text(text) => match parse_duration(text)? {
            time if TIMES.contains(&time) => Ok(Window::Time(time)),
            _ => Err("is out of range".to_owned()),
        },
        other => Err(format!("is {}", other.kind())),
    }
}

/// For numbers that a range has bounded already.
pub(crate) fn to_u32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
