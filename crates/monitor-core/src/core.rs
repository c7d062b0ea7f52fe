//! The core itself: what it holds, and what one may ask of it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use monitor_model::{
    Event, Health, Lifecycle, Loaded, MonitorId, Status, Store, StoreError, Stored, majority,
};
use monitor_operation::{Canceller, OperationId, Operations};
use monitor_scheduler::{Scheduler, TriggerOutcome};
use tokio::runtime::Handle;
use tokio::sync::{broadcast, watch};

use crate::builder::Builder;
use crate::change;
use crate::entry::{Defined, Definition, Entry, View};
use crate::error::CoreError;
use crate::hub::Hub;
use crate::shutdown::{self, ShutdownReport};

/// Monitors at work: scheduled, run, fenced, committed, told.
///
/// Clones are handles to the same core. It works until [`shutdown`](Self::shutdown).
#[derive(Clone)]
pub struct Core {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) operations: Operations<MonitorId>,
    pub(crate) scheduler: Scheduler<MonitorId>,
    pub(crate) hub: Hub,
    /// Wall time at the scheduler's origin.
    pub(crate) origin_unix: Duration,
    entries: Mutex<BTreeMap<MonitorId, Arc<Entry>>>,
    /// What the store held at start-up and nobody has defined yet.
    loaded: Mutex<BTreeMap<MonitorId, Stored>>,
    /// INV-CORE-1: orders changes of monitors: epochs rise in memory and in the store in the same order. Held
    /// across awaits, therefore an async lock; no run ever takes it.
    pub(crate) changes: tokio::sync::Mutex<()>,
    pub(crate) shutting_down: AtomicBool,
    /// What the store has not taken by now has been counted as lost.
    pub(crate) is_over: AtomicBool,
    /// Where records wait for the store, whoever tells of them.
    pub(crate) runtime: Handle,
    /// INV-CORE-4: who looks, and how to call it off: it ends cancelled, never down.
    running: Mutex<HashMap<OperationId, Canceller>>,
    /// INV-CORE-3: how many records are on their way to the store. One leaves when the store has
    /// taken or refused it; what is left at the end is told.
    pub(crate) undelivered: watch::Sender<u64>,
    /// Why the store refused the last write, until it takes one again.
    store_error: Mutex<Option<String>>,
}

impl Shared {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        operations: Operations<MonitorId>,
        scheduler: Scheduler<MonitorId>,
        hub: Hub,
        origin_unix: Duration,
        loaded: Loaded,
    ) -> Self {
        let loaded = loaded
            .monitors
            .into_iter()
            .map(|stored| (stored.monitor.id.clone(), stored))
            .collect();
        Self {
            store,
            operations,
            scheduler,
            hub,
            origin_unix,
            entries: Mutex::default(),
            loaded: Mutex::new(loaded),
            changes: tokio::sync::Mutex::new(()),
            shutting_down: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            runtime: Handle::current(),
            running: Mutex::default(),
            undelivered: watch::Sender::new(0),
            store_error: Mutex::default(),
        }
    }

    pub(crate) fn entries(&self) -> MutexGuard<'_, BTreeMap<MonitorId, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn entry(&self, id: &MonitorId) -> Option<Arc<Entry>> {
        self.entries().get(id).cloned()
    }

    pub(crate) fn loaded(&self) -> MutexGuard<'_, BTreeMap<MonitorId, Stored>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn running(&self) -> MutexGuard<'_, HashMap<OperationId, Canceller>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether the store took the last write. Logged when that changes: while the store
    /// fails, every record that waits is offered again and again.
    pub(crate) fn note_store(&self, error: Option<&StoreError>) {
        let error = error.map(ToString::to_string);
        let before = {
            let store_error = self.store_error.lock();
            let mut store_error = store_error.unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *store_error, error.clone())
        };
        match (before, error) {
            (None, Some(error)) => tracing::warn!(%error, "results wait for the store"),
            (Some(_), None) => tracing::info!("the store takes results again"),
            _ => {}
        }
    }

    /// A time of the scheduler in unix milliseconds.
    pub(crate) fn unix_ms(&self, at: Duration) -> i64 {
        unix_ms(self.origin_unix.saturating_add(at))
    }

    fn view(&self, entry: &Entry) -> View {
        let id = &entry.definition.monitor.id;
        View {
            monitor: entry.definition.monitor.clone(),
            status: entry.status(),
            kind: entry.definition.probe.kind(),
            target: entry.definition.probe.target(),
            settings: entry.definition.settings.clone(),
            breaker: entry
                .breaker
                .as_ref()
                .map(|breaker| breaker.snapshot(self.scheduler.now())),
            schedule: self.scheduler.probe_status(id),
            fenced: entry.fenced(),
        }
    }
}

pub(crate) fn unix_ms(unix: Duration) -> i64 {
    i64::try_from(unix.as_millis()).unwrap_or(i64::MAX)
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
    /// was in flight is written, and the status stays what it was.
    ///
    /// # Errors
    /// [`CoreError::Store`]: it is paused, but not durably so; call again.
    pub async fn pause(&self, id: &MonitorId) -> Result<Option<Status>, CoreError> {
        let (shared, id) = (Arc::clone(&self.shared), id.clone());
        carry_out(async move { change::set_lifecycle(&shared, &id, Lifecycle::Paused).await }).await
    }

    /// Checks a paused monitor again, from its next due time on. `None` when there is none.
    ///
    /// # Errors
    /// [`CoreError::Store`]: it is still paused; call again.
    pub async fn resume(&self, id: &MonitorId) -> Result<Option<Status>, CoreError> {
        let (shared, id) = (Arc::clone(&self.shared), id.clone());
        carry_out(async move { change::set_lifecycle(&shared, &id, Lifecycle::Active).await }).await
    }

    /// Checks a monitor now, or as soon as its running check has ended.
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

    /// The verdict over all active monitors, by the strict majority rule.
    #[must_use]
    pub fn health(&self) -> Health {
        let entries: Vec<_> = self.shared.entries().values().cloned().collect();
        let statuses = entries.iter().map(|entry| entry.status());
        majority(
            statuses
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

    /// Whether the store took the last write.
    ///
    /// # Errors
    /// Why it did not.
    pub fn store_state(&self) -> Result<(), String> {
        let error = self
            .shared
            .store_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        error.clone().map_or(Ok(()), Err)
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
