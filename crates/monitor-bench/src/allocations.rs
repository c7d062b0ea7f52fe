//! Counts allocations, while somebody asks for it: a run that is timed pays one load for each.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

static COUNTED: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
static WEIGHED: AtomicBool = AtomicBool::new(false);
static BYTES: AtomicI64 = AtomicI64::new(0);

/// Starts to count the allocations of all threads from zero.
pub(crate) fn start() {
    COUNT.store(0, Ordering::SeqCst);
    COUNTED.store(true, Ordering::SeqCst);
}

/// Ends counting, and returns how many there were.
pub(crate) fn stop() -> u64 {
    COUNTED.store(false, Ordering::SeqCst);
    COUNT.load(Ordering::SeqCst)
}

/// Adds up from now on what is allocated less what is given back, or does so no more.
pub(crate) fn weigh(weighs: bool) {
    WEIGHED.store(weighs, Ordering::SeqCst);
}

/// How many bytes of heap came into use while [`weigh`] was on.
pub(crate) fn bytes() -> i64 {
    BYTES.load(Ordering::SeqCst)
}

fn grow(bytes: i64) {
    if WEIGHED.load(Ordering::Relaxed) {
        BYTES.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The system's allocator, with a counter.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn increment() {
    if COUNTED.load(Ordering::Relaxed) {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: each call is passed on unchanged to the system's allocator, which keeps the contract.
// Counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        increment();
        grow(layout.size() as i64);
        // SAFETY: the caller keeps the contract of `alloc`, which is that of the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        grow(-(layout.size() as i64));
        // SAFETY: the pointer comes from `alloc` or `realloc` above, that is, from the system's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        increment();
        grow(size as i64 - layout.size() as i64);
        // SAFETY: the pointer comes from the system's allocator, with this layout.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
