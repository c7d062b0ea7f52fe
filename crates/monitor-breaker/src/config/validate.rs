//! Which settings are refused.

use std::{fmt, time::Duration};

use crate::{Config, ConfigError, Trip, window::Rate};

const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(365 * 86_400);
const COUNT_MAX: u32 = 1_000_000;

impl Config {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.validate_trip()?;
        self.validate_shares()?;
        self.validate_closing()?;
        self.validate_pairs()
    }

    fn validate_trip(&self) -> Result<(), ConfigError> {
        match self.trip {
            Trip::Consecutive(failures) => positive("failure_threshold", failures)?,
            Trip::Count(calls) => check(
                "count_window",
                &calls,
                (1..=COUNT_MAX).contains(&calls),
                "1 to 1000000",
            )?,
            Trip::Time(span) => check(
                "time_window",
                &Shown(span),
                (Duration::from_millis(16)..=DAY).contains(&span),
                "16 ms to 1 day",
            )?,
        }
        self.minimum_calls
            .map_or(Ok(()), |calls| positive("minimum_calls", calls))
    }

    fn validate_shares(&self) -> Result<(), ConfigError> {
        let shares = [
            ("failure_rate", self.failure_rate),
            ("slow_call_rate", self.slow_call_rate),
            ("ramp_from", Some(self.ramp_from)),
        ];
        for (field, share) in shares {
            if let Some(share) = share {
                check(field, &share, Rate::new(share).is_some(), Rate::RANGE)?;
            }
        }
        Ok(())
    }

    fn validate_closing(&self) -> Result<(), ConfigError> {
        positive("success_threshold", self.success_threshold)?;
        positive("half_open_trials", self.half_open_trials)?;
        let durations = [
            ("slow_call_threshold", self.slow_call_threshold),
            ("trial_deadline", Some(self.trial_deadline)),
            ("open_duration", Some(self.open_duration)),
        ];
        for (field, duration) in durations {
            if let Some(value) = duration {
                let is_in_range = !value.is_zero() && value <= YEAR;
                check(field, &Shown(value), is_in_range, "above 0 s, to 365 days")?;
            }
        }
        let durations = [
            ("healthy_after", self.healthy_after),
            ("push_back_max", self.push_back_max),
            ("ramp", self.ramp),
        ];
        for (field, value) in durations {
            check(field, &Shown(value), value <= YEAR, "0 s to 365 days")?;
        }
        Ok(())
    }

    fn validate_pairs(&self) -> Result<(), ConfigError> {
        if let Trip::Consecutive(failures) = self.trip {
            let only_in_windows = [
                ("failure_rate", self.failure_rate.map(|r| r.to_string())),
                ("slow_call_rate", self.slow_call_rate.map(|r| r.to_string())),
                ("minimum_calls", self.minimum_calls.map(|n| n.to_string())),
            ];
            for (field, value) in only_in_windows {
                if let Some(value) = value {
                    return Err(ConfigError::Contradiction {
                        field,
                        value,
                        other: "failure_threshold",
                        other_value: failures.to_string(),
                        rule: "a rate needs count_window or time_window instead",
                    });
                }
            }
        }
        match (self.trip, self.minimum_calls) {
            (Trip::Count(calls), Some(minimum)) if minimum > calls => {
                return Err(ConfigError::Contradiction {
                    field: "minimum_calls",
                    value: minimum.to_string(),
                    other: "count_window",
                    other_value: calls.to_string(),
                    rule: "the window must hold at least the minimum of calls",
                });
            }
            _ => {}
        }
        match (self.slow_call_rate, self.slow_call_threshold) {
            (Some(rate), None) => Err(ConfigError::Contradiction {
                field: "slow_call_rate",
                value: rate.to_string(),
                other: "slow_call_threshold",
                other_value: "not set".to_owned(),
                rule: "a rate of slow calls needs the threshold from which a call is slow",
            }),
            (_, Some(slow)) if self.trial_deadline <= slow => Err(ConfigError::Contradiction {
                field: "trial_deadline",
                value: Shown(self.trial_deadline).to_string(),
                other: "slow_call_threshold",
                other_value: Shown(slow).to_string(),
                rule: "a trial must get longer than a slow call takes",
            }),
            _ => Ok(()),
        }
    }
}

fn positive(field: &'static str, count: u32) -> Result<(), ConfigError> {
    check(field, &count, count > 0, "at least 1")
}

fn check(
    field: &'static str,
    value: &dyn fmt::Display,
    is_in_range: bool,
    range: &'static str,
) -> Result<(), ConfigError> {
    if is_in_range {
        return Ok(());
    }
    Err(ConfigError::OutOfRange {
        field,
        value: value.to_string(),
        range,
    })
}

/// A duration as its `Debug` shows it: 1.5s, 20ms.
struct Shown(Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
