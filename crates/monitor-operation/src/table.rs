//! The table of the keys, which forgets those that nobody has any more.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
};

use hashbrown::HashTable;

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

/// What is known of keys, by their hash.
type Shard<K> = HashTable<Arc<Known<K>>>;

/// A key that is further ahead of the others than this never leaves. Nobody has counted so far: it
/// is a broken row's epoch, and near its end every other key would come to the end as well.
const FAR: u64 = 1 << 32;

#[cfg(not(monitor_loom))]
const SHARDS: usize = 16;
#[cfg(monitor_loom)]
const SHARDS: usize = 1;

impl<K> Table<K> {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(HashTable::new())),
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
            keys.iter().cloned().collect::<Vec<_>>()
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
        let ahead = epoch
            .get()
            .saturating_sub(self.floor.load(Ordering::Acquire));
        if ahead > FAR {
            return false;
        }
        self.floor.fetch_max(epoch.get(), Ordering::AcqRel);
        true
    }
}

impl<K: Eq + Hash> Table<K> {
    pub(crate) fn find(&self, key: &K) -> Option<Arc<Known<K>>> {
        let hash = self.hash(key);
        let keys = lock(self.shard(hash));
        keys.find(hash, |known| known.key == *key).cloned()
    }

    /// Finds a key, or enters what `make` makes of it and of the lowest epoch it may begin in.
    pub(crate) fn find_or_enter(
        &self,
        key: K,
        make: impl FnOnce(K, Epoch) -> Known<K>,
    ) -> Arc<Known<K>> {
        let hash = self.hash(&key);
        let mut keys = lock(self.shard(hash));
        if let Some(known) = keys.find(hash, |known| known.key == key) {
            let known = Arc::clone(known);
            drop(keys); // before `key`, which may have a destructor
            return known;
        }
        let left = self.make_room(&mut keys);
        let floor = Epoch::new(self.floor.load(Ordering::Acquire));
        let known = Arc::new(make(key, floor));
        keys.insert_unique(hash, Arc::clone(&known), |known| self.hash(&known.key));
        drop(keys);
        drop(left); // after the lock, as above
        known
    }

    /// Gives back what [`find`](Self::find) found, and takes the key out if nobody else has it.
    pub(crate) fn give_back(&self, known: Arc<Known<K>>) {
        let hash = self.hash(&known.key);
        let place = Arc::as_ptr(&known);
        let mut keys = lock(self.shard(hash));
        drop(known); // never the last: nothing leaves the table that somebody has
        let found = keys.find_entry(hash, |known| Arc::as_ptr(known) == place);
        let left = found.ok().and_then(|mut found| {
            let goes = self.let_go(found.get_mut());
            goes.then(|| found.remove().0)
        });
        drop(keys);
        drop(left);
    }

    /// Looks for keys that nobody has any more before the table grows, and lets it grow only if
    /// there are few of them: so a key costs a constant number of looks, and the table has room for
    /// a few times as many keys as somebody has, not for all there ever were.
    fn make_room(&self, keys: &mut Shard<K>) -> Vec<Arc<Known<K>>> {
        if keys.len() < keys.capacity() {
            return Vec::new();
        }
        let hash_of = |known: &Arc<Known<K>>| self.hash(&known.key);
        let left = keys.extract_if(|known| self.let_go(known)).collect();
        if keys.len() > keys.capacity() / 2 {
            keys.reserve(keys.len(), hash_of);
        } else {
            keys.shrink_to(64.max(4 * keys.len()), hash_of);
        }
        left
    }

    fn hash(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }

    /// By other bits of the hash than those that the table takes.
    fn shard(&self, hash: u64) -> &Mutex<Shard<K>> {
        &self.shards[(hash >> 32) as usize % SHARDS]
    }
}
