//! The kernel of keys: which epoch is current, and which operations are open.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    sync::Arc,
};

use crate::{
    BeginError, Cause, Epoch, Fence, OperationId, cancellation::Token, generation::Generation,
    sync::Ordering,
};

/// What the registry and the owner of an operation both know of it.
pub(crate) struct Body<K> {
    pub(crate) id: OperationId,
    pub(crate) key: Arc<K>,
    pub(crate) token: Arc<Token>,
}

/// The keys with their epochs and the open operations. Sequential; its owner locks it.
///
/// Keys are shared, so that none is cloned or destroyed under the lock.
pub(crate) struct Registry<K> {
    keys: HashMap<Arc<K>, KeyState>,
    /// INV-OPERATION-5: no two open operations have the same id.
    open: HashMap<OperationId, Arc<Body<K>>>,
    limit: usize,
}

struct KeyState {
    /// INV-OPERATION-3: the epoch of a key never goes down and is never used twice, so it stays
    /// here when the key is forgotten.
    epoch: Epoch,
    /// None after the key was forgotten.
    current: Option<Arc<Generation>>,
    /// INV-OPERATION-4: every fenced generation with a commit in progress is in here.
    draining: Vec<Arc<Generation>>,
}

/// Why an id could not be used; the caller tries another or gives up.
pub(crate) enum Refusal {
    IdTaken,
    Begin(BeginError),
}

impl<K: Eq + Hash> Registry<K> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            keys: HashMap::new(),
            open: HashMap::new(),
            limit,
        }
    }

    /// Makes the key known and its epoch at least `epoch`. Returns the epoch, and the generation
    /// that was fenced for it if there was one below.
    pub(crate) fn register(
        &mut self,
        key: &Arc<K>,
        epoch: Epoch,
    ) -> (Epoch, Option<Arc<Generation>>) {
        let Some(state) = self.keys.get_mut(key) else {
            let current = Some(Generation::new(epoch));
            let state = KeyState {
                epoch,
                current,
                draining: Vec::new(),
            };
            self.keys.insert(Arc::clone(key), state);
            return (epoch, None);
        };
        let fenced = state.current.take_if(|current| current.epoch < epoch);
        if let Some(fenced) = &fenced {
            state.retire(fenced, Cause::Superseded);
        }
        state.epoch = state.epoch.max(epoch);
        let epoch = state.epoch;
        state.current.get_or_insert_with(|| Generation::new(epoch));
        (epoch, fenced)
    }

    /// Moves the key to its next epoch. Takes the same time however many operations there are.
    pub(crate) fn fence(&mut self, key: &K, cause: Cause) -> Option<(Fence, Arc<Generation>)> {
        let state = self.keys.get_mut(key)?;
        let old = state.current.take()?;
        let fence = state.advance(&old, cause);
        state.current = Some(Generation::new(state.epoch));
        Some((fence, old))
    }

    /// Like [`fence`](Registry::fence), and forgets the key. Only its epoch stays known.
    pub(crate) fn forget(&mut self, key: &K) -> Option<(Fence, Arc<Generation>)> {
        let state = self.keys.get_mut(key)?;
        let old = state.current.take()?;
        Some((state.advance(&old, Cause::Deleted), old))
    }

    pub(crate) fn begin(&mut self, key: &K, id: OperationId) -> Result<Arc<Body<K>>, Refusal> {
        let known = self.keys.get_key_value(key);
        let Some((key, generation)) =
            known.and_then(|(key, state)| Some((key, state.current.as_ref()?)))
        else {
            return Err(Refusal::Begin(BeginError::UnknownKey));
        };
        if self.open.len() >= self.limit {
            return Err(Refusal::Begin(BeginError::TooManyOpen {
                limit: self.limit,
            }));
        }
        let Entry::Vacant(vacant) = self.open.entry(id) else {
            return Err(Refusal::IdTaken);
        };
        generation.open.fetch_add(1, Ordering::Relaxed);
        let token = Token::new(Arc::clone(generation));
        let body = Arc::new(Body {
            id,
            key: Arc::clone(key),
            token,
        });
        vacant.insert(Arc::clone(&body));
        Ok(body)
    }

    pub(crate) fn epoch(&self, key: &K) -> Option<Epoch> {
        let state = self.keys.get(key)?;
        state.current.as_ref().map(|generation| generation.epoch)
    }
}

impl<K> Registry<K> {
    /// Ends an operation. Returns what the registry held of it, to be dropped outside the lock.
    pub(crate) fn end(&mut self, id: OperationId) -> Option<Arc<Body<K>>> {
        let body = self.open.remove(&id)?;
        body.token.generation.open.fetch_sub(1, Ordering::Relaxed);
        Some(body)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Arc<K>> {
        self.keys
            .iter()
            .filter(|(_, state)| state.current.is_some())
            .map(|(key, _)| key)
    }

    pub(crate) fn open(&self) -> &HashMap<OperationId, Arc<Body<K>>> {
        &self.open
    }
}

impl KeyState {
    /// Fences `old` and counts the epoch up.
    fn advance(&mut self, old: &Arc<Generation>, cause: Cause) -> Fence {
        self.retire(old, cause);
        self.epoch = self.epoch.next();
        Fence {
            epoch: self.epoch,
            cause,
            open: old.open(),
            draining: self.draining.clone(),
        }
    }

    /// Fences `old`, and keeps it for as long as a commit of it is under way.
    fn retire(&mut self, old: &Arc<Generation>, cause: Cause) {
        old.gate.fence(cause);
        self.draining.push(Arc::clone(old));
        self.draining
            .retain(|generation| !generation.gate.is_quiet());
    }
}
