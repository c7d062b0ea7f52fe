//! The kernel: the line of generations of one key, and who of them may commit.

use std::sync::Arc;

use crate::{
    Cause, Epoch, Fence,
    cancellation::Token,
    fence::Drain,
    sync::{AtomicU64, Mutex, Ordering, lock},
    word::{Tag, Word},
};

/// What the operations of one key have in common.
///
/// A *generation* is what began between two fences. The word holds the current one; those before
/// it stand in the past for as long as one of them is open. As long as nobody fences, begin,
/// commit and end touch nothing but the word.
#[repr(C)]
pub(crate) struct Line {
    /// INV-OPERATION-1: a commit enters by raising a count beside the tag of its own generation,
    /// so none enters once the tag is another.
    /// INV-OPERATION-2: the count is the number of commits that entered and have not left.
    ///
    /// The tag changes under the lock of `past` only. What a commit did before it left (release)
    /// is seen by who takes its count over or finds it at zero (acquire).
    word: AtomicU64,
    /// The epoch of the word's generation. Written while the word is closed, so that who reads it
    /// between two looks at the same tag reads the epoch of that tag.
    epoch: AtomicU64,
    past: Mutex<Past>,
}

struct Past {
    /// INV-OPERATION-3: the epoch of a key never goes down and is never used twice, so it stays
    /// here when the key is forgotten, for as long as the line is there.
    epoch: Epoch,
    /// Whether the key is to stay known though nobody has it.
    is_registered: bool,
    /// The last name that was given.
    tag: Tag,
    /// Those that were fenced, as long as one of their operations is open.
    generations: Vec<Generation>,
    /// INV-OPERATION-7: the tokens of the current generation, each at the place that it knows, so
    /// that a fence tells all who listen and no one else.
    listening: Vec<Arc<Token>>,
}

/// A generation that was fenced.
struct Generation {
    tag: Tag,
    epoch: Epoch,
    cause: Cause,
    open: u32,
    committing: u32,
    /// INV-OPERATION-4: there while a commit is in progress; every later fence waits for it too.
    drain: Option<Arc<Drain>>,
}

/// Why nothing could begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Forgotten,
    Full,
}

