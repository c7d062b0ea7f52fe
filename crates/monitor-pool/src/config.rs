//! The settings of a pool, checked when it is built.

use std::{sync::Arc, time::Duration};

use monitor_backoff::{Base, Cap, ExponentOrigin, Floor, Jitter, JitterKind, Policy, Schedule};

use crate::{ConfigError, Listener, Manager, Pool};

/// Which idle connection is handed out first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IdleOrder {
    /// The one used last: what is too many falls idle, and `idle_timeout` finds it.
    #[default]
    Lifo,
    /// The one not used for longest: all stay warm.
    Fifo,
}

/// What becomes of a connection whose holder panics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnPanic {
    /// It is closed.
    #[default]
    Close,
    /// It comes back if it is neither in the middle of an operation nor tainted.
    Reuse,
}

/// What becomes of who waits when an attempt to connect fails in a way that may go away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnConnectError {
    /// All wait on, until their deadlines; the error is in the timeout.
    #[default]
    Retry,
    /// The caller who has waited longest gets the error.
    FailFirst,
    /// Every caller gets the error.
    FailAll,
}

/// Whether to end an acquire that waits for what its own task holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Nested {
    /// At its deadline, as [`Deadlock`](crate::AcquireError::Deadlock) instead of `Timeout`. Never
    /// wrong: the caller would have failed in any case.
    #[default]
    AtDeadline,
    /// At once, when each connection is held by a task that itself waits. Wrong where one task
    /// runs several futures (`join!`, `FuturesUnordered`) or hands a connection to another task.
    AtOnce,
}

/// Settings of a pool. See the crate's table of defaults.
pub struct Builder<M: Manager> {
    pub(crate) manager: M,
    pub(crate) settings: Settings,
}

/// All that is set, without the manager.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) name: Arc<str>,
    pub(crate) max_size: usize,
    pub(crate) min_idle: usize,
    pub(crate) max_waiters: usize,
    pub(crate) acquire_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) check_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) connect_limit: Option<usize>,
    pub(crate) connect_backoff: Policy,
    pub(crate) on_connect_error: OnConnectError,
    pub(crate) check_if_idle_for: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) lifetime_jitter: f64,
    pub(crate) max_uses: Option<u32>,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) offer_grace: Duration,
    pub(crate) order: IdleOrder,
    pub(crate) on_panic: OnPanic,
    pub(crate) nested: Nested,
    pub(crate) leak_after: Option<Duration>,
    pub(crate) seed: Option<u64>,
    pub(crate) listener: Option<Arc<dyn Listener>>,
}

/// More connections than anybody opens, few enough for a `u32`.
const MOST: usize = 1_000_000;

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name(mut self, $name: $type) -> Self {
                self.settings.$name = $name;
                self
            }
        )*
    };
}

impl<M: Manager> Builder<M> {
    pub(crate) fn new(manager: M) -> Self {
        Self {
            manager,
            settings: Settings::default(),
        }
    }

