//! How the demonstration watches its targets.

use std::time::Duration;

use monitor_breaker::Config as Breaker;
use monitor_core::Definition;
use monitor_model::Source;
use serde_json::{Value, json};

use super::Targets;
use super::targets::Character;
use crate::commands::Failure;
use crate::config::{Defaults, MonitorSpec, PolicyKeys, format_duration};

/// What counts as slow.
pub(crate) const DEGRADED_OVER: Duration = Duration::from_millis(300);
/// No wait after failures is longer: there must be something to see.
const LONGEST_WAIT: Duration = Duration::from_secs(4);
const BREAKER_OPEN: Duration = Duration::from_secs(4);
const TRIAL_DEADLINE: Duration = Duration::from_secs(10);

/// Everything as quick as a demonstration needs it.
pub(crate) fn defaults() -> Defaults {
    Defaults {
        interval: Some(Duration::from_secs(1)),
        policy: PolicyKeys {
            backoff_max_interval: Some(LONGEST_WAIT),
            ..PolicyKeys::default()
        },
        ..Defaults::default()
    }
}

/// One monitor for each target.
pub(crate) fn definitions(
    targets: &Targets,
    defaults: &Defaults,
) -> Result<Vec<Definition>, Failure> {
    let mut specs: Vec<Value> = targets
        .serving
        .iter()
        .map(|(character, address)| spec(*character, &format!("http://{address}/")))
        .collect();
    let refusing = targets.refusing.to_string();
    specs.push(json!({ "id": "refusing", "name": "Refusing", "tcp": refusing }));
    specs
        .iter()
        .map(|spec| definition(spec, defaults))
        .collect()
}

fn spec(character: Character, url: &str) -> Value {
    let slow = format_duration(DEGRADED_OVER);
    match character {
        Character::Healthy => json!({ "id": "healthy", "name": "Healthy", "url": url }),
        Character::Slow => {
            json!({ "id": "slow", "name": "Slow", "url": url, "degraded_over": slow })
        }
        Character::NowAndThen => {
            json!({ "id": "now-and-then", "name": "Fails now and then", "url": url })
        }
        Character::Flapping => json!({ "id": "flapping", "name": "Flapping", "url": url }),
        Character::Silent => json!({
            "id": "silent",
            "name": "Never answers",
            "url": url,
            "interval": "3s",
            "timeout": "2s",
        }),
    }
}

fn definition(spec: &Value, defaults: &Defaults) -> Result<Definition, Failure> {
    let spec = MonitorSpec::from_json(spec)
        .map_err(|problems| Failure::new(crate::config::Report::from(problems)))?;
    let mut definition = spec
        .definition(defaults, Source::File)
        .map_err(Failure::new)?;
    // Open for the same short time every time: the preset's would grow out of sight.
    let breaker = Breaker::mail()
        .to_builder()
        .open_duration(BREAKER_OPEN)
        .trial_deadline(TRIAL_DEADLINE)
        .build();
    definition.settings.breaker = Some(breaker.map_err(Failure::new)?);
    Ok(definition)
}
