//! One breaker per key, made when it is first asked for.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{
        Arc, PoisonError, RwLock, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    Breaker, Config, ConfigError, Snapshot, Transition, breaker::Listener, quota::Quota,
    word::nanos,
};

/// Breakers by key: per host, per tenant, per probe.
///
/// [`get`](Registry::get) is a read lock and a look-up; a caller with few keys keeps the [`Arc`].
/// A breaker that is held by somebody is never evicted, and one that is open only if there is no
/// other left.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use monitor_breaker::{Config, ConfigError, Registry, State};
///
/// # fn main() -> Result<(), ConfigError> {
/// let registry = Registry::builder(Config::mail()).max_open_percent(50).build()?;
/// let now = Duration::ZERO;
/// for _ in 0..5 {
///     let one = registry.get(&"one.example", now);
///     one.try_acquire(now).expect("closed").failure(now);
/// }
/// assert_eq!(registry.get(&"one.example", now).state(now), State::Open);
/// assert_eq!(registry.get(&"two.example", now).state(now), State::Closed);
/// # Ok(())
/// # }
/// ```
pub struct Registry<K> {
    config: Config,
    max_keys: usize,
    quota: Arc<Quota>,
    listener: Option<KeyedListener<K>>,
    breakers: RwLock<HashMap<K, Entry>>,
}

/// Builds a [`Registry`].
///
/// # Defaults
/// 10 000 keys; all of its breakers may be open at once; no listener.
#[must_use]
pub struct RegistryBuilder<K> {
    config: Config,
    max_keys: usize,
    max_open_percent: u8,
    listener: Option<KeyedListener<K>>,
}

type KeyedListener<K> = Arc<dyn Fn(&K, Transition) + Send + Sync>;

struct Entry {
    breaker: Arc<Breaker>,
    /// When it was last asked for, in nanoseconds.
    used: AtomicU64,
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> Registry<K> {
    /// Starts a registry whose breakers all have `config`; its seed, if it has one, too.
    pub fn builder(config: Config) -> RegistryBuilder<K> {
        RegistryBuilder {
            config,
            max_keys: 10_000,
            max_open_percent: 100,
            listener: None,
        }
    }

    /// Returns the breaker of `key`: closed, if this is the first time or it was evicted.
    pub fn get(&self, key: &K, now: Duration) -> Arc<Breaker> {
        let now_nanos = nanos(now);
        {
            let breakers = self.breakers.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = breakers.get(key) {
                entry.used.fetch_max(now_nanos, Ordering::Relaxed);
                return Arc::clone(&entry.breaker);
            }
        }
        let made = Arc::new(self.make(key));
        let mut evicted = Vec::new();
        let mut breakers = self.write();
        if !breakers.contains_key(key) && breakers.len() >= self.max_keys {
            evicted = self.make_room(&mut breakers);
        }
        let entry = breakers.entry(key.clone()).or_insert_with(|| Entry {
            breaker: made,
            used: AtomicU64::new(now_nanos),
        });
        let breaker = Arc::clone(&entry.breaker);
        self.quota.set_members(breakers.len());
        drop(breakers);
        // Keys and listeners are the caller's own: they are dropped outside of the lock.
        drop(evicted);
        breaker
    }

    /// Evicts every breaker that refuses no call, that nobody holds and that nobody asked for since
    /// `idle` before `now`. Returns how many.
    pub fn evict_idle(&self, idle: Duration, now: Duration) -> usize {
        let mut breakers = self.write();
        let since = nanos(now.saturating_sub(idle));
        let evicted: Vec<_> = breakers
            .extract_if(|_, entry| {
                entry.used.load(Ordering::Relaxed) <= since
                    && entry.is_unheld()
                    && !entry.breaker.is_refusing()
            })
            .collect();
        self.quota.set_members(breakers.len());
        drop(breakers);
        evicted.len()
    }

    /// Returns how many keys have a breaker.
    #[must_use]
    pub fn len(&self) -> usize {
        let breakers = self.breakers.read().unwrap_or_else(PoisonError::into_inner);
        breakers.len()
    }

    /// Returns whether no key has a breaker.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many breakers are open or half-open, other than by hand.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.quota.open()
    }

