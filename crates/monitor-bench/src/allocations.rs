//! Counts allocations, for each thread on its own so that counting costs no shared cache line.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// How often the current thread has allocated.
pub(crate) fn count() -> u64 {
    COUNT.get()
}

/// The system's allocator, with a counter.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn increment() {
    // The counter has no destructor, so it can be reached for as long as its thread runs. During
    // the very end of a thread it may be gone, and then nobody measures any more.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: each call is passed on unchanged to the system's allocator, which keeps the contract.
// Counting allocates nothing: the counter is initialised in a constant and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        increment();
        // SAFETY: the caller keeps the contract of `alloc`, which is that of the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer comes from `alloc` or `realloc` above, that is, from the system's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        increment();
        // SAFETY: the pointer comes from the system's allocator, with this layout.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
