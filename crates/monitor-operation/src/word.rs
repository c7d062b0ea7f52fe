//! One word that says whose turn it is at a key: who may begin, who may commit.

/// The word of a [`Line`](crate::line::Line): which generation of operations is current, how many
/// of it are open, and how many of those are committing. Together in one word, "is it still
/// current" and "one more commits" are one step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

const COUNT_BITS: u32 = 20;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const ONE_OPEN: u64 = 1 << COUNT_BITS;
const TAG_SHIFT: u32 = 2 * COUNT_BITS;

impl Word {
    /// How many operations of one generation may be open.
    pub(crate) const MAX_OPEN: u32 = COUNT as u32;

    /// Nothing begins or commits under this word.
    pub(crate) const CLOSED: Self = Self(0);

    /// The word of a generation that has just begun.
    pub(crate) const fn new(tag: Tag) -> Self {
        Self((tag.0 as u64) << TAG_SHIFT)
    }

    pub(crate) const fn tag(self) -> Tag {
        Tag((self.0 >> TAG_SHIFT) as u32)
    }

    pub(crate) const fn is_closed(self) -> bool {
        self.tag().0 == 0
    }

    pub(crate) const fn open(self) -> u32 {
        ((self.0 >> COUNT_BITS) & COUNT) as u32
    }

    pub(crate) const fn committing(self) -> u32 {
        (self.0 & COUNT) as u32
    }

    /// One more is open. The caller has seen that there is room.
    pub(crate) const fn begin(self) -> Self {
        Self(self.0 + ONE_OPEN)
    }

    pub(crate) const fn end(self) -> Self {
        Self(self.0 - ONE_OPEN)
    }

    /// One more commits. There is room: who commits is open, and is counted there.
    pub(crate) const fn enter(self) -> Self {
        Self(self.0 + 1)
    }

    pub(crate) const fn leave(self) -> Self {
        Self(self.0 - 1)
    }
}

/// The name of a generation of operations for as long as one of it is open. Names are used again,
/// never while somebody answers to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(u32);

impl Tag {
    pub(crate) const FIRST: Self = Self(1);
    const LAST: Self = Self(u32::MAX >> (TAG_SHIFT - 32));

    /// The next name that is none of `taken`.
    ///
    /// There is one: who is in `taken` has an operation open, and 2²⁴ keys' worth of generations
    /// with open operations do not fit in memory. Even then the search would go on, not err.
    pub(crate) fn after(self, taken: impl Fn(Self) -> bool) -> Self {
        let mut tag = self;
        loop {
            tag = if tag == Self::LAST {
                Self::FIRST
            } else {
                Self(tag.0 + 1)
            };
            if !taken(tag) {
                return tag;
            }
        }
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_parts_do_not_touch_each_other() {
        let mut word = Word::new(Tag::LAST);
        for _ in 0..Word::MAX_OPEN {
            word = word.begin().enter();
        }
        assert_eq!(
            (word.tag(), word.open(), word.committing()),
            (Tag::LAST, Word::MAX_OPEN, Word::MAX_OPEN)
        );
        assert_eq!(word.leave().open(), Word::MAX_OPEN);
        assert_eq!(word.leave().end().tag(), Tag::LAST);
        assert!(Word::CLOSED.is_closed() && !Word::new(Tag::FIRST).is_closed());
    }

    #[test]
    fn names_go_round_and_leave_out_the_taken() {
        assert_eq!(Tag::LAST.after(|_| false), Tag::FIRST);
        assert_eq!(Tag::LAST.after(|tag| tag == Tag::FIRST), Tag(2));
        assert_eq!(Tag(7).after(|_| false), Tag(8));
    }
}
