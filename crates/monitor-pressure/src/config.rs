//! Limits, rules and the interval of looking, refused together when they contradict.

use std::{collections::BTreeMap, time::Duration};

use crate::{ConfigError, Level, Rule, Source};

/// What is watched, against which limits, how often.
///
/// # Default
/// That of each setting of [`Builder`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use monitor_pressure::{Config, Source};
///
/// let config = Config::builder().memory_limit_mb(256).build()?;
/// assert_eq!(config.resource_check_interval(), Duration::from_secs(60));
/// assert_eq!(config.rule(&Source::MEMORY).thresholds.elevated, 60);
///
/// let refused = Config::builder().stale_after(Duration::from_secs(30)).build();
/// assert_eq!(
///     refused.map_err(|error| error.to_string()),
///     Err("stale_after is 30s and resource_check_interval is 60s: stale_after must be longer, \
///          or every source is stale between two looks"
///         .into()),
/// );
/// # Ok::<(), monitor_pressure::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    memory_limit_mb: u64,
    resource_check_interval: Duration,
    max_threads: u64,
    max_stall_percent: u32,
    max_event_loop_lag: Duration,
    stale_after: Option<Duration>,
    rule: Rule,
    rules: BTreeMap<Source, Rule>,
}

impl Config {
    /// Starts from the defaults.
    pub fn builder() -> Builder {
        Builder {
            config: Self::default(),
        }
    }

    /// Returns the limit of resident memory, in MiB.
    #[must_use]
    pub const fn memory_limit_mb(&self) -> u64 {
        self.memory_limit_mb
    }

    /// Returns how often to look.
    #[must_use]
    pub const fn resource_check_interval(&self) -> Duration {
        self.resource_check_interval
    }

    /// Returns the limit of threads.
    #[must_use]
    pub const fn max_threads(&self) -> u64 {
        self.max_threads
    }

    /// Returns the limit of the share of time in which something waits for memory, in per cent.
    #[must_use]
    pub const fn max_stall_percent(&self) -> u32 {
        self.max_stall_percent
    }

    /// Returns the limit of the mean event-loop lag.
    #[must_use]
    pub const fn max_event_loop_lag(&self) -> Duration {
        self.max_event_loop_lag
    }

    /// Returns how long a source that is not seen keeps its level.
    #[must_use]
    pub fn stale_after(&self) -> Duration {
        let looks = self.resource_check_interval.saturating_mul(5);
        self.stale_after.unwrap_or(looks)
    }

    /// Returns the rule of a source: its own, or the one of all. That of all takes what is read of
    /// the whole machine to [`Level::Elevated`] at most.
    #[must_use]
    pub fn rule(&self, source: &Source) -> Rule {
        if let Some(own) = self.rules.get(source) {
            return *own;
        }
        let mut rule = self.rule;
        if *source == Source::MACHINE_MEMORY_STALL {
            rule.ceiling = rule.ceiling.min(Level::Elevated);
        }
        rule
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory_limit_mb: 512,
            resource_check_interval: Duration::from_secs(60),
            max_threads: 1024,
            max_stall_percent: 50,
            max_event_loop_lag: Duration::from_millis(100),
            stale_after: None,
            rule: Rule::default(),
            rules: BTreeMap::new(),
        }
    }
}

/// Builds a [`Config`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    config: Config,
}

impl Builder {
    /// Sets the limit of resident memory (`MEMORY_LIMIT_MB`), in MiB. Default: 512.
    pub fn memory_limit_mb(mut self, memory_limit_mb: u64) -> Self {
        self.config.memory_limit_mb = memory_limit_mb;
        self
    }

    /// Sets how often to look (`RESOURCE_CHECK_INTERVAL`). Default: 60 s.
    pub fn resource_check_interval(mut self, interval: Duration) -> Self {
        self.config.resource_check_interval = interval;
        self
    }

    /// Sets the limit of threads. Default: 1024, twice what a runtime may start for blocking work.
    pub fn max_threads(mut self, max_threads: u64) -> Self {
        self.config.max_threads = max_threads;
        self
    }

