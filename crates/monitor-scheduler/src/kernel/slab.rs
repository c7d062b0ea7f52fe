//! Entries by small numbers, which are used again.

use std::ops::{Index, IndexMut};

/// Entries by small numbers.
pub(crate) struct Slab<T> {
    entries: Vec<Option<T>>,
    vacant: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            vacant: Vec::new(),
        }
    }

    pub(crate) fn insert(&mut self, entry: T) -> u32 {
        if let Some(index) = self.vacant.pop() {
            self.entries[index as usize] = Some(entry);
            return index;
        }
        self.entries.push(Some(entry));
        // Four thousand million entries do not fit into memory.
        (self.entries.len() - 1) as u32
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let entry = self.entries.get_mut(index as usize)?.take()?;
        self.vacant.push(index);
        Some(entry)
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.entries.get(index as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entries.get_mut(index as usize)?.as_mut()
    }

    /// Makes room for so many more. False if there is not so much memory.
    pub(crate) fn reserve(&mut self, more: usize) -> bool {
        self.entries.try_reserve(more).is_ok()
    }

    /// All numbers that were ever in use are below this.
    pub(crate) fn end(&self) -> u32 {
        self.entries.len() as u32
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.vacant.len()
    }

    /// The numbers in use.
    pub(crate) fn indices(&self) -> Vec<u32> {
        (0..self.end())
            .filter(|index| self.get(*index).is_some())
            .collect()
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().flatten()
    }
}

// For numbers known to be in use: the kernel frees an entry only together with its timer, its
// queue place and its name, so a number that comes from one of those names an entry.
impl<T> Index<u32> for Slab<T> {
    type Output = T;

    #[expect(clippy::expect_used, reason = "see above")]
    fn index(&self, index: u32) -> &T {
        self.get(index).expect("the number is in use")
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[expect(clippy::expect_used, reason = "see above")]
    fn index_mut(&mut self, index: u32) -> &mut T {
        self.get_mut(index).expect("the number is in use")
    }
}
