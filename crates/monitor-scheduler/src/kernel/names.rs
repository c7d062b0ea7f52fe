//! Keys by their id: an index of numbers only, for the handlers know the ids.

use std::hash::{BuildHasher, Hash, RandomState};

use hashbrown::HashTable;

use super::{entry::Entry, keyed::Keyed, slab::Slab};

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

    pub(super) fn get<H: Keyed>(&self, entries: &Slab<Entry<H>>, key: &H::Key) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let is_it = |number: &u32| entries[*number].handler.key() == key;
        self.numbers.find(hash, is_it).copied()
    }

    /// Adds the number of an entry whose key is not there yet.
    pub(super) fn insert<H: Keyed>(&mut self, entries: &Slab<Entry<H>>, number: u32) {
        let hash_of = |number: &u32| self.hasher.hash_one(entries[*number].handler.key());
        let hash = hash_of(&number);
        self.numbers.insert_unique(hash, number, hash_of);
    }

    /// Makes room for so many more. False if there is not so much memory.
    pub(super) fn reserve<H: Keyed>(&mut self, entries: &Slab<Entry<H>>, more: usize) -> bool {
        let hash_of = |number: &u32| self.hasher.hash_one(entries[*number].handler.key());
        self.numbers.try_reserve(more, hash_of).is_ok()
    }

    pub(super) fn remove<K: Hash>(&mut self, key: &K, number: u32) {
        let hash = self.hasher.hash_one(key);
        if let Ok(found) = self.numbers.find_entry(hash, |at| *at == number) {
            found.remove();
        }
    }
}
