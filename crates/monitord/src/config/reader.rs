//! Reads typed values out of a table and collects every problem on the way.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::node::{Entry, Node, Value};
use super::suggest::closest;
use super::{Place, Problem, format_duration, parse_duration};

/// A table being read. A value that is wrong becomes a problem and reads as absent, so that the
/// next one is looked at as well.
pub(crate) struct Reader<'a, 'p> {
    path: String,
    place: Place,
    entries: &'a [Entry],
    problems: &'p mut Vec<Problem>,
}

/// Why a value is refused: what is wrong with it.
pub(crate) type Refused = String;

impl<'a, 'p> Reader<'a, 'p> {
    /// Starts on `node`, which stands at `path` (empty for the root) and takes the keys `known`.
    /// `None`, with a problem, when it is no table. Every unknown key becomes a problem.
    pub(crate) fn new(
        node: &'a Node,
        path: &str,
        known: &[&str],
        problems: &'p mut Vec<Problem>,
    ) -> Option<Self> {
        let Value::Table(entries) = &node.value else {
            let what = format!("is {}", node.value.kind());
            problems.push(
                Problem::new(node.place.clone(), path, what)
                    .value(node.value.show())
                    .allowed(format!("a table with the keys {}", known.join(", "))),
            );
            return None;
        };
        let reader = Self {
            path: path.to_owned(),
            place: node.place.clone(),
            entries,
            problems,
        };
        for entry in entries
            .iter()
            .filter(|entry| !known.contains(&entry.key.as_str()))
        {
            let what = match closest(&entry.key, known) {
                Some(word) => format!("unknown key, did you mean `{word}`?"),
                None => "unknown key".to_owned(),
            };
            let problem = Problem::new(entry.place.clone(), reader.key(&entry.key), what)
                .allowed(known.join(", "));
            reader.problems.push(problem);
        }
        Some(reader)
    }

    /// Whether `key` is given.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// The entry of `key`.
    pub(crate) fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The place of `key`, or of the table when it is absent.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        self.entry(key)
            .map_or_else(|| self.place.clone(), |entry| entry.place.clone())
    }

    pub(crate) const fn problems(&mut self) -> &mut Vec<Problem> {
        self.problems
    }

    /// The full name of `key`.
    pub(crate) fn key(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Reads `key` with `read`.
    pub(crate) fn value<T>(
        &mut self,
        key: &str,
        allowed: &str,
        read: impl FnOnce(&Value) -> Result<T, Refused>,
    ) -> Option<T> {
        let entry = self.entry(key)?;
        match read(&entry.node.value) {
            Ok(value) => Some(value),
            Err(what) => {
                let problem = Problem::new(entry.node.place.clone(), self.key(key), what)
                    .value(entry.node.value.show())
                    .allowed(allowed);
                self.problems.push(problem);
                None
            }
        }
    }

    /// Reads `key`, a text, with `read`.
    pub(crate) fn text<T>(
        &mut self,
        key: &str,
        allowed: &str,
        read: impl FnOnce(&str) -> Result<T, Refused>,
    ) -> Option<T> {
        self.value(key, allowed, |value| match value {
            Value::Text(text) => read(text),
            other => Err(format!("is {}", other.kind())),
        })
    }

    /// Reads `key`, a duration in `range`.
    pub(crate) fn duration(
        &mut self,
        key: &str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let (low, high) = (
            format_duration(*range.start()),
            format_duration(*range.end()),
        );
        let allowed = format!("{low} to {high}, as text with a unit (ms, s, m, h, d): \"60s\"");
        self.value(key, &allowed, |value| match value {
            Value::Text(text) => match parse_duration(text)? {
                Duration::ZERO if !range.contains(&Duration::ZERO) => Err("is zero".to_owned()),
                duration if duration < *range.start() => Err("is too short".to_owned()),
                duration if duration > *range.end() => Err("is too long".to_owned()),
                duration => Ok(duration),
            },
            Value::Integer(_) | Value::Float(_) => Err("is a number without a unit".to_owned()),
            other => Err(format!("is {}", other.kind())),
        })
    }

    /// Reads `key`, a number of seconds in `range`, to the nearest millisecond: nothing here is
    /// measured finer.
    pub(crate) fn seconds(
        &mut self,
        key: &str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let range_s = range.start().as_secs_f64()..=range.end().as_secs_f64();
        let seconds = self.number_of(key, "a number of seconds", &range_s)?;
        // In range, hence finite, not negative and far below the largest duration.
        let seconds = (seconds * 1000.0).round() / 1000.0;
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(*range.end()))
    }

    /// Reads `key`, a whole number in `range`.
    pub(crate) fn integer(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let allowed = format!("a whole number, {} to {}", range.start(), range.end());
        self.value(key, &allowed, |value| match value {
            Value::Integer(integer) => match u64::try_from(*integer) {
                Ok(integer) if range.contains(&integer) => Ok(integer),
                _ => Err("is out of range".to_owned()),
            },
            other => Err(format!("is {}", other.kind())),
        })
    }

    /// Reads `key`, true or false.
    pub(crate) fn boolean(&mut self, key: &str) -> Option<bool> {
        self.value(key, "true, false", |value| match value {
            Value::Bool(boolean) => Ok(*boolean),
            other => Err(format!("is {}", other.kind())),
        })
    }

    /// Reads `key`, a number in `range`.
    pub(crate) fn number(&mut self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        self.number_of(key, "a number", &range)
    }

    fn number_of(&mut self, key: &str, what: &str, range: &RangeInclusive<f64>) -> Option<f64> {
        let allowed = format!("{what}, {} to {}", range.start(), range.end());
        self.value(key, &allowed, |value| {
            #[expect(
                clippy::cast_precision_loss,
                reason = "what is near a bound is refused anyway"
            )]
            let number = match value {
                Value::Integer(integer) => *integer as f64,
                Value::Float(float) => *float,
                other => return Err(format!("is {}", other.kind())),
            };
            if range.contains(&number) {
                Ok(number)
            } else {
                Err("is out of range".to_owned())
            }
        })
    }
}
