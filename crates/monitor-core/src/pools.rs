//! The named pools that probes share: where they are found, what is told of them, how they end.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use monitor_model::{EventKind, NameTaken, PoolChange, ResourceError, Resources};
use monitor_pool::{
    Builder, CloseReport, ConfigError, Event, Holder, Listener, Manager, Pool, Status,
};

use crate::hub::Hub;

/// The pools of connections that probes share, by name. Clones are handles to the same ones.
///
/// A probe finds a pool in its context, by name and type:
///
/// ```
/// # use monitor_core::model::{Observation, ProbeContext};
/// # use monitor_core::fault::{Fault, Layer, Reason};
/// # use monitor_core::pool::{Manager, Pool};
/// # async fn check<M: Manager>(context: &ProbeContext) -> Observation {
/// let pool = match context.resources.get::<Pool<M>>("orders") {
///     Ok(pool) => pool,
///     Err(error) => return Observation::fault(error.into()),
/// };
/// match pool.acquire_timeout(context.timeout).await {
///     Ok(connection) => Observation::up(), // ask over the connection here
///     // Which fault it is depends on the kind of connection.
///     Err(_) => Observation::fault(Fault::new(Layer::Connect, Reason::Other)),
/// }
/// # }
/// ```
///
/// They are closed with the core, after the last check has ended and before the store closes.
#[derive(Clone)]
pub struct Pools {
    hub: Hub,
    resources: Resources,
    all: Arc<Mutex<BTreeMap<String, Arc<dyn Erased>>>>,
}

/// A pool at one instant.
#[derive(Debug, Clone)]
pub struct PoolView {
    /// Its name.
    pub name: String,
    /// Its numbers, all from the same moment.
    pub status: Status,
    /// Who holds its connections, longest first.
    pub holders: Vec<Holder>,
}

impl PoolView {
    /// How much of the pool is in use, 0 to 1, and beyond 1 by those who wait.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share shown with a few digits"
    )]
    pub fn usage(&self) -> f64 {
        let wanted = self.status.leased + self.status.offered + self.status.waiting;
        wanted as f64 / self.status.max_size.max(1) as f64
    }
}

/// Why a pool was not opened. Nothing changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenPoolError {
    /// Its settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its name.
    #[error(transparent)]
    NameTaken(#[from] NameTaken),
}

impl Pools {
    pub(crate) fn new(hub: Hub, resources: Resources) -> Self {
        Self {
            hub,
            resources,
            all: Arc::default(),
        }
    }

    /// Builds a pool named `name`, whose changes the core tells of, and adds it.
    ///
    /// # Errors
    /// [`OpenPoolError`]: nothing was added.
    pub fn open<M: Manager>(
        &self,
        name: &str,
        builder: Builder<M>,
    ) -> Result<Pool<M>, OpenPoolError> {
        let pool = builder.name(name).listener(self.listener(name)).build()?;
        self.add(name, &pool)?;
        Ok(pool)
    }

    /// Adds a pool that was built elsewhere. The core tells of its changes only if it was built
    /// with the [`listener`](Self::listener) of its name.
    ///
    /// # Errors
    /// [`NameTaken`]: nothing was added.
    pub fn add<M: Manager>(&self, name: &str, pool: &Pool<M>) -> Result<(), NameTaken> {
        self.resources.insert(name, pool.clone())?;
        let erased: Arc<dyn Erased> = Arc::new(pool.clone());
        self.all().insert(name.to_owned(), erased);
        Ok(())
    }

    /// What a pool has to be built with for the core to tell of its changes under `name`.
    #[must_use]
    pub fn listener(&self, name: &str) -> Changes {
        let changes = Changes::default();
        changes.attach(name, &self.hub);
        changes
    }

    /// The pool `name`.
    ///
    /// # Errors
    /// [`ResourceError`] when there is none, or one of another kind of connection.
    pub fn get<M: Manager>(&self, name: &str) -> Result<Pool<M>, ResourceError> {
        self.resources
            .get::<Pool<M>>(name)
            .map(|pool| Pool::clone(&pool))
    }

    /// Takes the pool `name` away. It goes on for those who hold it, and is closed when the last
    /// of them drops it. `false`: there was none.
    #[expect(clippy::must_use_candidate, reason = "gone is gone")]
    pub fn remove(&self, name: &str) -> bool {
        let removed = self.all().remove(name);
        self.resources.remove(name) && removed.is_some()
    }

    /// All named pools, ordered by name.
    #[must_use]
    pub fn views(&self) -> Vec<PoolView> {
        self.handles()
            .into_iter()
            .map(|(name, pool)| pool.view(name))
            .collect()
    }

