//! The one place that chooses between the standard library and its model.

#[cfg(not(monitor_loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering, fence},
};

#[cfg(monitor_loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering, fence},
};

/// Into how many ticks a time window is cut. The models make do with two: each more is three more
/// atomics to look at, and none behaves in another way.
#[cfg(not(monitor_loom))]
pub(crate) const TICKS: usize = 16;
#[cfg(monitor_loom)]
pub(crate) const TICKS: usize = 2;

/// Locks, and recovers from poison: nothing that runs under the lock leaves a half-made change.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Returns a number of the calling thread's own, counted up from 0.
#[cfg(not(monitor_loom))]
pub(crate) fn thread_number() -> usize {
    use std::sync::atomic::AtomicUsize;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    std::thread_local!(static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    // A thread that is being torn down has lost its number; any will do.
    NUMBER.try_with(|number| *number).unwrap_or_default()
}

/// Returns 0: models put all their threads on one shard, where they meet.
#[cfg(monitor_loom)]
pub(crate) fn thread_number() -> usize {
    0
}