    /// Sets the limit of the share of time in which something waits for memory, in per cent.
    /// Default: 50.
    pub fn max_stall_percent(mut self, percent: u32) -> Self {
        self.config.max_stall_percent = percent;
        self
    }

    /// Sets the limit of the mean event-loop lag. Default: 100 ms.
    pub fn max_event_loop_lag(mut self, lag: Duration) -> Self {
        self.config.max_event_loop_lag = lag;
        self
    }

    /// Sets how long a source that is not seen keeps its level; then it is forgotten. Default:
    /// five intervals, so 5 min.
    pub fn stale_after(mut self, stale_after: Duration) -> Self {
        self.config.stale_after = Some(stale_after);
        self
    }

    /// Sets the rule of all sources that have none of their own. Default: [`Rule::default`].
    pub fn rule(mut self, rule: Rule) -> Self {
        self.config.rule = rule;
        self
    }

    /// Sets the rule of one source. Default: none has its own.
    pub fn rule_of(mut self, source: Source, rule: Rule) -> Self {
        self.config.rules.insert(source, rule);
        self
    }

    /// Returns the configuration.
    ///
    /// # Errors
    /// - [`ConfigError::OutOfRange`]: `memory_limit_mb` outside 1 to 2³⁰ (an exbibyte),
    ///   `resource_check_interval` outside 1 s to 1 h, `max_threads` of 0, `max_stall_percent`
    ///   outside 1 to 100, `max_event_loop_lag` outside 1 ms to 60 s, a `stale_after` above 24 h, a
    ///   threshold or margin outside 1 % to 1000 %, a hold above 24 h.
    /// - [`ConfigError::Contradiction`]: a `stale_after` that is not longer than the interval,
    ///   thresholds that fall from level to level, a margin that reaches the lowest threshold.
    /// - [`ConfigError::Rule`]: one of the last two in the rule of a source.
    pub fn build(self) -> Result<Config, ConfigError> {
        let config = self.config;
        let mb = config.memory_limit_mb;
        require(
            (1..=1 << 30).contains(&mb),
            ("memory_limit_mb", mb.to_string()),
            "1 to 1073741824 (MiB)",
        )?;
        let interval = config.resource_check_interval;
        require(
            (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&interval),
            ("resource_check_interval", format!("{interval:?}")),
            "1 s to 1 h",
        )?;
        require(
            config.max_threads > 0,
            ("max_threads", config.max_threads.to_string()),
            "at least 1",
        )?;
        let stall = config.max_stall_percent;
        require(
            (1..=100).contains(&stall),
            ("max_stall_percent", stall.to_string()),
            "1 to 100",
        )?;
        let lag = config.max_event_loop_lag;
        require(
            (Duration::from_millis(1)..=Duration::from_secs(60)).contains(&lag),
            ("max_event_loop_lag", format!("{lag:?}")),
            "1 ms to 60 s",
        )?;
        let stale = config.stale_after();
        require(
            stale <= Duration::from_secs(24 * 3600),
            ("stale_after", format!("{stale:?}")),
            "at most 24 h",
        )?;
        if stale <= interval {
            return Err(ConfigError::Contradiction {
                field: "stale_after",
                value: format!("{stale:?}"),
                other: "resource_check_interval",
                other_value: format!("{interval:?}"),
                right: "stale_after must be longer, or every source is stale between two looks",
            });
        }
        config.rule.validate()?;
        for (source, rule) in &config.rules {
            rule.validate().map_err(|problem| ConfigError::Rule {
                name: source.to_string(),
                problem: Box::new(problem),
            })?;
        }
        Ok(config)
    }
}

fn require(
    holds: bool,
    (field, value): (&'static str, String),
    allowed: &'static str,
) -> Result<(), ConfigError> {
    if holds {
        Ok(())
    } else {
        Err(ConfigError::range(field, value, allowed))
    }
}
