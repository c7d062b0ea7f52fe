//! serde: names as text, faults as their two names, policies in whole milliseconds, counts by name.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::{
    AlertStep, Category, CategoryPolicy, CategoryStreaks, Fault, Layer, OnSwitch, Policies, Reason,
    Then, UnknownName,
};

/// Reads a value by its name, for the enums that `named!` defines.
pub(crate) struct Named<T>(pub(crate) PhantomData<T>);

impl<T: FromStr<Err = UnknownName>> Visitor<'_> for Named<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
        name.parse().map_err(E::custom)
    }
}

/// A fault as it is written down.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultRow<'a> {
    layer: Layer,
    reason: Reason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detail: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

/// `{"layer":"connect","reason":"refused","detail":"127.0.0.1:9"}`, with `retry_after_ms` where
/// the other side asks for it, rounded up.
impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = FaultRow {
            layer: self.layer(),
            reason: self.reason(),
            detail: self.detail().map(Cow::Borrowed),
            retry_after_ms: self.retry_after().map(millis),
        };
        row.serialize(serializer)
    }
}

/// The detail is cleaned and cut as [`Fault::with_detail`] does.
impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let row = FaultRow::deserialize(deserializer)?;
        let fault = Self::new(row.layer, row.reason)
            .with_retry_after(row.retry_after_ms.map(Duration::from_millis));
        Ok(match row.detail {
            Some(detail) => fault.with_detail(detail),
            None => fault,
        })
    }
}

/// A policy as it is written down: what is not given is left as it is by default.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyRow {
    retries_ms: Option<Vec<u64>>,
    then: Option<ThenRow>,
    asked_at_most_ms: Option<u64>,
    on_switch: Option<OnSwitch>,
    alerts: Option<Vec<StepRow>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ThenRow {
    Interval,
    EveryMs(u64),
    Suspend,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepRow {
    failures: u32,
    #[serde(default)]
    after_ms: u64,
}

/// All policies, by the names of their categories.
impl Serialize for Policies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|row| (row.category, PolicyRow::of(row))))
    }
}

/// Some policies, by the names of their categories; a category or a field that is not there
/// keeps its default. Numbers out of their range are errors that name them.
impl<'de> Deserialize<'de> for Policies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rows = BTreeMap::<Category, PolicyRow>::deserialize(deserializer)?;
        let mut policies = Self::default();
        for (category, row) in rows {
            let policy = row.over(policies.get(category).clone());
            policies.set(policy).map_err(D::Error::custom)?;
        }
        Ok(policies)
    }
}

impl PolicyRow {
    fn of(policy: &CategoryPolicy) -> Self {
        let step = |step: &AlertStep| StepRow {
            failures: step.failures,
            after_ms: millis(step.after),
        };
        Self {
            retries_ms: Some(policy.retries.iter().copied().map(millis).collect()),
            then: Some(match policy.then {
                Then::Interval => ThenRow::Interval,
                Then::Every(delay) => ThenRow::EveryMs(millis(delay)),
                Then::Suspend => ThenRow::Suspend,
            }),
            asked_at_most_ms: Some(millis(policy.asked_at_most)),
            on_switch: Some(policy.on_switch),
            alerts: Some(policy.alerts.iter().map(step).collect()),
        }
    }

    fn over(self, mut policy: CategoryPolicy) -> CategoryPolicy {
        if let Some(retries) = self.retries_ms {
            policy.retries = retries.into_iter().map(Duration::from_millis).collect();
        }
        if let Some(then) = self.then {
            policy.then = match then {
                ThenRow::Interval => Then::Interval,
                ThenRow::EveryMs(delay) => Then::Every(Duration::from_millis(delay)),
                ThenRow::Suspend => Then::Suspend,
            };
        }
        if let Some(most) = self.asked_at_most_ms {
            policy.asked_at_most = Duration::from_millis(most);
        }
        if let Some(on_switch) = self.on_switch {
            policy.on_switch = on_switch;
        }
        if let Some(alerts) = self.alerts {
            let step = |row: StepRow| AlertStep {
                failures: row.failures,
                after: Duration::from_millis(row.after_ms),
            };
            policy.alerts = alerts.into_iter().map(step).collect();
        }
        policy
    }
}

/// Counts as they are written down: by name, so that a new category makes no old ones unreadable.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StreaksRow {
    failures: BTreeMap<Category, u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<Category>,
}

/// `{"failures":{"network":2},"last":"network"}`.
impl Serialize for CategoryStreaks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let count = |category: &Category| (*category, self.of(*category));
        let all = Category::ALL.iter().map(count);
        let row = StreaksRow {
            failures: all.filter(|(_, failures)| *failures > 0).collect(),
            last: self.last,
        };
        row.serialize(serializer)
    }
}

/// A category that is not there has not failed.
impl<'de> Deserialize<'de> for CategoryStreaks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let row = StreaksRow::deserialize(deserializer)?;
        let mut streaks = Self::new();
        for (category, failures) in row.failures {
            streaks.in_a_row[category.index()] = failures;
        }
        streaks.last = row.last;
        Ok(streaks)
    }
}

/// Whole milliseconds, rounded up: nobody is asked earlier than they want.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
