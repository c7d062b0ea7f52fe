//! What is checked: an HTTP resource or a TCP port.

use std::time::Duration;

use monitor_probes::{Method, StatusSet, Target, parse_target};
use serde_json::{Map, Value as Json, json};

use super::format_duration;
use super::monitor::TIMEOUTS;
use super::node::{Value, show_text};
use super::policy::to_u32;
use super::problem::Problem;
use super::reader::Reader;

/// What is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetSpec {
    /// An HTTP or HTTPS resource.
    Http(HttpSpec),
    /// A TCP port.
    Tcp {
        /// `host:port`; an IPv6 address in brackets.
        address: String,
    },
}

/// An HTTP check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct HttpSpec {
    /// The address.
    pub url: String,
    /// The method. `None`: GET.
    pub method: Option<Method>,
    /// The statuses that are right. `None`: 200 to 399.
    pub expect_status: Option<StatusSet>,
    /// A text that the body must contain.
    pub expect_body: Option<String>,
    /// Headers of the request. Their values may be secrets and are never shown.
    pub headers: Vec<(String, String)>,
    /// The largest body that is accepted, in KiB. `None`: 1024.
    pub body_limit_kb: Option<u32>,
    /// An answer that takes longer than this is degraded.
    pub degraded_over: Option<Duration>,
    /// Whether each check opens a connection of its own. `None`: it does.
    pub connection: Option<Reuse>,
}

/// What becomes of the connection of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// `fresh`: each check opens its own, and sees what a new visitor sees.
    Fresh,
    /// `reuse`: it is kept for the next check, which sees what a returning visitor sees.
    Kept,
}

impl Reuse {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Kept => "reuse",
        }
    }
}

/// The keys that only an HTTP check takes.
const HTTP_ONLY: [&str; 7] = [
    "method",
    "expect_status",
    "expect_body",
    "headers",
    "body_limit_kb",
    "degraded_over",
    "connection",
];
const STATUSES: &str =
    "statuses from 100 to 599, ranges and classes, such as [200, \"300-303\", \"4xx\"]";

impl TargetSpec {
    /// The keys in TOML and JSON.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        ["url", "tcp"].into_iter().chain(HTTP_ONLY)
    }

    /// Reads what is checked. `None`, with a problem, when that is not clear.
    pub(crate) fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        match (reader.has("url"), reader.has("tcp")) {
            (true, false) => HttpSpec::read(reader).map(Self::Http),
            (false, true) => {
                refuse_http_keys(reader);
                let allowed = "host:port, such as \"db.example:5432\"";
                let address = reader.text("tcp", allowed, |text| match parse_target(text) {
                    Ok(Target::Tcp { .. }) => Ok(text.to_owned()),
                    Ok(_) => Err("is a URL; write url = ... for it".to_owned()),
                    Err(error) => Err(error.to_string()),
                })?;
                Some(Self::Tcp { address })
            }
            (url, _) => {
                let what = if url {
                    "`url` is given as well"
                } else {
                    "is missing, and so is `tcp`"
                };
                let key = if url { "tcp" } else { "url" };
                let problem = Problem::new(reader.place_of(key), reader.key(key), what)
                    .allowed("one of url = \"https://...\" and tcp = \"host:port\"");
                reader.problems().push(problem);
                None
            }
        }
    }

    pub(crate) fn write(&self, json: &mut Map<String, Json>) {
        match self {
            Self::Http(http) => http.write(json),
            Self::Tcp { address } => {
                json.insert("tcp".to_owned(), json!(address));
            }
        }
    }
}

