//! Keys by their id: an index of numbers only, for the ids are in the entries.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
};

use hashbrown::HashTable;

use super::{entry::Entry, slab::Slab};

/// The numbers of the entries, by the hash of their key.
pub(super) struct Names {
    numbers: HashTable<u32>,
    hasher: RandomState,
}

impl Names {
    pub(super) fn new() -> Self {
        Self {
            numbers: HashTable::new(),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn get<K: Eq + Hash, H>(&self, entries: &Slab<Entry<K, H>>, key: &K) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let is_it = |number: &u32| entries[*number].key.as_ref() == key;
        self.numbers.find(hash, is_it).copied()
    }

    /// Adds the number of an entry whose key is not there yet.
    pub(super) fn insert<K: Hash, H>(&mut self, entries: &Slab<Entry<K, H>>, number: u32) {
        let hash_of = |number: &u32| self.hasher.hash_one(entries[*number].key.as_ref());
        let hash = hash_of(&number);
        self.numbers.insert_unique(hash, number, hash_of);
    }

    /// Makes room for so many more. False if there is not so much memory.
    pub(super) fn reserve<K: Hash, H>(&mut self, entries: &Slab<Entry<K, H>>, more: usize) -> bool {
        let hash_of = |number: &u32| self.hasher.hash_one(entries[*number].key.as_ref());
        self.numbers.try_reserve(more, hash_of).is_ok()
    }

    pub(super) fn remove<K: Hash>(&mut self, key: &Arc<K>, number: u32) {
        let hash = self.hasher.hash_one(key.as_ref());
        if let Ok(found) = self.numbers.find_entry(hash, |at| *at == number) {
            found.remove();
        }
    }
}
