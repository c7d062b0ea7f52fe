//! Entries by small numbers, which are used again.

use std::ops::{Index, IndexMut};

/// Entries by small numbers. In pages, so that none of those that are there is ever moved.
pub(crate) struct Slab<T> {
    pages: Vec<Vec<Option<T>>>,
    vacant: Vec<u32>,
}

/// Entries of a page.
const PAGE: usize = 1024;

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self {
            pages: Vec::new(),
            vacant: Vec::new(),
        }
    }

    pub(crate) fn insert(&mut self, entry: T) -> u32 {
        if let Some(index) = self.vacant.pop() {
            self.pages[page(index)][place(index)] = Some(entry);
            return index;
        }
        // Four thousand million entries do not fit into memory.
        let index = self.end();
        if place(index) == 0 {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        self.pages[page(index)].push(Some(entry));
        index
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let entry = self.pages.get_mut(page(index))?.get_mut(place(index))?;
        let entry = entry.take()?;
        self.vacant.push(index);
        Some(entry)
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.pages.get(page(index))?.get(place(index))?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let page = self.pages.get_mut(page(index))?;
        page.get_mut(place(index))?.as_mut()
    }

    /// All numbers that were ever in use are below this.
    pub(crate) fn end(&self) -> u32 {
        let last = self.pages.last().map_or(PAGE, Vec::len);
        (self.pages.len() * PAGE + last - PAGE) as u32
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.end() as usize - self.vacant.len()
    }

    /// The numbers in use.
    pub(crate) fn indices(&self) -> Vec<u32> {
        (0..self.end())
            .filter(|index| self.get(*index).is_some())
            .collect()
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten().flatten()
    }
}

fn page(index: u32) -> usize {
    index as usize / PAGE
}

fn place(index: u32) -> usize {
    index as usize % PAGE
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
