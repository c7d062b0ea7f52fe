//! How a core comes to be.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use monitor_model::{MonitorId, Store};
use monitor_operation::Operations;
use monitor_scheduler::{Config, Saturation, Scheduler};

use crate::core::Core;
use crate::delivery::Misses;
use crate::error::CoreError;
use crate::hub::{Hub, Sink};
#[cfg(feature = "pressure")]
use crate::pressing;
#[cfg(feature = "pool")]
use crate::queues;
use crate::shared::Shared;
use crate::tasks::{BeforeTick, Tasks};

/// Settings of a [`Core`], all with defaults.
pub struct Builder {
    store: Arc<dyn Store>,
    sinks: Vec<Arc<dyn Sink>>,
    config: Config,
    before_tick: Option<BeforeTick>,
    #[cfg(feature = "pool")]
    long_queue: usize,
    #[cfg(feature = "pressure")]
    pressure: Option<monitor_pressure::Config>,
    #[cfg(feature = "pressure")]
    plan: monitor_pressure::Plan,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            sinks: Vec::new(),
            config: Config::default(),
            before_tick: None,
            #[cfg(feature = "pool")]
            long_queue: 10,
            #[cfg(feature = "pressure")]
            pressure: None,
            #[cfg(feature = "pressure")]
            plan: monitor_pressure::Plan::default(),
        }
    }

    /// How many checks may run at once. Default: 20.
    #[must_use]
    pub const fn max_concurrent(mut self, checks: NonZeroUsize) -> Self {
        self.config.max_concurrent = checks;
        self
    }

    /// What happens to a due check when all permits are taken. Default: a bounded queue.
    #[must_use]
    pub const fn saturation(mut self, saturation: Saturation) -> Self {
        self.config.saturation = saturation;
        self
    }

    /// How long a due check may wait for a permit before it is missed. Default: as long as it takes.
    #[must_use]
    pub const fn max_wait(mut self, wait: Option<Duration>) -> Self {
        self.config.max_wait = wait;
        self
    }

    /// How long an overdue check may take to clean up before it is dropped. Default: 5 s.
    #[must_use]
    pub const fn cleanup_grace(mut self, grace: Duration) -> Self {
        self.config.cleanup_grace = grace;
        self
    }

    /// Makes jitter and operation ids repeatable. Default: a random seed.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.config.seed = seed;
        self
    }

    /// Adds a sink for every event.
    #[must_use]
    pub fn sink(mut self, sink: Arc<dyn Sink>) -> Self {
        self.sinks.push(sink);
        self
    }

    /// Calls `hook` with the name of a supervised task in each of its ticks, before its work, as
    /// part of the tick: what it panics, the tick has panicked. For tests of what that comes to.
    /// Default: none.
    #[must_use]
    pub fn before_tick(mut self, hook: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.before_tick = Some(Arc::new(hook));
        self
    }

    /// From how many waiting callers on the queue of a pool is told to be long: with the next one.
    /// It is short again at half as many. Looked at every second. Default: 10.
    #[cfg(feature = "pool")]
    #[must_use]
    pub const fn long_queue(mut self, waiting: usize) -> Self {
        self.long_queue = waiting;
        self
    }

    /// Watches how hard-pressed the process is, and checks less often when it is. Default: nobody
    /// watches.
    #[cfg(feature = "pressure")]
    #[must_use]
    pub fn pressure(mut self, config: monitor_pressure::Config) -> Self {
        self.pressure = Some(config);
        self
    }

    /// What becomes of the checks of each class at each level of pressure. Due times at which
    /// nobody looks for it are recorded as missed by overload. Default: as
    /// [`Plan::default`](monitor_pressure::Plan::default) has it.
    #[cfg(feature = "pressure")]
    #[must_use]
    pub fn pressure_plan(mut self, plan: monitor_pressure::Plan) -> Self {
        self.plan = plan;
        self
    }

    /// Reads the store and starts the scheduler. Nothing is checked before it is defined.
    ///
    /// # Errors
    /// When the store cannot be read.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn start(mut self) -> Result<Core, CoreError> {
        let loaded = self.store.load().await?;
        let operations = Operations::with_seed(self.config.seed);
        let register = |id: &MonitorId, epoch| {
            let registered = operations.register(id.clone(), epoch);
            registered.map_err(|source| CoreError::Epoch {
                monitor: id.clone(),
                source,
            })
        };
        // Before the graves, whose epochs are counted on from by all who come after them.
        for stored in &loaded.monitors {
            register(&stored.monitor.id, stored.status.epoch)?;
        }
        for (id, epoch) in &loaded.graves {
            let is_living = operations.epoch(id).is_some();
            register(id, *epoch)?;
            if !is_living {
                operations.forget(id); // its epoch counts on in the registry, without its name
            }
        }
        // Wall time is read once; from here on due times follow the monotonic clock.
        self.config.origin_unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let misses = Arc::new(Misses::new());
        let scheduler = Scheduler::new(
            self.config.clone(),
            operations.clone(),
            Arc::clone(&misses) as _,
        );
        let hub = Hub::start(self.sinks);
        let tasks = Tasks::new(self.config.seed, self.before_tick);
        let shared = Arc::new(Shared::new(
            self.store,
            operations,
            scheduler,
            hub,
            tasks,
            self.config.origin_unix,
            loaded,
        ));
        misses.attach(&shared);
        #[cfg(feature = "pool")]
        queues::watch(&shared, self.long_queue);
        #[cfg(feature = "pressure")]
        if let Some(config) = self.pressure {
            pressing::watch(&shared, config, self.plan).await;
        }
        Ok(Core::from(shared))
    }
}
