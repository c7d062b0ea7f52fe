//! Lists of numbers in pieces of one size, all from one pool.
//!
//! What is due comes out in order of memory, not from one link to the next, and a list that has
//! become empty leaves nothing behind but pieces that are used again.

pub(super) const ROOM: usize = 29;
pub(super) const NOBODY: u32 = u32::MAX;

/// The pieces of all lists.
#[derive(Debug)]
pub(super) struct Chunks {
    chunks: Vec<Chunk>,
    /// The first piece that nobody uses; they are linked by `next`.
    free: u32,
}

/// 128 bytes: two cache lines. All pieces of a list but the last are full, or were when they were
/// the last.
#[derive(Clone, Debug)]
struct Chunk {
    items: [u32; ROOM],
    len: u32,
    prev: u32,
    next: u32,
}

/// One list.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    first: u32,
    last: u32,
    len: u32,
}

/// Where in its list a number is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pub(super) chunk: u32,
    pub(super) index: u8,
}

/// The numbers of one piece.
pub(super) struct Piece {
    items: [u32; ROOM],
    len: usize,
}

impl List {
    pub(super) const EMPTY: Self = Self {
        first: NOBODY,
        last: NOBODY,
        len: 0,
    };

    pub(super) fn len(&self) -> u64 {
        u64::from(self.len)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Piece {
    pub(super) fn numbers(&self) -> &[u32] {
        &self.items[..self.len]
    }
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self {
            chunks: Vec::new(),
            free: NOBODY,
        }
    }

    /// Appends a number.
    pub(super) fn push(&mut self, list: &mut List, number: u32) -> Position {
        if list.last == NOBODY || self.at(list.last).len as usize == ROOM {
            self.grow(list);
        }
        list.len += 1;
        let chunk = list.last;
        let last = self.at(chunk);
        let index = last.len;
        last.items[index as usize] = number;
        last.len += 1;
        // Below 29.
        Position {
            chunk,
            index: index as u8,
        }
    }

    /// Removes what is at a position, and returns the number that has come there from the end.
    pub(super) fn remove(&mut self, list: &mut List, position: Position) -> Option<u32> {
        let tail = list.last;
        let last = self.at(tail);
        last.len -= 1;
        let (index, moved) = (last.len, last.items[last.len as usize]);
        list.len -= 1;
        let at_end = tail == position.chunk && index == u32::from(position.index);
        if !at_end {
            self.at(position.chunk).items[usize::from(position.index)] = moved;
        }
        if index == 0 {
            self.release(list, tail);
        }
        (!at_end).then_some(moved)
    }

    /// Takes the first piece off a list.
    pub(super) fn take_first(&mut self, list: &mut List) -> Option<Piece> {
        if list.first == NOBODY {
            return None;
        }
        let chunk = list.first;
        let first = self.at(chunk);
        let piece = Piece {
            items: first.items,
            len: first.len as usize,
        };
        list.len -= first.len;
        self.release(list, chunk);
        Some(piece)
    }

    /// How many pieces there are, used or not.
    #[cfg(test)]
    pub(super) fn pieces(&self) -> usize {
        self.chunks.len()
    }

    fn grow(&mut self, list: &mut List) {
        let chunk = self.vacant();
        let fresh = self.at(chunk);
        (fresh.len, fresh.prev, fresh.next) = (0, list.last, NOBODY);
        if list.last == NOBODY {
            list.first = chunk;
        } else {
            self.at(list.last).next = chunk;
        }
        list.last = chunk;
    }

    fn vacant(&mut self) -> u32 {
        if self.free != NOBODY {
            let chunk = self.free;
            self.free = self.at(chunk).next;
            return chunk;
        }
        self.chunks.push(Chunk {
            items: [NOBODY; ROOM],
            len: 0,
            prev: NOBODY,
            next: NOBODY,
        });
        // There are no more pieces than numbers.
        (self.chunks.len() - 1) as u32
    }

    /// Takes a piece, the first or the last, out of its list.
    fn release(&mut self, list: &mut List, chunk: u32) {
        let free = self.free;
        let Chunk { prev, next, .. } = *self.at(chunk);
        self.at(chunk).next = free;
        self.free = chunk;
        if prev == NOBODY {
            list.first = next;
        } else {
            self.at(prev).next = next;
        }
        if next == NOBODY {
            list.last = prev;
        } else {
            self.at(next).prev = prev;
        }
    }

    /// A piece of some list: lists and positions name pieces that are there.
    fn at(&mut self, chunk: u32) -> &mut Chunk {
        &mut self.chunks[chunk as usize]
    }
}
