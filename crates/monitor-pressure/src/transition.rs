//! A change of level, as an event.

use std::{fmt, time::Duration};

use crate::{Level, Source, Usage};

/// Whose level changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// That of one source.
    Source,
    /// That of the process: the highest of all sources.
    Combined,
}

/// A change of level. Numbered without gaps from 1, those of sources and of the whole together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The number of this change.
    pub sequence: u64,
    /// When, on the clock that `observe` was given.
    pub at: Duration,
    /// Whose level changed.
    pub scope: Scope,
    /// What it was: the `to` of the transition before in this scope.
    pub from: Level,
    /// What it is now.
    pub to: Level,
    /// The source that changed. For the whole: the one whose change brought this about.
    pub source: Source,
    /// What was seen. `None`: nothing any more, the source counts as gone.
    pub usage: Option<Usage>,
}

impl Transition {
    /// Returns whether things got worse.
    #[must_use]
    pub fn is_rise(&self) -> bool {
        self.to > self.from
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scope,
            from,
            to,
            source,
            ..
        } = self;
        match scope {
            Scope::Source => write!(f, "{source} {from} -> {to}")?,
            Scope::Combined => write!(f, "pressure {from} -> {to} by {source}")?,
        }
        match self.usage {
            Some(usage) => write!(f, ": {usage}"),
            None => f.write_str(": not seen any more"),
        }
    }
}
