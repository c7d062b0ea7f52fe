//! Everything that is known, for health pages and metrics.

use std::time::Duration;

use crate::{Level, Source, Trend, Usage};

/// The levels of all sources and of the process at one time.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The highest level of all sources. [`Level::is_ready`] says what it means for readiness.
    pub level: Level,
    /// Since when, on the clock that `observe` was given.
    pub since: Duration,
    /// The number of the last transition; 0 when there was none.
    pub sequence: u64,
    /// Readings that were not kept because there were too many sources.
    pub dropped: u64,
    /// The sources, by name.
    pub sources: Vec<SourceStatus>,
}

impl Snapshot {
    /// Returns the sources that have the level of the whole, if that is above normal: the causes.
    pub fn causes(&self) -> impl Iterator<Item = &SourceStatus> {
        let pressed = self.level > Level::Normal;
        let causes = self.sources.iter();
        causes.filter(move |source| pressed && source.level == self.level)
    }
}

/// One source at one time.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SourceStatus {
    /// Its name.
    pub source: Source,
    /// Its level.
    pub level: Level,
    /// Since when, on the clock that `observe` was given.
    pub since: Duration,
    /// What was last seen. `None`: nothing was seen so far.
    pub usage: Option<Usage>,
    /// How long ago that was, as of the last look.
    pub age: Option<Duration>,
    /// Where it is heading.
    pub trend: Trend,
    /// When it will reach its limit if it goes on like this. `None` unless it is rising.
    pub until_limit: Option<Duration>,
    /// Why the last look saw nothing.
    pub problem: Option<String>,
}
