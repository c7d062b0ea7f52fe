//! The core itself: what it holds, and what one may ask of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use monitor_model::{Event, Health, Lifecycle, MonitorId, Status, Store, Stored, majority};
use monitor_scheduler::TriggerOutcome;
use monitor_supervisor::{Report, SpawnError, Supervisor, TaskHandle, TaskSpec, Tick};
use tokio::sync::broadcast;

use crate::builder::Builder;
use crate::change;
use crate::entry::{Defined, Definition, View};
use crate::error::CoreError;
use crate::explain::{self, Explained};
use crate::shared::Shared;
use crate::shutdown::{self, ShutdownReport};

/// Monitors at work: scheduled, run, fenced, committed, told.
///
/// Clones are handles to the same core. It works until [`shutdown`](Self::shutdown).
#[derive(Clone)]
pub struct Core {
    pub(crate) shared: Arc<Shared>,
}

impl From<Arc<Shared>> for Core {
    fn from(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("monitors", &self.shared.entries().len())
            .field("undelivered", &*self.shared.undelivered.borrow())
            .finish_non_exhaustive()
    }
}

impl Core {
    /// A core on `store`, with every setting at its default.
    #[must_use]
    pub fn builder(store: Arc<dyn Store>) -> Builder {
        Builder::new(store)
    }

    /// What the store held at start-up and has not been defined or deleted since.
    #[must_use]
    pub fn stored(&self) -> Vec<Stored> {
        self.shared.loaded().values().cloned().collect()
    }

    /// Adds or edits a monitor, and schedules it unless it is paused.
    ///
    /// A definition equal to the stored one changes nothing: epoch, state and history go on. Else
    /// what was in flight under the former definition is fenced: it writes nothing any more.
    ///
    /// # Errors
    /// See [`CoreError`]; the monitor is then what it was before.
    ///
    /// # Cancel safety
    /// Once polled, the change is carried out even when the future is dropped; only the answer is
    /// lost. This holds for every change.
    pub async fn define(&self, definition: Definition) -> Result<Defined, CoreError> {
        let shared = Arc::clone(&self.shared);
        carry_out(async move { change::define(&shared, definition).await }).await
    }

    /// Deletes a monitor with its history. False when there is none. After it has returned, no
    /// result of the monitor is written.
    ///
    /// # Errors
    /// [`CoreError::Store`]: it no longer runs, but the store still has it; call again.
    pub async fn delete(&self, id: &MonitorId) -> Result<bool, CoreError> {
        let (shared, id) = (Arc::clone(&self.shared), id.clone());
        carry_out(async move { change::delete(&shared, &id).await }).await
    }

    /// Stops checking a monitor. `None` when there is none. After it has returned, no result that
    /// was in flight is written; the status stays what it was until somebody
    /// [checks it by hand](Self::trigger).
    ///
    /// # Errors
    /// [`CoreError::Store`]: it is paused, but not durably so; call again.
    pub async fn pause(&self, id: &MonitorId) -> Result<Option<Status>, CoreError> {
        let (shared, id) = (Arc::clone(&self.shared), id.clone());
        carry_out(async move { change::set_lifecycle(&shared, &id, Lifecycle::Paused).await }).await
    }

    /// Checks a paused monitor again, from its next due time on. `None` when there is none. A check by
    /// hand that is going on begins anew, as one of the monitor that is active.
    ///
    /// # Errors
    /// [`CoreError::Store`]: it is still paused; call again.
    pub async fn resume(&self, id: &MonitorId) -> Result<Option<Status>, CoreError> {
        let (shared, id) = (Arc::clone(&self.shared), id.clone());
        carry_out(async move { change::set_lifecycle(&shared, &id, Lifecycle::Active).await }).await
    }

    /// Checks a monitor now, or as soon as its running check has ended. One that is paused is checked
    /// this once and stays paused: its status and history have the result, incidents do not.
    #[must_use = "a trigger may come to nothing"]
    pub fn trigger(&self, id: &MonitorId) -> TriggerOutcome {
        self.shared.scheduler.trigger(id)
    }

    /// Forgets the failures that hold the next check back. False when there is no such monitor.
    #[must_use = "false when there is no such monitor"]
    pub fn reset_backoff(&self, id: &MonitorId) -> bool {
        self.shared.scheduler.reset_backoff(id)
    }

    /// One monitor as it is now.
    #[must_use]
    pub fn view(&self, id: &MonitorId) -> Option<View> {
        let entry = self.shared.entry(id)?;
        Some(self.shared.view(&entry))
    }

    /// All monitors as they are now, ordered by id.
    #[must_use]
    pub fn views(&self) -> Vec<View> {
        let entries: Vec<_> = self.shared.entries().values().cloned().collect();
        entries
            .iter()
            .map(|entry| self.shared.view(entry))
            .collect()
    }

