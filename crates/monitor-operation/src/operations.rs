//! The handle: keys, their epochs, and the operations begun under them.

use std::{fmt, hash::Hash, sync::Arc};

use crate::{
    BeginError, Cause, Epoch, Fence, Key, Operation, OperationId, RegisterError,
    id::IdMaker,
    index::{self, Generator, Index},
    key::{Common, Known},
    sync::{AtomicU64, Ordering},
    table::Table,
    word::Word,
};

/// All keys of a process with their epochs and their open operations.
///
/// Clones are handles to the same thing. Nothing is global: two registries share nothing.
///
/// Locks guard the table of keys. `Hash` and `Eq` of a key run under them and must not call back;
/// nothing else of the caller's does. Commits do not take them, and with a [`Key`] at hand nothing
/// else does.
///
/// # Defaults
///
/// Ids are made here, at most [`DEFAULT_LIMIT`](Operations::DEFAULT_LIMIT) operations of one key
/// are open, and open operations are not kept: an operation costs no memory but its own.
pub struct Operations<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    table: Table<K>,
    /// How many keys have entered the table.
    numbers: AtomicU64,
    common: Arc<Common<K>>,
}

/// What is known of an open operation: a copy, through which nothing can be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record<K> {
    /// The id of the operation.
    pub id: OperationId,
    /// The key it works for.
    pub key: K,
    /// The epoch it began under.
    pub epoch: Epoch,
    /// Why it was cancelled, if it was.
    pub cancelled: Option<Cause>,
}

impl<K> Operations<K> {
    /// How many operations of one key may be open at once: 2²⁰ - 1.
    pub const DEFAULT_LIMIT: usize = Word::MAX_OPEN as usize;

    /// How often a generator is asked for an id before `begin` gives up.
    pub const ID_ATTEMPTS: u32 = index::ATTEMPTS;
}

impl<K: Clone + Eq + Hash> Operations<K> {
    /// Makes an empty registry with ids that no other process has.
    #[must_use]
    pub fn new() -> Self {
        Self::with(IdMaker::from_system(), None)
    }

