//! Periodic tasks, and what is known of all of them.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use rand::{SeedableRng, rngs::SmallRng};
use tokio::{
    sync::{Notify, broadcast, watch},
    time::{Instant, timeout},
};

use crate::{
    Event, Outcome, Report, SpawnError, SpecError, TaskSpec, TaskStatus, Tick,
    kernel::task::Task,
    runner::{self, Check},
    sync::{Mutex, lock},
    watch::Watch,
};

/// How many events a subscriber may be behind.
const EVENTS: usize = 1024;

/// Runs periodic tasks that cannot take the process down. A handle: clones share.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use monitor_supervisor::{Health, Supervisor, TaskSpec};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let supervisor = Supervisor::new();
/// let spec = TaskSpec::builder("disk").interval(Duration::from_secs(60)).build()?;
/// let disk = supervisor.spawn(spec, |_tick| async { Health::of(["almost full"]) })?;
///
/// // Whether a failure at the start matters is the caller's to say.
/// let first = disk.first().await;
/// assert_eq!(first.map(|outcome| outcome.to_string()), Some("unhealthy: almost full".into()));
///
/// tokio::time::sleep(Duration::from_secs(130)).await;
/// let status = &supervisor.status()[0];
/// assert_eq!((status.ticks, status.is_alerting), (3, true));
/// assert!(supervisor.stop(Duration::from_secs(5)).await.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Supervisor {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    origin: Instant,
    seed: u64,
    events: broadcast::Sender<Event>,
    tasks: Mutex<Tasks>,
    /// How many tasks are alive.
    live: watch::Sender<usize>,
    /// From the first task on, for as long as this is there. `None`: there was no thread to be had.
    watch: OnceLock<Option<Watch>>,
}

struct Tasks {
    is_stopped: bool,
    spawned: u64,
    /// INV-SUPERVISOR-5: whatever was started is here until its work has ended: nothing goes on
    /// that `stop` does not know of.
    by_name: BTreeMap<Arc<str>, Arc<Supervised>>,
}

/// One task, shared by its loop and its handles.
pub(crate) struct Supervised {
    pub(crate) kernel: Mutex<Task>,
    /// Its settings have changed.
    pub(crate) changed: Notify,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) first: watch::Sender<Option<Outcome>>,
}

impl Supervisor {
    /// Makes one without tasks. It needs a runtime only to [`spawn`](Self::spawn).
    #[must_use]
    pub fn new() -> Self {
        Self::with_seed(0)
    }

    /// Makes one whose jitter follows from `seed`. Give each process its own, and they do not look
    /// at the same time.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Self {
            shared: Arc::new(Shared {
                origin: Instant::now(),
                seed,
                events: broadcast::Sender::new(EVENTS),
                tasks: Mutex::new(Tasks {
                    is_stopped: false,
                    spawned: 0,
                    by_name: BTreeMap::new(),
                }),
                live: watch::Sender::new(0),
                watch: OnceLock::new(),
            }),
        }
    }

    /// Starts a task. Each tick calls `check` anew and runs what it returns in a task of its own:
    /// an error, a panic and one that never returns are outcomes of the tick and of nothing else.
    ///
    /// # Errors
    /// - [`SpawnError::Duplicate`]: a task of this name is running.
    /// - [`SpawnError::Stopped`]: the supervisor was stopped.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or in one without timers.
    pub fn spawn<F, Fut>(&self, spec: TaskSpec, check: F) -> Result<TaskHandle, SpawnError>
    where
        F: Fn(Tick) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Report,
    {
        let shared = &self.shared;
        let kernel = Task::new(&spec, shared.now());
        let name = Arc::clone(&kernel.name);
        let task = Arc::new(Supervised {
            kernel: Mutex::new(kernel),
            changed: Notify::new(),
            stop: watch::Sender::new(false),
            first: watch::Sender::new(None),
        });
        let number = {
            let mut tasks = lock(&shared.tasks);
            if tasks.is_stopped {
                let name = spec.name;
                return Err(SpawnError::Stopped { name });
            }
            if tasks.by_name.contains_key(&name) {
                let name = spec.name;
                return Err(SpawnError::Duplicate { name });
            }
            tasks.by_name.insert(Arc::clone(&name), Arc::clone(&task));
            tasks.spawned += 1;
            shared.live.send_replace(tasks.by_name.len());
            tasks.spawned
        };
        let live = Live {
            shared: Arc::clone(shared),
            name,
        };
        shared.watch.get_or_init(|| watched(shared));
        let check = Arc::new(move |tick| {
            let work = check(tick);
            Box::pin(async move { work.await.outcome() }) as runner::Work
        }) as Check;
        let rng = SmallRng::seed_from_u64(shared.seed.wrapping_add(number));
        tokio::spawn(runner::run(live, Arc::clone(&task), check, rng));
        Ok(TaskHandle {
            shared: Arc::clone(shared),
            task,
        })
    }

    /// Returns what is known of every task, by name, as of now.
    #[must_use]
    pub fn status(&self) -> Vec<TaskStatus> {
        let tasks: Vec<_> = lock(&self.shared.tasks).by_name.values().cloned().collect();
        let now = self.shared.now();
        let statuses = tasks.iter().map(|task| lock(&task.kernel).status(now));
        statuses.collect()
    }

    /// Returns the events from now on. A subscriber that falls more than 1024 behind is told how
    /// many it has lost; [`status`](Self::status) has what is the case.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// Returns how many tasks are alive: started, and not at the end of their last tick.
    #[must_use]
    pub fn live_tasks(&self) -> usize {
        *self.shared.live.borrow()
    }

    /// Returns the time since the supervisor was made, on the monotonic clock.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.shared.now()
    }

    /// Stops all tasks for good and waits for them, up to `deadline`. A tick that is under way is
    /// dropped. Returns the names of those that did not end: they block their threads.
    ///
    /// # Cancel safety
    /// The tasks are stopped all the same; nobody waits for them.
    pub async fn stop(&self, deadline: Duration) -> Vec<Arc<str>> {
        let tasks: Vec<_> = {
            let mut tasks = lock(&self.shared.tasks);
            tasks.is_stopped = true;
            tasks.by_name.values().cloned().collect()
        };
        for task in tasks {
            task.stop.send_replace(true);
        }
        let mut live = self.shared.live.subscribe();
        // Late or not, whoever is left is named.
        let _ = timeout(deadline, live.wait_for(|live| *live == 0)).await;
        lock(&self.shared.tasks).by_name.keys().cloned().collect()
    }
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("live_tasks", &self.live_tasks())
            .finish_non_exhaustive()
    }
}