    /// The schedule of all monitors as it is now.
    #[must_use]
    pub fn scheduler_status(&self) -> monitor_scheduler::Status<MonitorId> {
        self.shared.scheduler.status()
    }

    /// Why a monitor is or is not being checked now, and when next. `None` when there is none.
    #[must_use]
    pub fn explain(&self, id: &MonitorId) -> Option<Explained> {
        explain::explain(&self.shared, id)
    }

    /// The verdict over all active monitors, by the strict majority rule. One at whose target
    /// somebody works is not among them.
    #[must_use]
    pub fn health(&self) -> Health {
        let entries: Vec<_> = self.shared.entries().values().cloned().collect();
        let now = self.shared.unix();
        let checked = entries
            .iter()
            .filter(|entry| entry.definition.settings.maintenance.until(now).is_none());
        majority(
            checked
                .map(|entry| entry.status())
                .filter(|status| status.lifecycle == Lifecycle::Active)
                .map(|status| status.outcome),
        )
    }

    /// Every event from now on. A reader that falls behind by thousands misses some and is told so.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.shared.hub.subscribe()
    }

    /// The store, for reading history.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// All pools of connections, ordered by name: the named ones, and those that monitors keep for
    /// themselves, as `monitor:` and the id.
    #[cfg(feature = "pool")]
    #[must_use]
    pub fn pool_views(&self) -> Vec<crate::pools::PoolView> {
        let own = self.shared.own_pools().into_iter();
        let mut views = self.shared.pools.views();
        views.extend(own.map(|(name, pool)| pool.view(name)));
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    /// The named pools of connections, which probes share.
    #[cfg(feature = "pool")]
    #[must_use]
    pub fn pools(&self) -> &crate::pools::Pools {
        &self.shared.pools
    }

    /// Starts a periodic task beside the core's own: an error, a panic or a hang of one tick is an
    /// outcome of that tick, shown by [`supervisor`](Self::supervisor), and of nothing else.
    ///
    /// The core's own tasks end with the core; this one ends when its handle or the supervisor is
    /// told to stop. A core that it holds lives as long.
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use monitor_core::{Core, model::MemoryStore};
    /// use monitor_core::supervisor::{Health, TaskSpec};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let core = Core::builder(Arc::new(MemoryStore::new())).start().await?;
    /// let spec = TaskSpec::builder("replica").interval(Duration::from_secs(30)).build()?;
    /// let replica = core.supervise(spec, |_tick| async { Health::of(["behind by a minute"]) })?;
    /// let first = replica.first().await;
    /// assert_eq!(first.map(|outcome| outcome.failure().is_some()), Some(true));
    /// core.shutdown(Duration::from_secs(1)).await;
    /// replica.stop();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SpawnError`]: the name is taken, or the supervisor was stopped.
    pub fn supervise<F, Fut>(&self, spec: TaskSpec, check: F) -> Result<TaskHandle, SpawnError>
    where
        F: Fn(Tick) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Report,
    {
        self.shared.tasks.spawn(spec, check)
    }

    /// What becomes of the periodic tasks.
    #[must_use]
    pub fn supervisor(&self) -> &Supervisor {
        self.shared.tasks.supervisor()
    }

    /// How hard-pressed the process was at the last look. `None`: nobody looks, see
    /// [`Builder::pressure`].
    #[cfg(feature = "pressure")]
    #[must_use]
    pub fn pressure(&self) -> Option<monitor_pressure::Snapshot> {
        self.shared.pressure.get().map(|watch| watch.snapshot())
    }

    /// Whether the store took the last write.
    ///
    /// # Errors
    /// Why it did not.
    pub fn store_state(&self) -> Result<(), String> {
        self.shared.store_error().map_or(Ok(()), Err)
    }

    /// How many records are on their way to the store, or waiting for it to take them.
    #[must_use]
    pub fn undelivered(&self) -> u64 {
        *self.shared.undelivered.borrow()
    }

    /// Ends all work within `grace`: stops scheduling, lets what is in flight finish for the first
    /// half, calls off the rest (recorded as cancelled, never as down), waits for the store to take
    /// what is on its way, and closes the store last.
    ///
    /// # Cancel safety
    /// Dropped, the remaining steps are not taken.
    pub async fn shutdown(&self, grace: Duration) -> ShutdownReport {
        shutdown::run(&self.shared, grace).await
    }
}

/// Carries a change out to its end, whatever becomes of the caller.
async fn carry_out<T: Send + 'static>(
    change: impl Future<Output = Result<T, CoreError>> + Send + 'static,
) -> Result<T, CoreError> {
    match tokio::spawn(change).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is going down.
        Err(_) => Err(CoreError::ShuttingDown),
    }
}