    /// Makes an empty registry whose ids follow from `seed`: the same ones in every run in which
    /// each key begins as many operations.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Self::with(IdMaker::from_seed(seed), None)
    }

    /// Makes an empty registry that takes its ids from `generator`; zero, and the id of an open
    /// operation, are refused and asked for again. It keeps what is open for [`get`](Self::get).
    ///
    /// `generator` is called under no lock, by several threads at once.
    #[must_use]
    pub fn with_generator(generator: impl Fn() -> u128 + Send + Sync + 'static) -> Self {
        Self::keeping(usize::MAX, Some(Box::new(generator)))
    }

    /// Makes an empty registry in which `limit` operations of all keys together may be open at
    /// once. It keeps what is open for [`get`](Self::get).
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self::keeping(limit, None)
    }

    fn keeping(limit: usize, generator: Option<Generator>) -> Self {
        let index = Index::new(limit, generator);
        Self::with(IdMaker::from_system(), Some(index))
    }

    fn with(ids: IdMaker, index: Option<Index<K>>) -> Self {
        Self {
            shared: Arc::new(Shared {
                table: Table::new(),
                numbers: AtomicU64::new(0),
                common: Arc::new(Common { ids, index }),
            }),
        }
    }

    /// Makes a key known, with the epoch that is stored for it, and returns its epoch.
    ///
    /// The epoch returned is above `epoch` if this registry has already counted further; it is
    /// never lowered, not even after the key was forgotten. A known key whose epoch is raised by
    /// this is fenced as [`Superseded`](Cause::Superseded).
    ///
    /// # Errors
    ///
    /// [`RegisterError::EpochTooLarge`] above [`Epoch::MAX_REGISTERED`]; nothing was changed.
    pub fn register(&self, key: K, epoch: Epoch) -> Result<Epoch, RegisterError> {
        if epoch > Epoch::MAX_REGISTERED {
            return Err(RegisterError::EpochTooLarge { epoch });
        }
        Ok(self.enter(key, epoch).line.register(epoch))
    }

    /// Makes a key known for as long as somebody has it at hand or an operation of it is open, and
    /// returns it. One that is registered as well stays known until it is
    /// [forgotten](Self::forget).
    ///
    /// For keys that come and go with something else, a connection or a schedule: nobody has to
    /// remember to forget them. A key that nobody has any more is found out when room for others is
    /// needed, and until then is known as before.
    ///
    /// ```
    /// use monitor_operation::Operations;
    ///
    /// let operations = Operations::new();
    /// for key in 0..100_000 {
    ///     let key = operations.hold(key);
    ///     key.begin()?.commit(|| ())?;
    /// }
    /// assert!(operations.kept() < 1_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "the key is known for as long as somebody has it"]
    pub fn hold(&self, key: K) -> Key<K> {
        let known = self.enter(key, Epoch::default());
        known.line.open_again();
        Key(known)
    }

    /// Returns a key at hand, or none if it was never registered, or is forgotten and nobody has it.
    /// One that is forgotten and that somebody has begins nothing: its [epoch](Key::epoch) is none.
    #[must_use]
    pub fn key(&self, key: &K) -> Option<Key<K>> {
        self.shared.table.find(key).map(Key)
    }

    /// Finds a key, or enters it in epoch `at_least`.
    fn enter(&self, key: K, at_least: Epoch) -> Arc<Known<K>> {
        let shared = &*self.shared;
        shared.table.find_or_enter(key, |key, floor| {
            let number = shared.numbers.fetch_add(1, Ordering::Relaxed);
            let common = Arc::clone(&shared.common);
            Known::new(key, floor.max(at_least), number, common)
        })
    }

    /// Begins an operation for a key under its current epoch.
    ///
    /// Several operations of one key may be open; that only one runs at a time is the business
    /// of whoever schedules them.
    ///
    /// # Errors
    ///
    /// Nothing was begun, because of
    /// - [`UnknownKey`](BeginError::UnknownKey): register it first;
    /// - [`TooManyOpen`](BeginError::TooManyOpen): the limit is reached;
    /// - [`NoUniqueId`](BeginError::NoUniqueId): the generator gave no usable id in
    ///   [`ID_ATTEMPTS`](Operations::ID_ATTEMPTS) attempts.
    pub fn begin(&self, key: &K) -> Result<Operation<K>, BeginError> {
        let key = self.key(key).ok_or(BeginError::UnknownKey)?;
        key.begin()
    }

    /// Moves a key to its next epoch and returns the fence, or none if the key is not known.
    ///
    /// From the moment this returns, no operation begun before can begin a commit; their tokens
    /// are cancelled with `cause`. Commits that had begun go on: [`Fence::settled`] waits for
    /// them. Does not wait itself, and takes the same time however many operations are open.
    pub fn fence(&self, key: &K, cause: Cause) -> Option<Fence> {
        self.key(key)?.fence(cause)
    }

    /// Fences every key and returns the fences.
    ///
    /// One key after the other: a key registered meanwhile may escape.
    #[expect(
        clippy::must_use_candidate,
        reason = "the fences stand whether looked at or not"
    )]
    pub fn fence_all(&self, cause: Cause) -> Vec<(K, Fence)> {
        let all = self.shared.table.all();
        all.filter_map(|known| {
            let fence = known.line.fence(cause)?;
            Some((known.key.clone(), fence))
        })
        .collect()
    }

    /// Fences a key as [`Deleted`](Cause::Deleted) and forgets it, or returns none if it is not
    /// known.
    ///
    /// No operation can begin for it until it is registered again. A result from before the
    /// deletion can never be taken for one of the key's next life, which begins in a later epoch:
    /// above all that keys were in when they were forgotten. That number is all that is kept, once
    /// nobody has the key at hand and its operations have ended.
    pub fn forget(&self, key: &K) -> Option<Fence> {
        let known = self.shared.table.find(key)?;
        let fence = known.line.forget();
        self.shared.table.give_back(known);
        fence
    }

    /// Returns the current epoch of a key, or none if it is not known.
    #[must_use]
    pub fn epoch(&self, key: &K) -> Option<Epoch> {
        self.shared.table.find(key)?.line.epoch()
    }

    /// Returns a copy of what is known of an open operation, or none if no such one is open.
    ///
    /// Always none unless the registry keeps what is open: one [with a limit](Self::with_limit) or
    /// [with a generator](Self::with_generator) of ids does.
    #[must_use]
    pub fn get(&self, id: OperationId) -> Option<Record<K>> {
        let index = self.shared.common.index.as_ref()?;
        let (known, epoch, cancelled) = index.find(id, |entered| {
            let known = Arc::clone(&entered.known);
            (known, entered.epoch, entered.token.cause())
        })?;
        Some(Record {
            id,
            key: known.key.clone(),
            epoch,
            cancelled,
        })
    }
}

impl<K> Operations<K> {
    /// Returns how many operations are open: a sum over all keys, each as it was when it was
    /// looked at.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared
            .table
            .all()
            .map(|known| known.line.open_count())
            .sum()
    }

    /// Returns for how many keys memory is kept: those that are registered, those that somebody has
    /// at hand or an operation of, and for a while some of those that somebody had.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.shared.table.len()
    }
}

impl<K> Clone for Operations<K> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K: Clone + Eq + Hash> Default for Operations<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> fmt::Debug for Operations<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations")
            .field("keys", &self.kept())
            .field("open", &self.open())
            .finish()
    }
}