    setters! {
        /// The most connections there may be, those being made or closed included. Default 10.
        max_size: usize;
        /// How many connections to keep idle, where `max_size` allows. Default 0.
        min_idle: usize;
        /// How many callers may wait; who comes then gets `Overloaded`. Default 10 000.
        max_waiters: usize;
        /// How long an acquire may take, all stages together. Default 30 s.
        acquire_timeout: Duration;
        /// How long one attempt to connect may take. Default 10 s.
        connect_timeout: Duration;
        /// How long a check may take. Default 5 s.
        check_timeout: Duration;
        /// How long a goodbye may take; until then the connection counts. Default 5 s.
        close_timeout: Duration;
        /// How long to wait after failures to connect, for all callers together; its normal
        /// interval is one second. Default 100 ms doubled up to 10 s, jitter down to the half.
        connect_backoff: Policy;
        /// Who hears of an attempt to connect that failed. Default [`OnConnectError::Retry`].
        on_connect_error: OnConnectError;
        /// Checks a connection before it is handed out if it was handed out or checked last longer
        /// ago than this; `None` never does, zero always. Default 1 s.
        check_if_idle_for: Option<Duration>;
        /// Closes a connection that has been idle for this long, but for `min_idle` of them; up
        /// to an eighth late. Default 10 min.
        idle_timeout: Option<Duration>;
        /// The age at which a connection is not handed out again. Default 30 min.
        max_lifetime: Option<Duration>;
        /// How much of `max_lifetime` is cut off at random, once for each connection, so that they
        /// do not all end together: 0 to 1. Default 0.1.
        lifetime_jitter: f64;
        /// How often a connection is handed out at most. Default no limit.
        max_uses: Option<u32>;
        /// Checks idle connections this often. Default never.
        keepalive: Option<Duration>;
        /// How long a connection stays offered to a caller whose task does not take it, while
        /// another waits. Default 10 ms.
        offer_grace: Duration;
        /// Which idle connection goes first. Default [`IdleOrder::Lifo`].
        order: IdleOrder;
        /// What becomes of a connection whose holder panics. Default [`OnPanic::Close`].
        on_panic: OnPanic;
        /// When a nested acquire that cannot succeed ends. Default [`Nested::AtDeadline`].
        nested: Nested;
        /// Warns of a connection that has been out for this long. Default 30 s.
        leak_after: Option<Duration>;
    }

    /// The name, for logs, events and errors. Default `pool`.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.settings.name = Arc::from(name);
        self
    }

    /// How many attempts to connect may run at once. Default 4, or `max_size` where that is less.
    #[must_use]
    pub fn connect_limit(mut self, connect_limit: usize) -> Self {
        self.settings.connect_limit = Some(connect_limit);
        self
    }

    /// Makes back-off and lifetimes repeatable. Default random.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// Hears what happens. Default nobody.
    #[must_use]
    pub fn listener(mut self, listener: impl Listener) -> Self {
        self.settings.listener = Some(Arc::new(listener));
        self
    }

    /// Builds the pool. Opens no connection, spawns no task and needs no runtime.
    ///
    /// # Errors
    /// Fails if a number or duration is zero or too large, or if two contradict each other; names
    /// the fields.
    pub fn build(self) -> Result<Pool<M>, ConfigError> {
        self.settings.validate()?;
        Ok(Pool::new(self.manager, &self.settings))
    }
}