    /// Returns a view of each breaker, in no order.
    #[must_use]
    pub fn snapshots(&self, now: Duration) -> Vec<(K, Snapshot)> {
        let breakers: Vec<_> = {
            let breakers = self.breakers.read().unwrap_or_else(PoisonError::into_inner);
            let pairs = breakers.iter();
            pairs
                .map(|(key, entry)| (key.clone(), Arc::clone(&entry.breaker)))
                .collect()
        };
        // A snapshot may play a timer and tell the listener: not under the lock.
        let snapshot = |(key, breaker): (K, Arc<Breaker>)| (key, breaker.snapshot(now));
        breakers.into_iter().map(snapshot).collect()
    }

    fn make(&self, key: &K) -> Breaker {
        let listener = self.listener.clone().map(|listener| {
            let key = key.clone();
            Box::new(move |transition| listener(&key, transition)) as Listener
        });
        let quota = Some(Arc::clone(&self.quota));
        Breaker::build(self.config.clone(), quota, listener)
    }

    /// Evicts a sixteenth of the keys, so that a stream of new ones looks at each but rarely: those
    /// that nobody holds, the closed ones first, then those that were asked for longest ago.
    fn make_room(&self, breakers: &mut HashMap<K, Entry>) -> Vec<(K, Entry)> {
        let mut candidates: Vec<_> = breakers
            .iter()
            .filter(|(_, entry)| entry.is_unheld())
            .map(|(key, entry)| {
                let is_open = entry.breaker.is_refusing();
                (is_open, entry.used.load(Ordering::Relaxed), key.clone())
            })
            .collect();
        candidates.sort_unstable_by_key(|(is_open, used, _)| (*is_open, *used));
        let closed = candidates.iter().filter(|(is_open, ..)| !is_open).count();
        let count = (self.max_keys / 16).min(closed).max(1);
        let leaving = candidates.into_iter().take(count);
        leaving
            .filter_map(|(_, _, key)| breakers.remove_entry(&key))
            .collect()
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<K, Entry>> {
        self.breakers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// A new holder can only come by way of the registry, hence of its lock.
    fn is_unheld(&self) -> bool {
        Arc::strong_count(&self.breaker) == 1
    }
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> RegistryBuilder<K> {
    /// Sets how many keys may have a breaker; beyond that the least recently used ones go, unless
    /// somebody holds them. At least 1. Default: 10 000.
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.max_keys = keys;
        self
    }

    /// Sets how many of a hundred breakers, and always one, may be open or half-open at once. A
    /// breaker beyond that stays closed, and goes on trying to open with each failure: when nearly
    /// all targets fail it is more likely that the fault is here. 1 to 100. Default: 100.
    pub fn max_open_percent(mut self, percent: u8) -> Self {
        self.max_open_percent = percent;
        self
    }

    /// Sets who is told about each transition, with its key. Runs outside of any lock; see
    /// [`Breaker::with_listener`].
    pub fn listener(mut self, listener: impl Fn(&K, Transition) + Send + Sync + 'static) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// Returns the registry.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`]: `max_keys` or `max_open_percent`.
    pub fn build(self) -> Result<Registry<K>, ConfigError> {
        let refuse = |field, value: String, range| ConfigError::OutOfRange {
            field,
            value,
            range,
        };
        if self.max_keys == 0 {
            return Err(refuse("max_keys", self.max_keys.to_string(), "at least 1"));
        }
        if !(1..=100).contains(&self.max_open_percent) {
            let value = self.max_open_percent.to_string();
            return Err(refuse("max_open_percent", value, "1 to 100"));
        }
        Ok(Registry {
            config: self.config,
            max_keys: self.max_keys,
            quota: Arc::new(Quota::new(self.max_open_percent)),
            listener: self.listener,
            breakers: RwLock::default(),
        })
    }
}

impl<K> fmt::Debug for Registry<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("config", &self.config)
            .field("max_keys", &self.max_keys)
            .field("open", &self.quota.open())
            .finish_non_exhaustive()
    }
}

impl<K> fmt::Debug for RegistryBuilder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryBuilder")
            .field("config", &self.config)
            .field("max_keys", &self.max_keys)
            .field("max_open_percent", &self.max_open_percent)
            .finish_non_exhaustive()
    }
}
