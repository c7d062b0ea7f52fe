//! The handle: keys, their epochs, and the operations begun under them.

use std::{fmt, hash::Hash, sync::Arc};

use crate::{
    BeginError, Cause, Epoch, Fence, Operation, OperationId, RegisterError,
    generation::Generation,
    id::IdSource,
    registry::{Refusal, Registry},
    sync::{Mutex, lock},
};

/// All keys of a process with their epochs and their open operations.
///
/// Clones are handles to the same thing. Nothing is global: two registries share nothing.
///
/// One lock guards the keys. `Hash` and `Eq` of a key run under it and must not call back;
/// nothing else of the caller's does. Commits do not take it.
///
/// # Defaults
///
/// Ids are random and at most [`DEFAULT_LIMIT`](Operations::DEFAULT_LIMIT) operations are open.
pub struct Operations<K> {
    shared: Arc<Shared<K>>,
}

pub(crate) struct Shared<K> {
    pub(crate) registry: Mutex<Registry<K>>,
    ids: IdSource,
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
    /// How many operations may be open at once, unless set otherwise: 2²⁰.
    pub const DEFAULT_LIMIT: usize = 1 << 20;

    /// How often the generator is asked for an id before `begin` gives up.
    pub const ID_ATTEMPTS: u32 = 5;
}

impl<K: Clone + Eq + Hash> Operations<K> {
    /// Makes an empty registry with random ids.
    #[must_use]
    pub fn new() -> Self {
        Self::with(IdSource::from_system(), Self::DEFAULT_LIMIT)
    }

    /// Makes an empty registry whose ids follow from `seed`: the same ones in every run.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Self::with(IdSource::from_seed(seed), Self::DEFAULT_LIMIT)
    }

    /// Makes an empty registry that takes its ids from `generator`; zero, and the id of an open
    /// operation, are refused and asked for again.
    ///
    /// `generator` is called under no lock, by several threads at once.
    #[must_use]
    pub fn with_generator(generator: impl Fn() -> u128 + Send + Sync + 'static) -> Self {
        Self::with(IdSource::Given(Box::new(generator)), Self::DEFAULT_LIMIT)
    }

    /// Makes an empty registry with random ids in which `limit` operations may be open at once,
    /// at most `u32::MAX`.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self::with(IdSource::from_system(), limit)
    }

    fn with(ids: IdSource, limit: usize) -> Self {
        let limit = limit.min(u32::MAX as usize);
        Self {
            shared: Arc::new(Shared {
                registry: Mutex::new(Registry::new(limit)),
                ids,
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
        let key = Arc::new(key);
        let (epoch, fenced) = lock(&self.shared.registry).register(&key, epoch);
        ring(fenced.as_deref());
        Ok(epoch)
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
        for _ in 0..Self::ID_ATTEMPTS {
            let Some(id) = OperationId::new(self.shared.ids.next()) else {
                continue;
            };
            let begun = lock(&self.shared.registry).begin(key, id);
            match begun {
                Ok(body) => return Ok(Operation::new(Arc::clone(&self.shared), body)),
                Err(Refusal::IdTaken) => {}
                Err(Refusal::Begin(error)) => return Err(error),
            }
        }
        Err(BeginError::NoUniqueId {
            attempts: Self::ID_ATTEMPTS,
        })
    }

    /// Moves a key to its next epoch and returns the fence, or none if the key is not known.
    ///
    /// From the moment this returns, no operation begun before can begin a commit; their tokens
    /// are cancelled with `cause`. Commits that had begun go on: [`Fence::settled`] waits for
    /// them. Does not wait itself, and takes the same time however many operations are open.
    pub fn fence(&self, key: &K, cause: Cause) -> Option<Fence> {
        let (fence, old) = lock(&self.shared.registry).fence(key, cause)?;
        ring(Some(&old));
        Some(fence)
    }

    /// Fences every key and returns the fences.
    ///
    /// One key after the other: a key registered meanwhile may escape.
    #[expect(
        clippy::must_use_candidate,
        reason = "the fences stand whether looked at or not"
    )]
    pub fn fence_all(&self, cause: Cause) -> Vec<(K, Fence)> {
        let keys: Vec<Arc<K>> = lock(&self.shared.registry).keys().cloned().collect();
        keys.into_iter()
            .filter_map(|key| {
                let fence = self.fence(&key, cause)?;
                Some((K::clone(&key), fence))
            })
            .collect()
    }

    /// Fences a key as [`Deleted`](Cause::Deleted) and forgets it, or returns none if it is not
    /// known.
    ///
    /// No operation can begin for it until it is registered again. Its epoch is kept, a few
    /// words per key, and goes on from there: a result from before the deletion can never be
    /// taken for one of the key's next life.
    pub fn forget(&self, key: &K) -> Option<Fence> {
        let (fence, old) = lock(&self.shared.registry).forget(key)?;
        ring(Some(&old));
        Some(fence)
    }

    /// Returns the current epoch of a key, or none if it is not known.
    #[must_use]
    pub fn epoch(&self, key: &K) -> Option<Epoch> {
        lock(&self.shared.registry).epoch(key)
    }

    /// Returns how many operations are open.
    #[must_use]
    pub fn open(&self) -> usize {
        lock(&self.shared.registry).open().len()
    }

    /// Returns a copy of what is known of an open operation, or none if no such one is open.
    #[must_use]
    pub fn get(&self, id: OperationId) -> Option<Record<K>> {
        let body = lock(&self.shared.registry).open().get(&id).cloned()?;
        Some(Record {
            id: body.id,
            key: K::clone(&body.key),
            epoch: body.token.epoch(),
            cancelled: body.token.cause(),
        })
    }
}

/// Wakes whoever waits for a change of the generation. Never under the lock: a waker is not ours.
fn ring(generation: Option<&Generation>) {
    if let Some(generation) = generation {
        generation.changed.notify_waiters();
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
        let registry = lock(&self.shared.registry);
        f.debug_struct("Operations")
            .field("keys", &registry.keys().count())
            .field("open", &registry.open().len())
            .finish()
    }
}
