//! What the parts of a core have in common.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use monitor_model::{Loaded, MonitorId, Resources, Store, StoreError, Stored};
use monitor_operation::{Canceller, OperationId, Operations};
use monitor_scheduler::Scheduler;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::entry::{Entry, View};
use crate::hub::Hub;
use crate::tasks::Tasks;

/// How many changes may be on their way to the store at once.
const TURNS: usize = 256;

pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) operations: Operations<MonitorId>,
    pub(crate) scheduler: Scheduler<MonitorId>,
    pub(crate) hub: Hub,
    pub(crate) tasks: Tasks,
    /// Set at the start, where it is wanted.
    #[cfg(feature = "pressure")]
    pub(crate) pressure: std::sync::OnceLock<crate::pressing::Watch>,
    /// What probes share.
    pub(crate) resources: Resources,
    #[cfg(feature = "pool")]
    pub(crate) pools: crate::pools::Pools,
    /// Wall time at the scheduler's origin.
    pub(crate) origin_unix: Duration,
    entries: Mutex<BTreeMap<MonitorId, Arc<Entry>>>,
    /// What the store held at start-up and nobody has defined yet.
    loaded: Mutex<BTreeMap<MonitorId, Stored>>,
    /// INV-CORE-1: orders the changes of a monitor: its epochs rise in memory and in the store in the
    /// same order. Held across awaits, therefore async locks; no run ever takes one. As many as may
    /// share a transaction of the store, each for the monitors whose ids fall to it.
    turns: [tokio::sync::Mutex<()>; TURNS],
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
        tasks: Tasks,
        origin_unix: Duration,
        loaded: Loaded,
    ) -> Self {
        let loaded = loaded
            .monitors
            .into_iter()
            .map(|stored| (stored.monitor.id.clone(), stored))
            .collect();
        let resources = Resources::default();
        Self {
            store,
            operations,
            scheduler,
            #[cfg(feature = "pool")]
            pools: crate::pools::Pools::new(hub.clone(), resources.clone()),
            hub,
            tasks,
            #[cfg(feature = "pressure")]
            pressure: std::sync::OnceLock::new(),
            resources,
            origin_unix,
            entries: Mutex::default(),
            loaded: Mutex::new(loaded),
            turns: std::array::from_fn(|_| tokio::sync::Mutex::new(())),
            shutting_down: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            runtime: Handle::current(),
            running: Mutex::default(),
            undelivered: watch::Sender::new(0),
            store_error: Mutex::default(),
        }
    }

    /// Waits until nobody else changes the monitor.
    pub(crate) async fn turn(&self, id: &MonitorId) -> tokio::sync::MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let turn = usize::try_from(hasher.finish() % TURNS as u64).unwrap_or(0);
        self.turns[turn].lock().await
    }

    pub(crate) fn entries(&self) -> MutexGuard<'_, BTreeMap<MonitorId, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn entry(&self, id: &MonitorId) -> Option<Arc<Entry>> {
        self.entries().get(id).cloned()
    }

    /// The pools that monitors keep for themselves.
    #[cfg(feature = "pool")]
    pub(crate) fn own_pools(&self) -> Vec<(String, Arc<dyn crate::pools::Erased>)> {
        let entries = self.entries();
        let own = entries.iter().filter_map(|(id, entry)| {
            let own = entry.definition.pool.as_ref()?;
            Some((own_pool_name(id), Arc::clone(&own.pool)))
        });
        own.collect()
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

    pub(crate) fn store_error(&self) -> Option<String> {
        let store_error = self.store_error.lock();
        store_error.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Now, in unix time.
    pub(crate) fn unix(&self) -> Duration {
        self.origin_unix.saturating_add(self.scheduler.now())
    }

    /// A time of the scheduler in unix milliseconds.
    pub(crate) fn unix_ms(&self, at: Duration) -> i64 {
        unix_ms(self.origin_unix.saturating_add(at))
    }

    pub(crate) fn view(&self, entry: &Entry) -> View {
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
            maintenance_until: entry.definition.settings.maintenance.until(self.unix()),
            flapping: entry.flapping(),
            footprint: entry.footprint.clone(),
            fenced: entry.fenced(),
        }
    }
}

pub(crate) fn unix_ms(unix: Duration) -> i64 {
    i64::try_from(unix.as_millis()).unwrap_or(i64::MAX)
}

/// Under which name the pool that a monitor keeps for itself is told of.
#[cfg(feature = "pool")]
pub(crate) fn own_pool_name(monitor: &MonitorId) -> String {
    format!("monitor:{monitor}")
}
