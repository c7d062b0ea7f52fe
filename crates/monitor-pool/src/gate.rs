//! The lock of a pool, in a place of its own that outlives the pool.
//!
//! A connection that is out needs a way back to the lock. A counted reference would have to be
//! counted up and down for each hand-out, which costs as much as one of its two lockings. And a
//! reference that travels with the connection cannot be put behind the very lock that is reached
//! through it. So the lock itself, a few words, is never freed: whoever has a connection has a
//! plain reference to it. All that is behind the lock is freed with the pool.

use std::ops::{Deref, DerefMut};

use crate::{
    Manager,
    shared::Core,
    sync::{Mutex, MutexGuard, lock},
};

pub(crate) struct Gate<M: Manager> {
    /// INV-POOL-8: there as long as `Shared` is, and nobody comes here without holding that, by
    /// itself or in a connection.
    core: Mutex<Option<Box<Core<M>>>>,
}

/// The core, locked.
pub(crate) struct Locked<M: Manager>(MutexGuard<'static, Option<Box<Core<M>>>>);

const THERE: &str = "whoever locks holds the shared part, which keeps the core (INV-POOL-8)";

impl<M: Manager> Gate<M> {
    pub(crate) fn new(core: Core<M>) -> &'static Self {
        Box::leak(Box::new(Self {
            core: Mutex::new(Some(Box::new(core))),
        }))
    }

    #[inline]
    pub(crate) fn lock(&'static self) -> Locked<M> {
        Locked(lock(&self.core))
    }

    /// Takes out all that is behind the lock, to be dropped.
    pub(crate) fn clear(&self) -> Option<Box<Core<M>>> {
        lock(&self.core).take()
    }
}

impl<M: Manager> Deref for Locked<M> {
    type Target = Core<M>;

    #[inline]
    fn deref(&self) -> &Core<M> {
        self.0.as_deref().expect(THERE)
    }
}

impl<M: Manager> DerefMut for Locked<M> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Core<M> {
        self.0.as_deref_mut().expect(THERE)
    }
}
