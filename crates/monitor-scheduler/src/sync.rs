//! The locks of the kernel and of the driver: the standard ones, or loom's when its models run.

#[cfg(monitor_loom)]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(monitor_loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

use std::{sync::PoisonError, time::Duration};

/// Locks, also after a panic: the only user code under the lock is `Hash` and `Eq` of a key, and
/// those are called before anything is changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until it is called, or for no reason.
pub(crate) fn wait<'a, T>(called: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    called.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// The same, for so long at most.
pub(crate) fn wait_for<'a, T>(
    called: &Condvar,
    guard: MutexGuard<'a, T>,
    long: Duration,
) -> MutexGuard<'a, T> {
    let waited = called.wait_timeout(guard, long);
    waited.unwrap_or_else(PoisonError::into_inner).0
}
