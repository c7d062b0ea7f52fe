//! A key at hand: begins and fences without being looked up.

use std::{fmt, hint::black_box, sync::Arc};

use crate::{
    BeginError, Cause, Epoch, Fence, Operation, OperationId,
    id::IdMaker,
    index::{Entered, Index},
    line::{Line, Refusal},
    sync::{AtomicU64, Ordering},
    word::Word,
};

/// A registered key at hand. What [`Operations`](crate::Operations) does after it has looked a key
/// up, this does at once. Cheap to clone.
///
/// It stays the same key's for ever, also when that is forgotten and registered again.
///
/// ```
/// use monitor_operation::{Cause, Epoch, Operations};
///
/// let operations = Operations::new();
/// operations.register("db", Epoch::default())?;
/// let key = operations.key(&"db").ok_or("registered just now")?;
///
/// let operation = key.begin()?;
/// drop(operations.fence(&"db", Cause::Paused));
/// assert!(operation.commit(|| ()).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Key<K>(pub(crate) Arc<Known<K>>);

/// What is known of a key, in one piece of memory. In this order, for what each operation touches to
/// lie together: the line ends with what only fences do.
#[repr(C)]
pub(crate) struct Known<K> {
    pub(crate) key: K,
    /// Which of the keys this is.
    number: u64,
    /// How many ids it has given.
    given: AtomicU64,
    common: Arc<Common<K>>,
    pub(crate) line: Line,
}

/// What all keys of a registry have in common.
pub(crate) struct Common<K> {
    pub(crate) ids: IdMaker,
    pub(crate) index: Option<Index<K>>,
}

impl<K> Known<K> {
    pub(crate) fn new(key: K, epoch: Epoch, number: u64, common: Arc<Common<K>>) -> Self {
        Self {
            key,
            number,
            given: AtomicU64::new(0),
            common,
            line: Line::new(epoch),
        }
    }

    /// The open operations by id, where they are kept.
    pub(crate) fn index(&self) -> Option<&Index<K>> {
        self.common.index.as_ref()
    }

    /// An id that no open operation has: of 2³² keys and 2³² ids of each, no two are alike.
    pub(crate) fn next_id(&self) -> OperationId {
        let given = self.given.fetch_add(1, Ordering::Relaxed);
        let ids = self.common.ids;
        ids.make(self.number << 32 | given & u64::from(u32::MAX))
    }
}

impl<K> Key<K> {
    /// Returns the key.
    #[must_use]
    pub fn get(&self) -> &K {
        &self.0.key
    }

    /// Begins an operation, as [`Operations::begin`](crate::Operations::begin) does.
    ///
    /// Allocates nothing, and takes no lock unless a fence is just being made.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn begin(&self) -> Result<Operation<K>, BeginError> {
        let known = &self.0;
        let (tag, epoch) = known.line.begin().map_err(|refusal| match refusal {
            Refusal::Forgotten => BeginError::UnknownKey,
            Refusal::Full => BeginError::TooManyOpen {
                limit: Word::MAX_OPEN as usize,
            },
        })?;
        let mut operation = Operation::new(Arc::clone(known), tag, epoch);
        if let Some(index) = known.index() {
            let entered = Entered {
                known: Arc::clone(known),
                epoch,
                token: Arc::clone(operation.listening()),
            };
            // On an error the operation is dropped here, and ends.
            operation.set_id(index.enter(known.next_id(), entered)?);
        }
        Ok(operation)
    }

    /// Reads what [`begin`](Key::begin) is going to change, and changes nothing.
    ///
    /// For programs that begin many operations one after the other, of keys that nobody has looked
    /// at for a while: warmed all before, their memory comes at the same time.
    pub fn warm(&self) {
        let known = &self.0;
        black_box((known.line.is_closed(), known.given.load(Ordering::Relaxed)));
    }

    /// Moves the key to its next epoch, as [`Operations::fence`](crate::Operations::fence) does.
    #[expect(
        clippy::must_use_candidate,
        reason = "the fence stands whether looked at or not"
    )]
    pub fn fence(&self, cause: Cause) -> Option<Fence> {
        self.0.line.fence(cause)
    }

    /// Returns the current epoch, or none if the key is forgotten.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.0.line.epoch()
    }

    /// Returns the epoch the key has come to, also if it is forgotten: then the last under which an
    /// operation could begin. Takes no lock, so while a fence is being made it may be the one before.
    #[must_use]
    pub fn last_epoch(&self) -> Epoch {
        self.0.line.last_epoch()
    }

    /// Returns how many operations of the key are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.line.open_count()
    }
}

impl<K> Clone for Key<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: fmt::Debug> fmt::Debug for Key<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("key", &self.0.key)
            .field("epoch", &self.epoch())
            .field("open", &self.open())
            .finish()
    }
}
