//! The lock of the kernel: the standard one, or loom's when its models run.

#[cfg(monitor_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};
#[cfg(not(monitor_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard};

use std::sync::PoisonError;

/// Locks, also after a panic: the only user code under the lock is `Hash` and `Eq` of a key, and
/// those are called before anything is changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
