//! The lock of the kernel: the standard one, or loom's when its models run.

#[cfg(monitor_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};
#[cfg(not(monitor_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard};

use std::sync::PoisonError;

/// Locks, also after a panic: nothing that may panic runs between two changes under this lock.
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    #[cfg(test)]
    LOCKS.with(|locks| locks.set(locks.get() + 1));
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
std::thread_local! {
    /// How often this thread has locked: the tests of the hot path count it.
    pub(crate) static LOCKS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}
