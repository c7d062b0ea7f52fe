//! What was found wrong.

use std::fmt;

use super::Ms;

/// What the prober promises, whatever goes wrong around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Property {
    /// One run per key.
    S1,
    /// No commit from an older epoch, and none refused that is current.
    S2,
    /// One holder per connection.
    S3,
    /// No more runs than permits, and no more connections than there may be.
    S4,
    /// No more trials of a half-open breaker than it may admit.
    S5,
    /// Each due time ends as one record: a run or a report.
    Record,
    /// A restart sets nobody off at the same time as all others.
    Spread,
    /// An active key has a timer, a place in the queue or a run.
    L1,
    /// Nobody waits beside a free permit or an idle connection.
    L2,
    /// What has ended gives back all it held.
    L3,
    /// A shutdown ends by its deadline.
    L4,
    /// A breaker closes when its target is well.
    L6,
    /// Nobody is passed over for ever.
    L7,
    /// A failing key is not looked at more often than its backoff says.
    L8,
}

impl Property {
    /// Its short name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S1 => "S1 one run per key",
            Self::S2 => "S2 no commit of an older epoch",
            Self::S3 => "S3 one holder per connection",
            Self::S4 => "S4 no more than there may be at once",
            Self::S5 => "S5 no more trials than may be",
            Self::Record => "one record for each due time",
            Self::Spread => "a restart bunches nothing",
            Self::L1 => "L1 an active key has a timer, a queue place or a run",
            Self::L2 => "L2 nobody waits beside what is free",
            Self::L3 => "L3 all is given back",
            Self::L4 => "L4 a shutdown ends by its deadline",
            Self::L6 => "L6 the breaker of a well target closes",
            Self::L7 => "L7 nobody is passed over for ever",
            Self::L8 => "L8 failures make no checks more frequent",
        }
    }
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// What was promised.
    pub property: Property,
    /// When it was found, in milliseconds since the start.
    pub at_ms: u64,
    /// The target, if it is one's.
    pub target: Option<u32>,
    /// What was found.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            property,
            at_ms,
            target,
            what,
        } = self;
        write!(f, "{} at {at_ms} ms", property.as_str())?;
        if let Some(target) = target {
            write!(f, ", target {target}")?;
        }
        write!(f, ": {what}")
    }
}

/// All that was found wrong: the first few in full.
#[derive(Debug, Default)]
pub(super) struct Audit {
    pub(super) found: Vec<Violation>,
    pub(super) total: u64,
}

impl Audit {
    const KEPT: usize = 20;

    pub(super) fn fail(
        &mut self,
        property: Property,
        at_ms: Ms,
        target: Option<u32>,
        what: String,
    ) {
        self.total += 1;
        if self.found.len() < Self::KEPT {
            self.found.push(Violation {
                property,
                at_ms,
                target,
                what,
            });
        }
    }
}
