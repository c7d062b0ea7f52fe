//! One monitor, as the file or the HTTP API defines it.

use std::ops::RangeInclusive;
use std::time::Duration;

use monitor_core::Window;
use monitor_model::MonitorId;
use monitor_scheduler::Class;
use serde_json::{Map, Value as Json, json};

use super::node::{Node, Value};
use super::policy::WAITS;
use super::problem::Problem;
use super::reader::Reader;
use super::{PolicyKeys, TargetSpec, format_duration};

/// How long a check may be allowed to take.
pub(crate) const TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(3600);
const NAME_MAX: usize = 128;
const WINDOWS_MAX: usize = 32;
const MAINTENANCE: &str = "a list of up to 32 times in UTC: \"sun 02:00-04:00\", \
                           \"mon-fri 23:30-00:15\", \"daily 03:00-03:10\", \
                           \"2027-01-02T22:00Z/2027-01-03T02:00Z\"";

/// One monitor: what to check, how often, and what to make of the answer.
///
/// Only what was said explicitly is set; the rest follows [`Defaults`](super::Defaults) and the
/// preset, also when those change later.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MonitorSpec {
    /// Its id.
    pub id: MonitorId,
    /// Its name for people. `None`: the id.
    pub name: Option<String>,
    /// What is checked.
    pub target: TargetSpec,
    /// How often to check.
    pub interval: Option<Duration>,
    /// How long a check may take. It may be longer than the interval: the due times that pass
    /// meanwhile are recorded as missed.
    pub timeout: Option<Duration>,
    /// How much it matters under pressure. `None`: as much as most.
    pub priority: Option<Class>,
    /// When it is not checked because somebody works on its target.
    pub maintenance: Vec<Window>,
    /// The preset and what overrides it.
    pub policy: PolicyKeys,
}

impl MonitorSpec {
    /// Reads a monitor from JSON, with the keys of the file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    ///
    /// ```
    /// use monitord::config::MonitorSpec;
    /// use serde_json::json;
    ///
    /// let json = json!({ "id": "web", "url": "https://example.org/", "interval": "30s" });
    /// let spec = MonitorSpec::from_json(&json).unwrap();
    /// assert_eq!(spec.to_json(), json);
    ///
    /// let problems = MonitorSpec::from_json(&json!({ "id": "Web", "ur": 1 })).unwrap_err();
    /// assert_eq!(problems.len(), 3);
    /// ```
    pub fn from_json(json: &Json) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let spec = Self::read(&Node::from_json(json), "", &mut problems);
        match spec {
            Some(spec) if problems.is_empty() => Ok(spec),
            _ => Err(problems),
        }
    }

    /// The monitor as JSON: what was said explicitly, no more. [`from_json`](Self::from_json) reads
    /// it back.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut json = Map::new();
        json.insert("id".to_owned(), json!(self.id.as_str()));
        if let Some(name) = &self.name {
            json.insert("name".to_owned(), json!(name));
        }
        self.target.write(&mut json);
        for (key, duration) in [("interval", self.interval), ("timeout", self.timeout)] {
            if let Some(duration) = duration {
                json.insert(key.to_owned(), json!(format_duration(duration)));
            }
        }
        if let Some(priority) = self.priority {
            json.insert("priority".to_owned(), json!(priority.as_str()));
        }
        if !self.maintenance.is_empty() {
            let windows = self.maintenance.iter().map(Window::to_string);
            json.insert("maintenance".to_owned(), windows.collect());
        }
        json.extend(self.policy.to_json());
        Json::Object(json)
    }

    /// The name as shown to people.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.id.as_str())
    }

    /// Reads the monitor at `path`. `None`, with at least one problem, when something needed is
    /// missing or wrong.
    pub(crate) fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut known = vec!["id", "name"];
        known.extend(TargetSpec::names());
        known.extend(["interval", "timeout", "priority", "maintenance"]);
        known.extend(PolicyKeys::NAMES);
        let mut reader = Reader::new(node, path, &known, problems)?;
        let id = read_id(&mut reader);
        let name = reader.text("name", "a text of 1 to 128 characters", check_name);
        let target = TargetSpec::read(&mut reader);
        let interval = reader.duration("interval", WAITS);
        let timeout = reader.duration("timeout", TIMEOUTS);
        let priority = reader.text("priority", "optional, normal, critical", |text| {
            let class = Class::ALL.into_iter().find(|class| class.as_str() == text);
            class.ok_or_else(|| "is no priority".to_owned())
        });
        let maintenance = reader.value("maintenance", MAINTENANCE, read_windows);
        let policy = PolicyKeys::read(&mut reader);
        Some(Self {
            id: id?,
            name,
            target: target?,
            interval,
            timeout,
            priority,
            maintenance: maintenance.unwrap_or_default(),
            policy,
        })
    }
}

fn read_id(reader: &mut Reader<'_, '_>) -> Option<MonitorId> {
    let allowed = "1 to 64 characters out of a-z 0-9 . _ -, the first a letter or digit";
    if !reader.has("id") {
        let problem = Problem::new(reader.place_of("id"), reader.key("id"), "is missing");
        reader.problems().push(problem.allowed(allowed));
        return None;
    }
    reader.text("id", allowed, |text| {
        text.parse().map_err(|_| "is no id".to_owned())
    })
}

fn read_windows(value: &Value) -> Result<Vec<Window>, String> {
    let Value::List(windows) = value else {
        return Err(format!("is {}", value.kind()));
    };
    if windows.len() > WINDOWS_MAX {
        return Err("holds too many".to_owned());
    }
    let windows = windows.iter().map(|window| match &window.value {
        Value::Text(text) => text
            .parse()
            .map_err(|_| format!("holds {text:?}, which is no time of maintenance")),
        other => Err(format!("holds {}", other.kind())),
    });
    windows.collect()
}

fn check_name(text: &str) -> Result<String, String> {
    match text.chars().count() {
        0 => Err("is empty".to_owned()),
        1..=NAME_MAX if text.chars().any(char::is_control) => {
            Err("holds control characters".to_owned())
        }
        1..=NAME_MAX => Ok(text.to_owned()),
        _ => Err("is too long".to_owned()),
    }
}