    /// Closes all pools and `others`, side by side, and says of each what was left after
    /// `deadline`.
    pub(crate) async fn close(
        &self,
        others: Vec<(String, Arc<dyn Erased>)>,
        deadline: Duration,
    ) -> Vec<(String, CloseReport)> {
        let named = self.handles();
        for (name, _) in &named {
            self.remove(name);
        }
        let closing: Vec<_> = named
            .into_iter()
            .chain(others)
            .map(|(name, pool)| {
                let closing = tokio::spawn(async move { pool.close(deadline).await });
                (name, closing)
            })
            .collect();
        let mut reports = Vec::new();
        for (pool, closing) in closing {
            // Closing a pool does not panic; if it did, nothing is known of what is left.
            let report = closing.await.unwrap_or_default();
            let left = report.held.len() + report.unfinished;
            let change = PoolChange::Closed { left };
            reports.push((pool.clone(), report));
            self.hub.publish(EventKind::Pool { pool, change });
        }
        reports
    }

    /// The pools, to be asked outside of the lock.
    pub(crate) fn handles(&self) -> Vec<(String, Arc<dyn Erased>)> {
        let all = self.all();
        all.iter()
            .map(|(name, pool)| (name.clone(), Arc::clone(pool)))
            .collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<dyn Erased>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.views()).finish()
    }
}

/// A pool of whatever kind.
pub(crate) trait Erased: Send + Sync {
    fn status(&self) -> Status;
    fn holders(&self) -> Vec<Holder>;
    fn close(&self, deadline: Duration) -> Pin<Box<dyn Future<Output = CloseReport> + Send + '_>>;

    fn view(&self, name: String) -> PoolView {
        PoolView {
            name,
            status: self.status(),
            holders: self.holders(),
        }
    }
}

impl<M: Manager> Erased for Pool<M> {
    fn status(&self) -> Status {
        Pool::status(self)
    }

    fn holders(&self) -> Vec<Holder> {
        Pool::holders(self)
    }

    fn close(&self, deadline: Duration) -> Pin<Box<dyn Future<Output = CloseReport> + Send + '_>> {
        Box::pin(Pool::close(self, deadline))
    }
}

/// A pool that a monitor brings along for itself, told of as `monitor:` and the monitor's id for as
/// long as the monitor is defined. To be built with a [`Changes`] of its own.
#[derive(Clone)]
pub struct OwnPool {
    pub(crate) pool: Arc<dyn Erased>,
    pub(crate) changes: Changes,
}

impl OwnPool {
    /// `pool`, which was built with `changes` as its listener.
    #[must_use]
    pub fn new<M: Manager>(pool: &Pool<M>, changes: Changes) -> Self {
        Self {
            pool: Arc::new(pool.clone()),
            changes,
        }
    }
}

impl fmt::Debug for OwnPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnPool").field(&self.pool.status()).finish()
    }
}

/// Turns the many events of one pool into the few changes that are told. Clones are handles to the
/// same one.
#[derive(Clone, Default)]
pub struct Changes(Arc<Ear>);

#[derive(Default)]
struct Ear {
    /// Under which name to tell whom. Not yet, while the monitor of the pool is not defined.
    told: OnceLock<(String, Hub)>,
    /// The monitor of the pool is defined, or the pool is not a monitor's own.
    is_told: AtomicBool,
    /// The last attempt to connect failed. That it fails is told once, not with every attempt.
    is_failing: AtomicBool,
}

impl Changes {
    /// Tells `hub` of the pool from now on; another time under the same name as before.
    pub(crate) fn attach(&self, name: &str, hub: &Hub) {
        let _ = self.0.told.set((name.to_owned(), hub.clone()));
        self.0.is_told.store(true, Release);
    }

    /// Tells nobody any more: what goes by the name from now on is another pool, or none.
    pub(crate) fn detach(&self) {
        self.0.is_told.store(false, Release);
    }
}

impl Listener for Changes {
    fn event(&self, event: &Event<'_>) {
        if !self.0.is_told.load(Acquire) {
            return;
        }
        let Some((pool, hub)) = self.0.told.get() else {
            return;
        };
        let change = match event {
            Event::ConnectFailed { error, .. } if !self.0.is_failing.swap(true, Relaxed) => {
                let error = error.to_string();
                Some(PoolChange::Unreachable { error })
            }
            Event::Connected { .. } if self.0.is_failing.swap(false, Relaxed) => {
                Some(PoolChange::Reachable)
            }
            Event::Leaked { holder } => {
                let holder = holder.to_string();
                Some(PoolChange::Leaked { holder })
            }
            _ => None,
        };
        if let Some(change) = change {
            let pool = pool.clone();
            hub.publish(EventKind::Pool { pool, change });
        }
        hub.pool(pool, event);
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.told.get().map(|(name, _)| name);
        f.debug_tuple("Changes").field(&name).finish()
    }
}
