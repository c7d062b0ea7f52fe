//! Points in time and spans of it, in nanoseconds since the pool was built.

use std::time::Duration;

/// A point in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(pub(crate) u64);

/// A span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub(crate) u64);

impl Tick {
    /// After everything.
    pub(crate) const NEVER: Tick = Tick(u64::MAX);

    #[inline]
    pub(crate) fn after(self, span: Span) -> Tick {
        Tick(self.0.saturating_add(span.0))
    }

    /// How long `self` is past `earlier`. Zero if it is not: coarse and fine readings of one clock
    /// differ by some milliseconds.
    #[inline]
    pub(crate) fn since(self, earlier: Tick) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    pub(crate) const NEVER: Span = Span(u64::MAX);

    pub(crate) fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Span(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// No limit is a limit that is never reached.
impl From<Option<Duration>> for Span {
    fn from(limit: Option<Duration>) -> Self {
        limit.map_or(Span::NEVER, Span::from)
    }
}