impl Line {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self {
            word: AtomicU64::new(Word::new(Tag::FIRST).0),
            epoch: AtomicU64::new(epoch.get()),
            past: Mutex::new(Past {
                epoch,
                is_registered: false,
                tag: Tag::FIRST,
                generations: Vec::new(),
                listening: Vec::new(),
            }),
        }
    }

    /// Opens an operation of the current generation. Paired with one [`end`](Self::end).
    pub(crate) fn begin(&self) -> Result<(Tag, Epoch), Refusal> {
        let mut word = self.load();
        let tag = loop {
            if word.is_closed() {
                // A fence is under way, or the key was forgotten; the lock is free after it.
                word = {
                    let _past = lock(&self.past);
                    self.load()
                };
                if word.is_closed() {
                    return Err(Refusal::Forgotten);
                }
            }
            if word.open() == Word::MAX_OPEN {
                return Err(Refusal::Full);
            }
            match self.exchange(word, word.begin()) {
                Ok(()) => break word.tag(),
                Err(now) => word = now,
            }
        };
        let epoch = self.last_epoch();
        if self.load().tag() == tag {
            return Ok((tag, epoch));
        }
        // Fenced since: the operation stands in the past, with its epoch.
        let past = lock(&self.past);
        let epoch = past.find(tag).map_or(epoch, |generation| generation.epoch);
        Ok((tag, epoch))
    }

    /// Closes an operation. Returns why its generation was fenced, if it was.
    pub(crate) fn end(&self, tag: Tag) -> Option<Cause> {
        if self.update(tag, Word::end) {
            return None;
        }
        let mut past = lock(&self.past);
        let index = past.generations.iter().position(|g| g.tag == tag)?;
        let generation = &mut past.generations[index];
        generation.open = generation.open.saturating_sub(1);
        let cause = generation.cause;
        if generation.open == 0 {
            past.generations.swap_remove(index);
        }
        Some(cause)
    }

    /// Begins a commit, unless the generation was fenced. Each success is paired with one
    /// [`leave`](Self::leave).
    pub(crate) fn enter(&self, tag: Tag) -> Result<(), Cause> {
        if self.update(tag, Word::enter) {
            return Ok(());
        }
        let past = lock(&self.past);
        // It is there: the operation that asks is open. The fall-back cannot be reached.
        let cause = past.find(tag).map(|generation| generation.cause);
        Err(cause.unwrap_or(Cause::Superseded))
    }

    /// Ends a commit.
    pub(crate) fn leave(&self, tag: Tag) {
        if self.update(tag, Word::leave) {
            return;
        }
        let drained = {
            let mut past = lock(&self.past);
            past.generations
                .iter_mut()
                .find(|generation| generation.tag == tag)
                .and_then(Generation::leave)
        };
        if let Some(drain) = drained {
            drain.ring();
        }
    }

    /// Ends a commit and its operation in one step.
    pub(crate) fn leave_and_end(&self, tag: Tag) -> Option<Cause> {
        if self.update(tag, |word| word.leave().end()) {
            return None;
        }
        self.leave(tag);
        self.end(tag)
    }

    /// Moves on to the next epoch and returns the fence; none if the key is forgotten.
    pub(crate) fn fence(&self, cause: Cause) -> Option<Fence> {
        self.retire(cause, |past| {
            past.epoch = past.epoch.next();
            self.open(past);
        })
    }

    /// Like [`fence`](Self::fence), and lets nothing begin until the key is
    /// [registered](Self::register) again.
    pub(crate) fn forget(&self) -> Option<Fence> {
        self.retire(Cause::Deleted, |past| {
            past.epoch = past.epoch.next();
            past.is_registered = false;
        })
    }

    /// The epoch in which the key comes back if it is given up now, one that nothing began in;
    /// none if it is registered.
    pub(crate) fn left_at(&self) -> Option<Epoch> {
        let past = lock(&self.past);
        let unused = if self.load().is_closed() {
            past.epoch
        } else {
            past.epoch.next()
        };
        (!past.is_registered).then_some(unused)
    }

    /// Lets operations begin if none could.
    pub(crate) fn open_again(&self) {
        if !self.is_closed() {
            return;
        }
        let _open = self.reopen(Epoch::default(), false);
    }

    /// Makes the epoch at least `epoch`, and lets operations begin until the key is forgotten.
    pub(crate) fn register(&self, epoch: Epoch) -> Epoch {
        loop {
            if let Some(current) = self.reopen(epoch, true) {
                return current;
            }
            // Another thread may fence in between: then once more, and no harm. It may forget the
            // key: then the epoch is not there yet, and what was promised would be forgotten too.
            let raised = self.retire(Cause::Superseded, |past| {
                past.epoch = past.epoch.next().max(epoch);
                past.is_registered = true;
                self.open(past);
            });
            if let Some(fence) = raised {
                return fence.epoch();
            }
        }
    }

    /// Lets operations begin if none could; none if the key is open under an epoch below `epoch`.
    fn reopen(&self, epoch: Epoch, registered: bool) -> Option<Epoch> {
        let mut past = lock(&self.past);
        if self.load().is_closed() {
            past.epoch = past.epoch.max(epoch);
            self.open(&mut past);
        }
        past.is_registered |= registered;
        (past.epoch >= epoch).then_some(past.epoch)
    }

    /// Opens a generation of the epoch that was set. The word comes last: see `begin`.
    fn open(&self, past: &mut Past) {
        past.tag = past.tag.after(|tag| past.find(tag).is_some());
        self.epoch.store(past.epoch.get(), Ordering::Release);
        self.word.store(Word::new(past.tag).0, Ordering::Release);
    }

    /// Ends the current generation, lets `next` make another one, and tells those who listen.
    fn retire(&self, cause: Cause, next: impl FnOnce(&mut Past)) -> Option<Fence> {
        let (fence, listening) = {
            let mut past = lock(&self.past);
            if self.load().is_closed() {
                return None;
            }
            // From here on nothing enters; what is open or committing is ours to count.
            let word = Word(self.word.swap(Word::CLOSED.0, Ordering::AcqRel));
            past.retire(word, cause);
            next(&mut past);
            let fence = Fence {
                epoch: past.epoch,
                cause,
                open: word.open() as usize,
                draining: past.draining(),
            };
            (fence, std::mem::take(&mut past.listening))
        };
        // After the lock: a waker is not ours.
        for token in listening {
            token.fence(cause);
        }
        Some(fence)
    }

    /// Puts `token`, of an operation of generation `tag`, on the list of those to be told.
    pub(crate) fn listen(&self, tag: Tag, token: &Arc<Token>) {
        let mut past = lock(&self.past);
        if token.is_listed() {
            return;
        }
        if self.load().tag() == tag {
            token.list(past.listening.len());
            past.listening.push(Arc::clone(token));
        } else {
            let cause = past.find(tag).map(|generation| generation.cause);
            token.list(usize::MAX);
            drop(past);
            if let Some(cause) = cause {
                token.fence(cause);
            }
        }
    }

    /// Takes `token` off the list.
    pub(crate) fn unlisten(&self, tag: Tag, token: &Token) {
        let mut past = lock(&self.past);
        if self.load().tag() != tag {
            return; // the list is another generation's
        }
        let place = token.place();
        let listed = past.listening.get(place);
        if listed.is_some_and(|listed| std::ptr::eq(Arc::as_ptr(listed), token)) {
            let taken = past.listening.swap_remove(place);
            if let Some(moved) = past.listening.get(place) {
                moved.list(place);
            }
            drop(past);
            drop(taken); // after the lock
        }
    }

    /// The current epoch; none if the key is forgotten.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        let past = lock(&self.past);
        (!self.load().is_closed()).then_some(past.epoch)
    }

    /// The epoch of the generation that is current, or was the last to be.
    pub(crate) fn last_epoch(&self) -> Epoch {
        Epoch::new(self.epoch.load(Ordering::Acquire))
    }

    /// How many operations are open, of any generation.
    pub(crate) fn open_count(&self) -> usize {
        let past = lock(&self.past);
        let before: usize = past.generations.iter().map(|g| g.open as usize).sum();
        before + self.load().open() as usize
    }

    /// Whether `tag` is current: a hint.
    pub(crate) fn is_current(&self, tag: Tag) -> bool {
        self.load().tag() == tag
    }

    /// Whether nothing can begin just now: a hint.
    pub(crate) fn is_closed(&self) -> bool {
        self.load().is_closed()
    }

    fn load(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    fn exchange(&self, from: Word, to: Word) -> Result<(), Word> {
        self.word
            .compare_exchange_weak(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(Word)
    }

    /// Changes the word if it is of generation `tag`; false if it is not.
    fn update(&self, tag: Tag, change: impl Fn(Word) -> Word) -> bool {
        let mut word = self.load();
        while word.tag() == tag {
            match self.exchange(word, change(word)) {
                Ok(()) => return true,
                Err(now) => word = now,
            }
        }
        false
    }
}

impl Past {
    fn find(&self, tag: Tag) -> Option<&Generation> {
        self.generations.iter().find(|g| g.tag == tag)
    }

    /// Takes over the counts of the generation that `word` was about.
    fn retire(&mut self, word: Word, cause: Cause) {
        if word.open() > 0 {
            self.generations.push(Generation {
                tag: word.tag(),
                epoch: self.epoch,
                cause,
                open: word.open(),
                committing: word.committing(),
                drain: (word.committing() > 0).then(Drain::new),
            });
        }
    }

    fn draining(&self) -> Vec<Arc<Drain>> {
        let drains = self.generations.iter().filter_map(|g| g.drain.as_ref());
        drains.map(Arc::clone).collect()
    }
}

impl Generation {
    /// One commit less; returns the drain if it was the last.
    fn leave(&mut self) -> Option<Arc<Drain>> {
        debug_assert_ne!(
            self.committing, 0,
            "INV-OPERATION-2: left without having entered"
        );
        self.committing = self.committing.saturating_sub(1);
        if self.committing > 0 {
            return None;
        }
        let drain = self.drain.take()?;
        drain.close();
        Some(drain)
    }
}
