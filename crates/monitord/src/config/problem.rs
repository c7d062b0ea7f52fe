//! What is wrong with a configuration, told so that it can be mended at once.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A file, or a place in it.
    File {
        /// The file as it was named.
        file: Arc<str>,
        /// Where in it. `None`: the file as a whole.
        at: Option<Position>,
    },
    /// An environment variable.
    Environment,
    /// A flag of the command line.
    Flag,
    /// The body of a request.
    Request,
}

/// A place in a text. Both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: NonZeroU32,
    /// The column.
    pub column: NonZeroU32,
}

impl Position {
    pub(crate) fn new(line: usize, column: usize) -> Self {
        let count = |n| u32::try_from(n).ok().and_then(NonZeroU32::new);
        Self {
            line: count(line).unwrap_or(NonZeroU32::MIN),
            column: count(column).unwrap_or(NonZeroU32::MIN),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The key, with the tables it is in: `monitor[2].interval`. Empty for the whole.
    pub key: String,
    /// The value as it was written; `None` for a missing one and for what might be a secret.
    pub value: Option<String>,
    /// What is wrong with it.
    pub what: String,
    /// What would be right. Empty when that goes without saying.
    pub allowed: Box<str>,
}

impl Problem {
    /// A problem with a key that has no value to show.
    pub(crate) fn new(place: Place, key: impl Into<String>, what: impl Into<String>) -> Self {
        let (key, what) = (key.into(), what.into());
        Self {
            place,
            key,
            value: None,
            what,
            allowed: Box::default(),
        }
    }

    pub(crate) fn value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }

    pub(crate) fn allowed(mut self, allowed: impl Into<Box<str>>) -> Self {
        self.allowed = allowed.into();
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, at: Some(at) } => write!(f, "{file}:{}:{}", at.line, at.column),
            Self::File { file, at: None } => f.write_str(file),
            Self::Environment => f.write_str("environment"),
            Self::Flag => f.write_str("command line"),
            Self::Request => f.write_str("request"),
        }
    }
}

/// `file:line:column: key = value: what is wrong; allowed: ...`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        match (&self.value, self.key.is_empty()) {
            (Some(value), false) => write!(f, "{} = {value}: ", self.key)?,
            (None, false) => write!(f, "{}: ", self.key)?,
            (Some(value), true) => write!(f, "{value}: ")?,
            (None, true) => {}
        }
        f.write_str(&self.what)?;
        if self.allowed.is_empty() {
            Ok(())
        } else {
            write!(f, "; allowed: {}", self.allowed)
        }
    }
}

impl std::error::Error for Problem {}

/// Everything that is wrong with a configuration, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The problems.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        match self.problems.len() {
            1 => f.write_str("1 problem; nothing was started"),
            n => write!(f, "{n} problems; nothing was started"),
        }
    }
}

impl std::error::Error for Report {}

impl From<Vec<Problem>> for Report {
    fn from(mut problems: Vec<Problem>) -> Self {
        // What is in no file comes last.
        problems.sort_by_key(|problem| match problem.place {
            Place::File { at, .. } => (0, at),
            Place::Environment | Place::Flag | Place::Request => (1, None),
        });
        Self { problems }
    }
}
