//! The open operations by id: kept for those who look them up, bring ids of their own or want a
//! limit on all of them together.

use std::collections::{HashMap, hash_map::Entry};
use std::sync::Arc;

use crate::{
    BeginError, Epoch, OperationId,
    cancellation::Token,
    key::Known,
    sync::{Mutex, lock},
};

pub(crate) type Generator = Box<dyn Fn() -> u128 + Send + Sync>;

/// How often a generator is asked for an id before nothing is begun.
pub(crate) const ATTEMPTS: u32 = 5;

/// The open operations by id.
pub(crate) struct Index<K> {
    /// INV-OPERATION-5: no two open operations have the same id.
    open: Mutex<HashMap<OperationId, Entered<K>>>,
    limit: usize,
    generator: Option<Generator>,
}

/// What the index knows of an open operation.
pub(crate) struct Entered<K> {
    pub(crate) known: Arc<Known<K>>,
    pub(crate) epoch: Epoch,
    pub(crate) token: Arc<Token>,
}

impl<K> Index<K> {
    pub(crate) fn new(limit: usize, generator: Option<Generator>) -> Self {
        Self {
            open: Mutex::new(HashMap::new()),
            limit,
            generator,
        }
    }

    /// Enters an operation under an id of the generator, or under `made` where there is none.
    pub(crate) fn enter(
        &self,
        made: OperationId,
        entered: Entered<K>,
    ) -> Result<OperationId, BeginError> {
        for _ in 0..ATTEMPTS {
            // The generator is the caller's: asked before the lock is taken.
            let id = match &self.generator {
                Some(generate) => OperationId::new(generate()),
                None => Some(made),
            };
            let Some(id) = id else { continue };
            let mut open = lock(&self.open);
            if open.len() >= self.limit {
                return Err(BeginError::TooManyOpen { limit: self.limit });
            }
            if let Entry::Vacant(vacant) = open.entry(id) {
                vacant.insert(entered);
                return Ok(id);
            }
        }
        Err(BeginError::NoUniqueId { attempts: ATTEMPTS })
    }

    pub(crate) fn leave(&self, id: OperationId) {
        let left = lock(&self.open).remove(&id);
        drop(left); // after the lock: the key may have a destructor
    }

    pub(crate) fn find<R>(
        &self,
        id: OperationId,
        found: impl FnOnce(&Entered<K>) -> R,
    ) -> Option<R> {
        lock(&self.open).get(&id).map(found)
    }
}
