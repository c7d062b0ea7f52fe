//! Periodic tasks: the core's own, and those that others put beside them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use monitor_supervisor::{Report, SpawnError, Supervisor, TaskHandle, TaskSpec, Tick};

/// Called at the beginning of each tick with the name of its task.
pub(crate) type BeforeTick = Arc<dyn Fn(&str) + Send + Sync>;

pub(crate) struct Tasks {
    supervisor: Supervisor,
    before_tick: Option<BeforeTick>,
    /// Those that end with the core. They hold it weakly, so it ends also when it is just dropped.
    own: Mutex<Vec<TaskHandle>>,
}

impl Tasks {
    pub(crate) fn new(seed: u64, before_tick: Option<BeforeTick>) -> Self {
        Self {
            supervisor: Supervisor::with_seed(seed),
            before_tick,
            own: Mutex::default(),
        }
    }

    pub(crate) const fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    pub(crate) fn spawn<F, Fut>(&self, spec: TaskSpec, check: F) -> Result<TaskHandle, SpawnError>
    where
        F: Fn(Tick) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Report,
    {
        let name: Arc<str> = spec.name().into();
        let before_tick = self.before_tick.clone();
        self.supervisor.spawn(spec, move |tick| {
            if let Some(before_tick) = &before_tick {
                before_tick(&name);
            }
            check(tick)
        })
    }

    /// Starts a task that ends with the core.
    #[cfg_attr(
        not(any(feature = "pool", feature = "pressure")),
        expect(dead_code, reason = "a bare core has nothing to do periodically")
    )]
    pub(crate) fn spawn_own(
        &self,
        name: &'static str,
        interval: Duration,
        check: impl Fn() -> Result<(), std::io::Error> + Send + Sync + 'static,
    ) -> Option<TaskHandle> {
        let spec = TaskSpec::builder(name).interval(interval).build();
        let check = Arc::new(check);
        let task = self.spawn(spec.ok()?, move |_| {
            let check = Arc::clone(&check);
            async move { check() }
        });
        let task = task.ok()?;
        self.own().push(task.clone());
        Some(task)
    }

    pub(crate) fn stop_own(&self) {
        let own = std::mem::take(&mut *self.own());
        own.iter().for_each(TaskHandle::stop);
    }

    fn own(&self) -> std::sync::MutexGuard<'_, Vec<TaskHandle>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.stop_own();
    }
}
