//! Entries by small numbers, which are used again.

use std::ops::{Index, IndexMut};

/// Entries by small numbers. In pages, so that none of those that are there is ever moved.
pub(crate) struct Slab<T> {
    pages: Vec<Box<Page<T>>>,
    end: u32,
    vacant: Vec<u32>,
}

type Page<T> = [Option<T>; PAGE];

/// Entries of a page.
const PAGE: usize = 256;

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self {
            pages: Vec::new(),
            end: 0,
            vacant: Vec::new(),
        }
    }

    pub(crate) fn insert(&mut self, entry: T) -> u32 {
        let index = self.vacant.pop().unwrap_or_else(|| self.grow());
        *self.at(index) = Some(entry);
        index
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let page = self.pages.get_mut(index as usize / PAGE)?;
        let entry = page[index as usize % PAGE].take()?;
        self.vacant.push(index);
        Some(entry)
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        let index = index as usize;
        self.pages.get(index / PAGE)?[index % PAGE].as_ref()
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let index = index as usize;
        self.pages.get_mut(index / PAGE)?[index % PAGE].as_mut()
    }

    /// All numbers that were ever in use are below this.
    pub(crate) fn end(&self) -> u32 {
        self.end
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.end as usize - self.vacant.len()
    }

    /// The numbers in use.
    pub(crate) fn indices(&self) -> Vec<u32> {
        (0..self.end())
            .filter(|index| self.get(*index).is_some())
            .collect()
    }

    /// A place that was vacant, or is new.
    fn at(&mut self, index: u32) -> &mut Option<T> {
        let index = index as usize;
        &mut self.pages[index / PAGE][index % PAGE]
    }

    /// The number of a new place. Four thousand million do not fit into memory.
    fn grow(&mut self) -> u32 {
        let index = self.end;
        if index as usize / PAGE == self.pages.len() {
            self.pages.push(empty());
        }
        self.end += 1;
        index
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flat_map(|page| page.iter().flatten())
    }
}

/// A page without entries, made where it will be: on the stack it may not have room.
#[expect(clippy::expect_used, reason = "it has as many as a page")]
fn empty<T>() -> Box<Page<T>> {
    let page: Vec<Option<T>> = std::iter::repeat_with(|| None).take(PAGE).collect();
    let page = page.into_boxed_slice().try_into();
    page.ok().expect("a page is full")
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
