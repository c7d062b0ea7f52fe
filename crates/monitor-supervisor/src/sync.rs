//! The lock of the kernels: the standard one, or loom's when its models run.

#[cfg(monitor_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};
#[cfg(not(monitor_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard};

use std::sync::PoisonError;

/// Locks, also after a panic: no user code runs under these locks, and no kernel panics between
/// two changes that belong together.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
