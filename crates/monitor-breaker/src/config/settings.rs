//! The settings as a file spells them: every key with its unit, no key unknown.

use std::time::Duration;

use monitor_backoff::{Cap, ExponentOrigin, Floor, Jitter, Policy};
use serde::Deserialize;

use crate::{Builder, Config, ConfigError, Mode};

/// All optional; what is left out is as in [`Config::hardened`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    failure_threshold: Option<u32>,
    count_window_calls: Option<u32>,
    time_window_ms: Option<u64>,
    failure_rate: Option<f64>,
    slow_call_rate: Option<f64>,
    slow_call_threshold_ms: Option<u64>,
    minimum_calls: Option<u32>,
    success_threshold: Option<u32>,
    half_open_trials: Option<u32>,
    trial_deadline_ms: Option<u64>,
    open_duration_ms: Option<u64>,
    open_max_ms: Option<u64>,
    open_jitter: Option<f64>,
    healthy_after_ms: Option<u64>,
    push_back_max_ms: Option<u64>,
    ramp_ms: Option<u64>,
    ramp_from: Option<f64>,
    mode: Option<ModeName>,
    seed: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ModeName {
    Normal,
    Shadow,
    ForcedOpen,
    Disabled,
}

impl TryFrom<Settings> for Config {
    type Error = String;

    fn try_from(settings: Settings) -> Result<Config, String> {
        let builder = Config::builder();
        let builder = settings.opening(builder).map_err(|e| e.to_string())?;
        let builder = settings.closing(builder)?;
        builder.build().map_err(|error| error.to_string())
    }
}

impl Settings {
    fn opening(&self, builder: Builder) -> Result<Builder, ConfigError> {
        let counted = [
            ("failure_threshold", self.failure_threshold.map(u64::from)),
            ("count_window_calls", self.count_window_calls.map(u64::from)),
            ("time_window_ms", self.time_window_ms),
        ];
        let mut given = counted
            .into_iter()
            .filter_map(|(field, value)| Some((field, value?)));
        if let (Some((field, value)), Some((other, other_value))) = (given.next(), given.next()) {
            return Err(ConfigError::Contradiction {
                field,
                value: value.to_string(),
                other,
                other_value: other_value.to_string(),
                rule: "a breaker counts in one way only",
            });
        }
        let builder = set(builder, self.failure_threshold, Builder::failure_threshold);
        let builder = set(builder, self.count_window_calls, Builder::count_window);
        let builder = set(builder, millis(self.time_window_ms), Builder::time_window);
        let builder = set(builder, self.failure_rate, Builder::failure_rate);
        let builder = set(builder, self.slow_call_rate, Builder::slow_call_rate);
        let slow = millis(self.slow_call_threshold_ms);
        let builder = set(builder, slow, Builder::slow_call_threshold);
        Ok(set(builder, self.minimum_calls, Builder::minimum_calls))
    }

    fn closing(&self, builder: Builder) -> Result<Builder, String> {
        let builder = set(builder, self.success_threshold, Builder::success_threshold);
        let builder = set(builder, self.half_open_trials, Builder::half_open_trials);
        let deadline = millis(self.trial_deadline_ms);
        let builder = set(builder, deadline, Builder::trial_deadline);
        let open = millis(self.open_duration_ms);
        let builder = set(builder, open, Builder::open_duration);
        let builder = set(builder, self.open_policy()?, Builder::open_policy);
        let healthy = millis(self.healthy_after_ms);
        let builder = set(builder, healthy, Builder::healthy_after);
        let push_back = millis(self.push_back_max_ms);
        let builder = set(builder, push_back, Builder::push_back_max);
        let builder = set(builder, millis(self.ramp_ms), Builder::ramp);
        let builder = set(builder, self.ramp_from, Builder::ramp_from);
        let mode = self.mode.as_ref().map(|mode| match mode {
            ModeName::Normal => Mode::Normal,
            ModeName::Shadow => Mode::Shadow,
            ModeName::ForcedOpen => Mode::ForcedOpen,
            ModeName::Disabled => Mode::Disabled,
        });
        let builder = set(builder, mode, Builder::mode);
        Ok(set(builder, self.seed, Builder::seed))
    }

    /// Doubling from the open duration, as in [`Config::hardened`].
    fn open_policy(&self) -> Result<Option<Policy>, String> {
        if self.open_max_ms.is_none() && self.open_jitter.is_none() {
            return Ok(None);
        }
        let longest = self.open_max_ms.unwrap_or(600_000);
        Policy::builder()
            .exponent_origin(ExponentOrigin::FailuresMinusOne)
            .floor(Floor::AtLeastInterval)
            .cap(Cap::IntervalOr(Duration::from_millis(longest)))
            .jitter(Jitter::symmetric(self.open_jitter.unwrap_or(0.2)))
            .build()
            .map(Some)
            .map_err(|error| format!("open_max_ms, open_jitter: {error}"))
    }
}

fn set<T>(builder: Builder, value: Option<T>, with: impl Fn(Builder, T) -> Builder) -> Builder {
    match value {
        Some(value) => with(builder, value),
        None => builder,
    }
}

fn millis(value: Option<u64>) -> Option<Duration> {
    value.map(Duration::from_millis)
}
