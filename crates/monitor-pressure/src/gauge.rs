//! The level of one source: a state machine with hysteresis.

use std::time::Duration;

use crate::{Level, Rule, Usage, trend::Slope};

/// One source. Reads no clock: `now` never goes back.
#[derive(Clone, Debug)]
pub(crate) struct Gauge {
    rule: Rule,
    pub(crate) level: Level,
    /// Since when it has this level.
    pub(crate) since: Duration,
    /// INV-PRESSURE-1: the level falls only from here, when every reading of a whole `hold_down`
    /// allowed it, by one level; and rises only when every reading of `hold_up` asked for it.
    pending: Option<Pending>,
    pub(crate) slope: Slope,
    /// The last look that saw something.
    pub(crate) last: Option<(Duration, Usage)>,
    /// Since when nothing is seen: the last successful look, or when it first failed.
    pub(crate) seen: Duration,
    /// Why the last look saw nothing.
    pub(crate) problem: Option<String>,
}

/// A change that waits for its hold to pass.
#[derive(Clone, Copy, Debug)]
enum Pending {
    Rise { since: Duration, to: Level },
    Fall { since: Duration },
}

impl Gauge {
    pub(crate) fn new(rule: Rule, now: Duration) -> Self {
        Self {
            rule,
            level: Level::Normal,
            since: now,
            pending: None,
            slope: Slope::default(),
            last: None,
            seen: now,
            problem: None,
        }
    }

    /// Takes a reading. Returns the level it had if that has changed.
    pub(crate) fn observe(&mut self, usage: Usage, now: Duration) -> Option<Level> {
        self.slope.observe(usage.ratio(), now);
        self.last = Some((now, usage));
        self.seen = now;
        self.problem = None;
        let (entered, held) = (self.rule.entered(usage), self.rule.held(usage));
        if entered > self.level {
            self.rise(entered, now)
        } else if held < self.level {
            self.fall(held, now)
        } else {
            self.pending = None;
            None
        }
    }

    /// A look that failed: nothing changes, and a hold begins anew.
    pub(crate) fn miss(&mut self, why: String) {
        self.problem = Some(why);
        self.pending = None;
    }

    /// No reading for too long: what was seen before says nothing about the time between.
    pub(crate) fn gap(&mut self) {
        self.pending = None;
    }

    fn rise(&mut self, entered: Level, now: Duration) -> Option<Level> {
        let (since, to) = match self.pending {
            Some(Pending::Rise { since, to }) => (since, to.min(entered)),
            _ => (now, entered),
        };
        if now.saturating_sub(since) < self.rule.hold_up {
            self.pending = Some(Pending::Rise { since, to });
            return None;
        }
        self.pending = None;
        Some(self.enter(to, now))
    }

    fn fall(&mut self, held: Level, now: Duration) -> Option<Level> {
        let since = match self.pending {
            Some(Pending::Fall { since }) => since,
            _ => now,
        };
        if now.saturating_sub(since) < self.rule.hold_down {
            self.pending = Some(Pending::Fall { since });
            return None;
        }
        let before = self.enter(self.level.below(), now);
        self.pending = (held < self.level).then_some(Pending::Fall { since: now });
        Some(before)
    }

    fn enter(&mut self, level: Level, now: Duration) -> Level {
        self.since = now;
        std::mem::replace(&mut self.level, level)
    }
}