impl HttpSpec {
    fn read(reader: &mut Reader<'_, '_>) -> Option<Self> {
        let allowed = "an http or https URL, such as \"https://example.org/health\"";
        let url = reader.text("url", allowed, |text| match parse_target(text) {
            Ok(Target::Http(_)) => Ok(text.to_owned()),
            Ok(_) => Err("has no scheme http or https; write tcp = ... for a port".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        let method = reader.text("method", "GET, HEAD", |text| match text {
            "GET" => Ok(Method::Get),
            "HEAD" => Ok(Method::Head),
            _ => Err("is no method for a check".to_owned()),
        });
        let expect_status = reader.value("expect_status", STATUSES, read_statuses);
        let expect_body = reader.text(
            "expect_body",
            "a text of 1 to 4096 bytes",
            |text| match text.len() {
                0 => Err("is empty".to_owned()),
                1..=4096 => Ok(text.to_owned()),
                _ => Err("is too long".to_owned()),
            },
        );
        let headers = "a table of names and texts, such as { Accept = \"text/html\" }";
        let headers = reader.value("headers", headers, read_headers);
        let body_limit_kb = reader.integer("body_limit_kb", 1..=65_536).map(to_u32);
        let slow = Duration::from_millis(1)..=*TIMEOUTS.end();
        let degraded_over = reader.duration("degraded_over", slow);
        let connection = reader.text("connection", "fresh, reuse", |text| match text {
            "fresh" => Ok(Reuse::Fresh),
            "reuse" => Ok(Reuse::Kept),
            _ => Err("is neither".to_owned()),
        });
        Some(Self {
            url: url?,
            method,
            expect_status,
            expect_body,
            headers: headers.unwrap_or_default(),
            body_limit_kb,
            degraded_over,
            connection,
        })
    }

    fn write(&self, json: &mut Map<String, Json>) {
        let statuses = self.expect_status.as_ref().map(|set| {
            let set = set.to_string();
            json!(set.split(',').collect::<Vec<_>>())
        });
        let headers = (!self.headers.is_empty()).then(|| {
            self.headers
                .iter()
                .map(|(name, value)| (name.clone(), json!(value)))
                .collect()
        });
        let values = [
            self.method.map(|method| json!(method.as_str())),
            statuses,
            self.expect_body.as_ref().map(|text| json!(text)),
            headers.map(Json::Object),
            self.body_limit_kb.map(|limit| json!(limit)),
            self.degraded_over
                .map(|limit| json!(format_duration(limit))),
            self.connection.map(|connection| json!(connection.as_str())),
        ];
        json.insert("url".to_owned(), json!(self.url));
        for (name, value) in HTTP_ONLY.into_iter().zip(values) {
            if let Some(value) = value {
                json.insert(name.to_owned(), value);
            }
        }
    }
}

/// Reads a list, or a single entry without one.
fn read_statuses(value: &Value) -> Result<StatusSet, String> {
    let entry = |value: &Value| match value {
        Value::Integer(status) => Ok(status.to_string()),
        Value::Text(text) => Ok(text.clone()),
        other => Err(format!("{} is {}", other.show(), other.kind())),
    };
    let entries = match value {
        Value::List(list) => list
            .iter()
            .map(|node| entry(&node.value))
            .collect::<Result<_, _>>()?,
        single => vec![entry(single)?],
    };
    if entries.is_empty() {
        return Err("is empty".to_owned());
    }
    let wrong = |entry: &&String| entry.parse::<StatusSet>().is_err();
    match entries.iter().find(wrong) {
        Some(entry) => Err(format!("{} is no HTTP status", show_text(entry))),
        None => entries
            .join(",")
            .parse()
            .map_err(|_| "is no set of statuses".to_owned()),
    }
}

/// Reads the table of headers. A value never gets into a message: it may be a secret.
fn read_headers(value: &Value) -> Result<Vec<(String, String)>, String> {
    let Value::Table(entries) = value else {
        return Err(format!("is {}", value.kind()));
    };
    entries
        .iter()
        .map(|entry| match &entry.node.value {
            Value::Text(text) => Ok((entry.key.clone(), text.clone())),
            other => Err(format!("{} is {}", show_text(&entry.key), other.kind())),
        })
        .collect()
}

fn refuse_http_keys(reader: &mut Reader<'_, '_>) {
    for key in HTTP_ONLY
        .into_iter()
        .filter(|key| reader.has(key))
        .collect::<Vec<_>>()
    {
        let (place, key) = (reader.place_of(key), reader.key(key));
        let problem = Problem::new(place, key, "is for `url`, and this monitor has `tcp`");
        reader.problems().push(problem);
    }
}
