//! The named pools that probes share: where they are found, what is told of them, how they end.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
/// ///     // Which fault it is depends on the kind of connection.
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
        Changes {
            pool: name.to_owned(),
            hub: self.hub.clone(),
            is_failing: AtomicBool::new(false),
        }
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

    /// All pools, ordered by name.
    #[must_use]
    pub fn views(&self) -> Vec<PoolView> {
        // Asked outside of the lock, each at a moment of its own.
        let all: Vec<_> = {
            let all = self.all();
            all.iter()
                .map(|(name, pool)| (name.clone(), Arc::clone(pool)))
                .collect()
        };
        all.into_iter()
            .map(|(name, pool)| PoolView {
                name,
                status: pool.status(),
                holders: pool.holders(),
            })
            .collect()
    }

    /// Closes all pools, side by side, and says of each what was left after `deadline`.
    pub(crate) async fn close(&self, deadline: Duration) -> Vec<(String, CloseReport)> {
        let all = std::mem::take(&mut *self.all());
        let closing: Vec<_> = all
            .into_iter()
            .map(|(name, pool)| {
                self.resources.remove(&name);
                (
                    name,
                    tokio::spawn(async move { pool.close(deadline).await }),
                )
            })
            .collect();
        let mut reports = Vec::new();
        for (name, closing) in closing {
            // Closing a pool does not panic; if it did, nothing is known of what is left.
            let report = closing.await.unwrap_or_default();
            let left = report.held.len() + report.unfinished;
            let change = PoolChange::Closed { left };
            self.hub.publish(EventKind::Pool {
                pool: name.clone(),
                change,
            });
            reports.push((name, report));
        }
        reports
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
trait Erased: Send + Sync {
    fn status(&self) -> Status;
    fn holders(&self) -> Vec<Holder>;
    fn close(&self, deadline: Duration) -> Pin<Box<dyn Future<Output = CloseReport> + Send + '_>>;
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

/// Turns the many events of one pool into the few changes that are told.
pub struct Changes {
    pool: String,
    hub: Hub,
    /// The last attempt to connect failed. That it fails is told once, not with every attempt.
    is_failing: AtomicBool,
}

impl Changes {
    fn tell(&self, change: PoolChange) {
        self.hub.publish(EventKind::Pool {
            pool: self.pool.clone(),
            change,
        });
    }
}

impl Listener for Changes {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::ConnectFailed { error, .. } if !self.is_failing.swap(true, Relaxed) => {
                let error = error.to_string();
                self.tell(PoolChange::Unreachable { error });
            }
            Event::Connected { .. } if self.is_failing.swap(false, Relaxed) => {
                self.tell(PoolChange::Reachable);
            }
            Event::Leaked { holder } => {
                let holder = holder.to_string();
                self.tell(PoolChange::Leaked { holder });
            }
            _ => {}
        }
        self.hub.pool(&self.pool, event);
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Changes").field(&self.pool).finish()
    }
}
