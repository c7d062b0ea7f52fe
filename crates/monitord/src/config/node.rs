//! One tree for all that is read, with the place of every value: TOML and JSON both become this.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Place, Position};

/// The longest piece of a value that is repeated in a message, in characters.
const SHOWN: usize = 60;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// An entry of a table.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    pub(crate) key: String,
    pub(crate) node: Node,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    Integer(i128),
    Float(f64),
    Bool(bool),
    List(Vec<Node>),
    /// Entries in the order of the file.
    Table(Vec<Entry>),
    /// Something that no key takes: a date, `null`, an integer beyond 128 bits.
    Other(String),
}

/// Turns byte offsets into lines and columns.
pub(crate) struct Text<'a> {
    file: Arc<str>,
    text: &'a str,
    /// Where each line begins: a large file has as many places as lines, and each is looked up.
    lines: Vec<usize>,
}

impl<'a> Text<'a> {
    pub(crate) fn new(file: Arc<str>, text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(end, _)| end + 1));
        let lines = lines.collect();
        Self { file, text, lines }
    }

    pub(crate) fn place(&self, span: &Range<usize>) -> Place {
        let mut start = span.start.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        // The first line begins at 0, so there is always one that begins before.
        let line = self.lines.partition_point(|begin| *begin <= start);
        let begin = self.lines[line - 1];
        let column = self.text[begin..start].chars().count() + 1;
        Place::File {
            file: Arc::clone(&self.file),
            at: Some(Position::new(line, column)),
        }
    }

    pub(crate) fn table(&self, table: &Spanned<DeTable<'_>>) -> Node {
        Node {
            place: self.place(&table.span()),
            value: self.entries(table.get_ref()),
        }
    }

    fn entries(&self, table: &DeTable<'_>) -> Value {
        let mut entries: Vec<(usize, Entry)> = table
            .iter()
            .map(|(key, value)| {
                let place = self.place(&key.span());
                let entry = Entry {
                    place,
                    key: key.get_ref().to_string(),
                    node: self.node(value),
                };
                (key.span().start, entry)
            })
            .collect();
        entries.sort_by_key(|(start, _)| *start);
        Value::Table(entries.into_iter().map(|(_, entry)| entry).collect())
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Node {
        let place = self.place(&value.span());
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(integer) => {
                match i128::from_str_radix(integer.as_str(), integer.radix()) {
                    Ok(integer) => Value::Integer(integer),
                    Err(_) => Value::Other(integer.to_string()),
                }
            }
            DeValue::Float(float) => match float.as_str().parse() {
                Ok(float) => Value::Float(float),
                Err(_) => Value::Other(float.to_string()),
            },
            DeValue::Boolean(bool) => Value::Bool(*bool),
            DeValue::Datetime(date) => Value::Other(date.to_string()),
            DeValue::Array(list) => Value::List(list.iter().map(|item| self.node(item)).collect()),
            DeValue::Table(table) => self.entries(table),
        };
        Node { place, value }
    }
}

impl Node {
    /// The place of the value of `key`, or of the whole where there is none.
    pub(crate) fn place_of(&self, key: &str) -> &Place {
        let entry = match &self.value {
            Value::Table(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        };
        entry.map_or(&self.place, |entry| &entry.node.place)
    }

    /// The tree of a JSON value.
    pub(crate) fn from_json(json: &serde_json::Value) -> Self {
        let value = match json {
            serde_json::Value::Null => Value::Other("null".to_owned()),
            serde_json::Value::Bool(bool) => Value::Bool(*bool),
            serde_json::Value::Number(number) => match number.as_i128() {
                Some(integer) => Value::Integer(integer),
                None => number
                    .as_f64()
                    .map_or_else(|| Value::Other(number.to_string()), Value::Float),
            },
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(list) => {
                Value::List(list.iter().map(Self::from_json).collect())
            }
            serde_json::Value::Object(map) => Value::Table(
                map.iter()
                    .map(|(key, value)| Entry {
                        place: Place::Request,
                        key: key.clone(),
                        node: Self::from_json(value),
                    })
                    .collect(),
            ),
        };
        Self {
            place: Place::Request,
            value,
        }
    }
}

impl Value {
    /// What it is, for "is a number".
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a decimal number",
            Self::Bool(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(_) => "of no use here",
        }
    }

    /// The value as it was written, more or less, and never more than a line of it.
    pub(crate) fn show(&self) -> String {
        match self {
            Self::Text(text) => show_text(text),
            Self::Integer(integer) => integer.to_string(),
            Self::Float(float) => float.to_string(),
            Self::Bool(bool) => bool.to_string(),
            Self::List(list) if list.is_empty() => "[]".to_owned(),
            Self::List(_) => "[...]".to_owned(),
            Self::Table(_) => "{...}".to_owned(),
            Self::Other(text) => text.chars().take(SHOWN).collect(),
        }
    }
}

/// A text in quotes, escaped and cut, and without passwords and queries: it may have been meant as
/// a URL, and this goes to logs.
pub(crate) fn show_text(text: &str) -> String {
    let text = &monitor_probes::redacted(text);
    let mut shown = String::from("\"");
    for c in text.chars().take(SHOWN) {
        match c {
            '"' | '\\' => shown.extend(['\\', c]),
            c if c.is_control() => {
                // Writing to a `String` cannot fail.
                let _ = write!(shown, "{}", c.escape_default());
            }
            c => shown.push(c),
        }
    }
    if text.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    shown.push('"');
    shown
}