/// Starts the thread that notices when nobody else does.
fn watched(shared: &Arc<Shared>) -> Option<Watch> {
    let started = Watch::start(Arc::downgrade(shared));
    started
        .inspect_err(|error| tracing::warn!(%error, "nobody watches over blocked threads"))
        .ok()
}

impl Shared {
    /// All tasks by name.
    pub(crate) fn tasks(&self) -> Vec<(Arc<str>, Arc<Supervised>)> {
        let tasks = lock(&self.tasks);
        let tasks = tasks.by_name.iter();
        tasks
            .map(|(name, task)| (Arc::clone(name), Arc::clone(task)))
            .collect()
    }

    /// Since the supervisor was made.
    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    pub(crate) fn at(&self, now: Duration) -> Instant {
        self.origin + now
    }

    pub(crate) fn tell(&self, event: Event) {
        runner::log(&event);
        // Nobody may be listening.
        let _ = self.events.send(event);
    }
}

/// A task that is alive, and held by its loop: also when that is dropped unpolled, as a runtime
/// that ends does, the supervisor hears of it.
pub(crate) struct Live {
    pub(crate) shared: Arc<Shared>,
    name: Arc<str>,
}

impl Drop for Live {
    fn drop(&mut self) {
        let mut tasks = lock(&self.shared.tasks);
        let task = tasks.by_name.remove(&self.name);
        self.shared.live.send_replace(tasks.by_name.len());
        drop(tasks);
        drop(task);
    }
}

/// A task that was started. Dropping this changes nothing: the task goes on.
#[derive(Clone)]
pub struct TaskHandle {
    shared: Arc<Shared>,
    task: Arc<Supervised>,
}

impl TaskHandle {
    /// Waits for the outcome of the first tick, for those who do not want to start without it.
    /// `None`: the task was stopped before.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn first(&self) -> Option<Outcome> {
        let (mut first, mut stop) = (self.task.first.subscribe(), self.task.stop.subscribe());
        tokio::select! {
            biased;
            first = first.wait_for(Option::is_some) => first.ok()?.clone(),
            _ = stop.wait_for(|stop| *stop) => None,
        }
    }

    /// Returns what is known of the task.
    #[must_use]
    pub fn status(&self) -> TaskStatus {
        lock(&self.task.kernel).status(self.shared.now())
    }

    /// Changes the interval: the next tick is one interval after the start of the last one, or
    /// now if that has passed.
    ///
    /// # Errors
    /// [`SpecError::OutOfRange`]: outside 1 s to 24 h. The interval is unchanged then.
    pub fn set_interval(&self, interval: Duration) -> Result<(), SpecError> {
        {
            let mut kernel = lock(&self.task.kernel);
            TaskSpec::validate_interval(&kernel.name, interval)?;
            kernel.set_interval(interval, self.shared.now());
        }
        self.task.changed.notify_one();
        Ok(())
    }

    /// Stops the task; a tick that is under way is dropped. Its name is free again when
    /// [`Supervisor::status`] shows it no more.
    pub fn stop(&self) {
        self.task.stop.send_replace(true);
    }
}

impl fmt::Debug for TaskHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Arc::clone(&lock(&self.task.kernel).name);
        f.debug_tuple("TaskHandle").field(&name).finish()
    }
}