impl Settings {
    /// INV-POOL-7: what was built satisfies all of this, so that no rule of the kernel can divide
    /// by zero, wait for nothing, or wait for ever.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let above = |zero: bool, field, instead| {
            zero.then_some(ConfigError::Zero { field, instead })
                .map_or(Ok(()), Err)
        };
        above(self.max_size == 0, "max_size", "or nobody could be served")?;
        above(self.max_waiters == 0, "max_waiters", "or use try_acquire")?;
        let no_limit = "or nothing would succeed";
        above(
            self.acquire_timeout.is_zero(),
            "acquire_timeout",
            "or use try_acquire",
        )?;
        above(self.connect_timeout.is_zero(), "connect_timeout", no_limit)?;
        above(self.check_timeout.is_zero(), "check_timeout", no_limit)?;
        above(self.close_timeout.is_zero(), "close_timeout", no_limit)?;
        above(self.offer_grace.is_zero(), "offer_grace", no_limit)?;
        above(self.connect_limit == Some(0), "connect_limit", no_limit)?;
        above(self.max_uses == Some(0), "max_uses", "or None for no limit")?;
        let is_zero = |limit: Option<Duration>| limit.is_some_and(|limit| limit.is_zero());
        above(
            is_zero(self.idle_timeout),
            "idle_timeout",
            "or None to keep idle ones",
        )?;
        above(
            is_zero(self.max_lifetime),
            "max_lifetime",
            "or None for no limit",
        )?;
        above(is_zero(self.keepalive), "keepalive", "or None for none")?;
        above(
            is_zero(self.leak_after),
            "leak_after",
            "or None for no warning",
        )?;
        for (field, value) in [
            ("max_size", self.max_size),
            ("max_waiters", self.max_waiters),
        ] {
            if value > MOST {
                return Err(ConfigError::TooLarge {
                    field,
                    value,
                    most: MOST,
                });
            }
        }
        if !(0.0..=1.0).contains(&self.lifetime_jitter) {
            return Err(ConfigError::NotARatio {
                field: "lifetime_jitter",
                value: self.lifetime_jitter,
            });
        }
        self.contradictions()
    }

    fn contradictions(&self) -> Result<(), ConfigError> {
        let differ = |field, value: String, other, other_value: String, rule| {
            Err(ConfigError::Contradiction {
                field,
                value,
                other,
                other_value,
                rule,
            })
        };
        if self.min_idle > self.max_size {
            let rule = "it has to be at most as much";
            let (min, max) = (self.min_idle.to_string(), self.max_size.to_string());
            return differ("min_idle", min, "max_size", max, rule);
        }
        if let Some(limit) = self.connect_limit
            && limit > self.max_size
        {
            let rule = "it has to be at most as much";
            let max = self.max_size.to_string();
            return differ("connect_limit", limit.to_string(), "max_size", max, rule);
        }
        let times = [
            (
                "keepalive",
                self.keepalive,
                "idle_timeout",
                self.idle_timeout,
            ),
            (
                "keepalive",
                self.keepalive,
                "max_lifetime",
                self.max_lifetime,
            ),
            (
                "idle_timeout",
                self.idle_timeout,
                "max_lifetime",
                self.max_lifetime,
            ),
        ];
        for (field, value, other, other_value) in times {
            if let (Some(value), Some(other_value)) = (value, other_value)
                && value >= other_value
            {
                let rule = "it has to be shorter, or it would never come to pass";
                let (value, limit) = (format!("{value:?}"), format!("{other_value:?}"));
                return differ(field, value, other, limit, rule);
            }
        }
        if self.offer_grace >= self.acquire_timeout {
            let rule = "it has to be shorter, or no other could be served in time";
            let grace = format!("{:?}", self.offer_grace);
            let timeout = format!("{:?}", self.acquire_timeout);
            return differ("offer_grace", grace, "acquire_timeout", timeout, rule);
        }
        Ok(())
    }

    /// How many attempts to connect may run at once.
    pub(crate) fn connect_limit(&self) -> usize {
        // Not bounded by `max_size`, which may grow: the kernel connects only where there is room.
        self.connect_limit.unwrap_or(4)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: Arc::from("pool"),
            max_size: 10,
            min_idle: 0,
            max_waiters: 10_000,
            acquire_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            check_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(5),
            connect_limit: None,
            connect_backoff: default_backoff(),
            on_connect_error: OnConnectError::default(),
            check_if_idle_for: Some(Duration::from_secs(1)),
            idle_timeout: Some(Duration::from_secs(600)),
            max_lifetime: Some(Duration::from_secs(1800)),
            lifetime_jitter: 0.1,
            max_uses: None,
            keepalive: None,
            offer_grace: Duration::from_millis(10),
            order: IdleOrder::default(),
            on_panic: OnPanic::default(),
            nested: Nested::default(),
            leak_after: Some(Duration::from_secs(30)),
            seed: None,
            listener: None,
        }
    }
}

fn default_backoff() -> Policy {
    Policy::builder()
        .schedule(Schedule::Exponential {
            base: Base::Fixed(Duration::from_millis(100)),
            factor: 2.0,
        })
        .exponent_origin(ExponentOrigin::FailuresMinusOne)
        .min_delay(Duration::from_millis(50))
        .floor(Floor::Absolute)
        .cap(Cap::Fixed(Duration::from_secs(10)))
        .jitter(Jitter {
            kind: JitterKind::Equal,
            normal_interval: false,
        })
        .build()
        .unwrap_or_default()
}

impl<M: Manager> std::fmt::Debug for Builder<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.settings.name)
            .field("max_size", &self.settings.max_size)
            .finish_non_exhaustive()
    }
}
