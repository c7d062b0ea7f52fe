//! The kernel: all sources together.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    Config, Level, Reading, Scope, Snapshot, Source, SourceStatus, Transition, Usage, gauge::Gauge,
};

/// More sources than this are not kept: their names are a caller's mistake.
const MAX_SOURCES: usize = 1024;

/// The levels of all sources and of the process. Synchronous; it reads nothing and no clock.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use monitor_pressure::{Config, Level, Pressure, Reading, Source, Usage};
///
/// let mut pressure = Pressure::new(Config::default());
/// let readings = [Reading::new(Source::pool("db"), Usage::count(9, 10))];
/// let transitions = pressure.observe(readings, Duration::ZERO);
///
/// assert_eq!(pressure.level(), Level::Degraded);
/// assert_eq!(transitions[0].to_string(), "pool:db normal -> degraded: 9 of 10");
/// assert_eq!(transitions[1].to_string(), "pressure normal -> degraded by pool:db: 9 of 10");
/// ```
#[derive(Clone, Debug)]
pub struct Pressure {
    config: Config,
    gauges: BTreeMap<Source, Gauge>,
    /// INV-PRESSURE-2: the highest level of all gauges, between any two calls.
    level: Level,
    since: Duration,
    now: Duration,
    /// INV-PRESSURE-3: the number of the last transition; each has its own, without gaps.
    sequence: u64,
    dropped: u64,
}

impl Pressure {
    /// Starts at [`Level::Normal`] with no source.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            gauges: BTreeMap::new(),
            level: Level::Normal,
            since: Duration::ZERO,
            now: Duration::ZERO,
            sequence: 0,
            dropped: 0,
        }
    }

    /// Takes the readings of one look around, and returns what has changed by them, in order:
    /// changes of sources, then the one change of the whole that they bring about.
    ///
    /// # Shape and units
    /// `now` is the time since an origin of the caller's; one before the last call's counts as
    /// that. A source that is not among the readings, or whose reading failed, keeps its level for
    /// [`stale_after`](crate::Builder::stale_after) and is forgotten then. Of more than 1024
    /// sources the later ones are not kept, and are counted in [`Snapshot::dropped`].
    pub fn observe(
        &mut self,
        readings: impl IntoIterator<Item = Reading>,
        now: Duration,
    ) -> Vec<Transition> {
        self.now = now.max(self.now);
        let mut transitions = Vec::new();
        for Reading { source, value } in readings {
            self.observe_one(source, value, &mut transitions);
        }
        self.forget_stale(&mut transitions);
        self.combine(&mut transitions);
        transitions
    }

    /// Returns the level of the process: the highest of all sources.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// Returns how often to look: the caller's loop needs it.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns everything that is known, as of the last call of [`observe`](Self::observe).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let sources = self.gauges.iter().map(|(source, gauge)| SourceStatus {
            source: source.clone(),
            level: gauge.level,
            since: gauge.since,
            usage: gauge.last.map(|(_, usage)| usage),
            age: gauge.last.map(|(at, _)| self.now.saturating_sub(at)),
            trend: gauge.slope.trend(),
            until_limit: gauge.slope.until_limit(),
            problem: gauge.problem.clone(),
        });
        Snapshot {
            level: self.level,
            since: self.since,
            sequence: self.sequence,
            dropped: self.dropped,
            sources: sources.collect(),
        }
    }

    fn observe_one(
        &mut self,
        source: Source,
        value: Result<Usage, String>,
        transitions: &mut Vec<Transition>,
    ) {
        let (now, stale_after) = (self.now, self.config.stale_after());
        if self.gauges.len() >= MAX_SOURCES && !self.gauges.contains_key(&source) {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let rule = self.config.rule(&source);
        let gauge = self
            .gauges
            .entry(source.clone())
            .or_insert_with(|| Gauge::new(rule, now));
        if now.saturating_sub(gauge.seen) >= stale_after {
            gauge.gap();
        }
        let usage = match value {
            Ok(usage) => usage,
            Err(why) => return gauge.miss(why),
        };
        if let Some(from) = gauge.observe(usage, now) {
            let to = gauge.level;
            self.tell(source, from, to, Some(usage), transitions);
        }
    }

    fn forget_stale(&mut self, transitions: &mut Vec<Transition>) {
        let (now, stale_after) = (self.now, self.config.stale_after());
        let mut gone = Vec::new();
        self.gauges.retain(|source, gauge| {
            let keep = now.saturating_sub(gauge.seen) < stale_after;
            if !keep {
                gone.push((source.clone(), gauge.level));
            }
            keep
        });
        for (source, level) in gone {
            if level > Level::Normal {
                self.tell(source, level, Level::Normal, None, transitions);
            }
        }
    }

    /// The transition of a source.
    fn tell(
        &mut self,
        source: Source,
        from: Level,
        to: Level,
        usage: Option<Usage>,
        transitions: &mut Vec<Transition>,
    ) {
        self.sequence += 1;
        transitions.push(Transition {
            sequence: self.sequence,
            at: self.now,
            scope: Scope::Source,
            from,
            to,
            source,
            usage,
        });
    }

    /// The transition of the whole, once all sources have been looked at: one that rises while
    /// another falls must not show as two changes. Behind a rise is a source that came up to the
    /// new level, behind a fall one that left the old one.
    fn combine(&mut self, transitions: &mut Vec<Transition>) {
        let highest = self.gauges.values().map(|gauge| gauge.level).max();
        let (from, to) = (self.level, highest.unwrap_or_default());
        if from == to {
            return;
        }
        let behind = transitions.iter().find(|transition| match to > from {
            true => transition.to == to,
            false => transition.from == from,
        });
        let Some(behind) = behind.cloned() else {
            return;
        };
        self.sequence += 1;
        transitions.push(Transition {
            sequence: self.sequence,
            scope: Scope::Combined,
            from,
            to,
            ..behind
        });
        self.level = to;
        self.since = self.now;
    }
}
