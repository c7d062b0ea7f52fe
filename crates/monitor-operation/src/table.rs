//! The table of the keys, which forgets those that nobody has any more.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use crate::{
    Epoch,
    key::Known,
    sync::{AtomicU64, Mutex, Ordering, lock},
};

pub(crate) struct Table<K> {
    /// By the hash of the key, so that threads with different keys rarely meet.
    shards: [Mutex<Shard<K>>; SHARDS],
    hasher: RandomState,
    /// INV-OPERATION-8: not below an epoch that any key was in when it left the table. A key that
    /// enters begins here or above, so that it comes back above where it was, and a key that is
    /// gone takes no memory. Raised before the key leaves, under the lock of its shard.
    floor: AtomicU64,
}

type Shard<K> = HashMap<Arc<K>, Arc<Known<K>>>;

#[cfg(not(monitor_loom))]
const SHARDS: usize = 16;
#[cfg(monitor_loom)]
const SHARDS: usize = 1;

impl<K> Table<K> {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(HashMap::new())),
            hasher: RandomState::new(),
            floor: AtomicU64::new(0),
        }
    }

    /// How many keys there are, with those that nobody has any more and that are still to be
    /// found out.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// All keys that there were when their shard was looked at. No lock is held between two.
    pub(crate) fn all(&self) -> impl Iterator<Item = Arc<Known<K>>> {
        self.shards.iter().flat_map(|shard| {
            let keys = lock(shard);
            keys.values().cloned().collect::<Vec<_>>()
        })
    }

    /// Whether a key may leave: then its epoch is in the floor.
    fn let_go(&self, known: &mut Arc<Known<K>>) -> bool {
        // Alone: nobody has it at hand and none of its operations is open. Nor can anybody come by
        // it now, for its shard is locked.
        let Some(alone) = Arc::get_mut(known) else {
            return false;
        };
        let Some(epoch) = alone.line.left_at() else {
            return false;
        };
        self.floor.fetch_max(epoch.get(), Ordering::AcqRel);
        true
    }
}

impl<K: Eq + Hash> Table<K> {
    pub(crate) fn find(&self, key: &K) -> Option<Arc<Known<K>>> {
        lock(self.shard(key)).get(key).cloned()
    }

    /// Finds a key, or enters what `make` makes of it and of the lowest epoch it may begin in.
    pub(crate) fn find_or_enter(
        &self,
        key: K,
        make: impl FnOnce(Arc<K>, Epoch) -> Known<K>,
    ) -> Arc<Known<K>> {
        if let Some(known) = self.find(&key) {
            return known;
        }
        let shard = self.shard(&key);
        let key = Arc::new(key);
        let mut keys = lock(shard);
        let left = self.make_room(&mut keys);
        let entered = keys.entry(Arc::clone(&key)).or_insert_with(|| {
            let floor = Epoch::new(self.floor.load(Ordering::Acquire));
            Arc::new(make(Arc::clone(&key), floor))
        });
        let known = Arc::clone(entered);
        drop(keys);
        drop(left); // after the lock: a key may have a destructor, and so may `key`
        known
    }

    /// Gives back what [`find`](Self::find) found, and takes the key out if nobody else has it.
    pub(crate) fn give_back(&self, known: Arc<Known<K>>) {
        let key = Arc::clone(&known.key);
        let mut keys = lock(self.shard(&key));
        drop(known); // never the last: nothing leaves the table that somebody has
        let goes = keys.get_mut(&key).is_some_and(|known| self.let_go(known));
        let left = goes.then(|| keys.remove_entry(&key));
        drop(keys);
        drop(left);
    }

    /// Looks for keys that nobody has any more before the table grows, and lets it grow only if
    /// there are few of them: so a key costs a constant number of looks, and the table has room for
    /// a few times as many keys as somebody has, not for all there ever were.
    fn make_room(&self, keys: &mut Shard<K>) -> Vec<(Arc<K>, Arc<Known<K>>)> {
        if keys.len() < keys.capacity() {
            return Vec::new();
        }
        let left = keys.extract_if(|_, known| self.let_go(known)).collect();
        if keys.len() > keys.capacity() / 2 {
            keys.reserve(keys.len());
        } else {
            keys.shrink_to(64.max(4 * keys.len()));
        }
        left
    }

    fn shard(&self, key: &K) -> &Mutex<Shard<K>> {
        let hash = self.hasher.hash_one(key) as usize;
        &self.shards[hash % SHARDS]
    }
}
