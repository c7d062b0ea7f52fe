//! What is wrong with a configuration, told so that it can be mended at once.

use std::fmt;
use std::sync::Arc;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A place in a file. Line and column count from 1, columns in characters.
    File {
        /// The file as it was named.
        file: Arc<str>,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// A file as a whole.
    Whole(Arc<str>),
    /// An environment variable.
    Environment,
    /// A flag of the command line.
    Flag,
    /// The body of a request.
    Request,
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
    pub allowed: String,
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
            allowed: String::new(),
        }
    }

    pub(crate) fn value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }

    pub(crate) fn allowed(mut self, allowed: impl Into<String>) -> Self {
        self.allowed = allowed.into();
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Whole(file) => f.write_str(file),
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
        problems.sort_by_key(|problem| match problem.place {
            Place::File { line, column, .. } => (line, column),
            Place::Whole(_) => (0, 0),
            Place::Environment | Place::Flag | Place::Request => (usize::MAX, 0),
        });
        Self { problems }
    }
}
