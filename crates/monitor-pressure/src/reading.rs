//! What is read: of which source, and how much of its limit is used.

use std::{borrow::Cow, fmt, time::Duration};

/// What a reading is of: a name out of a small set, since it becomes a label of metrics.
///
/// The constants are those that this crate reads itself; any other name will do as well.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(Cow<'static, str>);

impl Source {
    /// Resident memory of the process against `MEMORY_LIMIT_MB`.
    pub const MEMORY: Self = Self::new("memory");
    /// Memory of the control group that is closest to its limit, own or above.
    pub const CGROUP_MEMORY: Self = Self::new("cgroup_memory");
    /// The share of the last minute in which something of the own control group waited for memory.
    pub const MEMORY_STALL: Self = Self::new("memory_stall");
    /// The same of the whole machine, where no own group accounts for it: others may be behind it,
    /// so by default it is elevated at most.
    pub const MACHINE_MEMORY_STALL: Self = Self::new("machine_memory_stall");
    /// Threads of the process against the configured limit.
    pub const THREADS: Self = Self::new("threads");
    /// Threads and processes of the control group that is closest to its limit.
    pub const CGROUP_TASKS: Self = Self::new("cgroup_tasks");
    /// Open descriptors against the process's soft limit.
    pub const DESCRIPTORS: Self = Self::new("descriptors");
    /// How late the timers of the event loop fire, on average.
    pub const EVENT_LOOP_LAG: Self = Self::new("event_loop_lag");
    /// How long the oldest entry of the queue has been waiting.
    pub const QUEUE_AGE: Self = Self::new("queue_age");

    /// Names a source.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// Names the source of a pool: `pool:<name>`.
    #[must_use]
    pub fn pool(name: &str) -> Self {
        Self(Cow::Owned(format!("pool:{name}")))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Source {
    fn from(name: String) -> Self {
        Self(Cow::Owned(name))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the numbers of a [`Usage`] count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things: threads, descriptors, connections.
    Count,
    /// Nanoseconds.
    Nanoseconds,
    /// Hundredths of a per cent.
    BasisPoints,
}

/// How much of a limit is used. Whole numbers, so that thresholds are exact.
///
/// The limit may be exceeded. A limit of 0 counts as reached.
///
/// # Examples
/// ```
/// use monitor_pressure::Usage;
///
/// assert_eq!(Usage::count(3, 4).ratio(), 0.75);
/// assert_eq!(Usage::bytes(513 << 20, 512 << 20).to_string(), "513.0 MiB of 512.0 MiB");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Usage {
    used: u64,
    limit: u64,
    unit: Unit,
}

impl Usage {
    /// So many bytes of so many.
    #[must_use]
    pub const fn bytes(used: u64, limit: u64) -> Self {
        Self::of(used, limit, Unit::Bytes)
    }

    /// So many things of so many.
    #[must_use]
    pub const fn count(used: u64, limit: u64) -> Self {
        Self::of(used, limit, Unit::Count)
    }

    /// So long, where so long is too long. Above 584 years counts as 584 years.
    #[must_use]
    pub fn time(used: Duration, limit: Duration) -> Self {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self::of(nanos(used), nanos(limit), Unit::Nanoseconds)
    }

    /// So many hundredths of a per cent, where so many are too many.
    #[must_use]
    pub const fn basis_points(used: u64, limit: u64) -> Self {
        Self::of(used, limit, Unit::BasisPoints)
    }

    const fn of(used: u64, limit: u64, unit: Unit) -> Self {
        Self { used, limit, unit }
    }

    /// Returns how much is used, in [`unit`](Self::unit)s.
    #[must_use]
    pub const fn used(self) -> u64 {
        self.used
    }

    /// Returns the limit, in [`unit`](Self::unit)s.
    #[must_use]
    pub const fn limit(self) -> u64 {
        self.limit
    }

    /// Returns what the numbers count.
    #[must_use]
    pub const fn unit(self) -> Unit {
        self.unit
    }

    /// Returns `used / limit`, for display and trends: 1 at the limit, above 1 beyond it, and
    /// finite for every input.
    #[must_use]
    pub fn ratio(self) -> f64 {
        match self.limit {
            0 => 1.0,
            limit => self.used as f64 / limit as f64,
        }
    }

    /// Whether at least this much of the limit is used.
    pub(crate) fn reaches(self, percent: u32) -> bool {
        u128::from(self.used) * 100 >= u128::from(self.limit) * u128::from(percent)
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let write = |f: &mut fmt::Formatter<'_>, amount: u64| match self.unit {
            Unit::Bytes => write!(f, "{:.1} MiB", amount as f64 / f64::from(1 << 20)),
            Unit::Count => write!(f, "{amount}"),
            Unit::Nanoseconds => write!(f, "{:?}", Duration::from_nanos(amount)),
            Unit::BasisPoints => write!(f, "{}.{:02} %", amount / 100, amount % 100),
        };
        write(f, self.used)?;
        f.write_str(" of ")?;
        write(f, self.limit)
    }
}

/// One look at one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What was looked at.
    pub source: Source,
    /// What was seen, or why nothing was.
    pub value: Result<Usage, String>,
}

impl Reading {
    /// A look that saw something.
    #[must_use]
    pub fn new(source: Source, usage: Usage) -> Self {
        Self {
            source,
            value: Ok(usage),
        }
    }

    /// A look that failed, and why. The level stays what it was until the source counts as gone.
    pub fn failed(source: Source, why: impl fmt::Display) -> Self {
        Self {
            source,
            value: Err(why.to_string()),
        }
    }
}
