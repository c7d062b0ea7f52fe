//! The lock of the shell's shared state: the standard one, or loom's when its models run.

#[cfg(not(monitor_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard};

#[cfg(monitor_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};

use std::sync::PoisonError;

/// Locks, also after a panic: no user code runs under these locks, and every change under them is
/// made in one step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
