//! What the steady state costs, in numbers that do not depend on the machine: no allocation, and
//! an equal share for everybody.
#![allow(clippy::unwrap_used, reason = "helpers outside of #[test] functions")]
#![allow(
    unsafe_code,
    reason = "an allocator that counts is unsafe to implement"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use monitor_pool::{Manager, Pool};
use tokio::sync::Barrier;

struct Counting;

thread_local! {
    /// Of this thread: the test's runtime has only this one, and others are nobody's business.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: each call is passed on unchanged to the system's allocator, which keeps the contract;
// counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // At the very end of a thread it may be gone, and nobody counts any more.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer comes from `alloc` above, that is, from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

struct Units;

impl Manager for Units {
    type Connection = ();
    type Error = Infallible;

    async fn connect(&self) -> Result<(), Infallible> {
        Ok(())
    }
}

fn allocations() -> u64 {
    ALLOCATIONS.get()
}

/// STB-36, STB-37: neither an idle hit nor a hand-over to one of many waiters allocates, and who
/// waits is served in turn.
#[test]
fn no_allocation_and_equal_shares() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let pool = Pool::builder(Units).max_size(4).build().unwrap();
        for _ in 0..10 {
            drop(pool.acquire().await.unwrap());
        }
        let before = allocations();
        for _ in 0..10_000 {
            drop(pool.acquire().await.unwrap());
        }
        assert_eq!(allocations() - before, 0, "an idle hit allocates");
        queued(&pool).await;
    });
}

async fn queued(pool: &Pool<Units>) {
    const TASKS: usize = 64;
    const ROUNDS: usize = 200;
    let (start, end) = (
        Arc::new(Barrier::new(TASKS + 1)),
        Arc::new(Barrier::new(TASKS + 1)),
    );
    let served: Arc<Vec<_>> = Arc::new((0..TASKS).map(|_| AtomicUsize::new(0)).collect());
    let total = Arc::new(AtomicUsize::new(0));
    for task in 0..TASKS {
        let (pool, start, end) = (pool.clone(), Arc::clone(&start), Arc::clone(&end));
        let (served, total) = (Arc::clone(&served), Arc::clone(&total));
        tokio::spawn(async move {
            // Once to warm up: the queue, the timer and the connections are there then.
            for _ in 0..10 {
                let object = pool.acquire().await.unwrap();
                tokio::task::yield_now().await;
                drop(object);
            }
            start.wait().await;
            while total.fetch_add(1, Ordering::Relaxed) < TASKS * ROUNDS {
                let object = pool.acquire().await.unwrap();
                tokio::task::yield_now().await;
                drop(object);
                served[task].fetch_add(1, Ordering::Relaxed);
            }
            end.wait().await;
        });
    }
    start.wait().await;
    let before = allocations();
    end.wait().await;
    let allocated = allocations() - before;
    let counts: Vec<_> = served
        .iter()
        .map(|count| count.load(Ordering::Relaxed))
        .collect();
    let (least, most) = (*counts.iter().min().unwrap(), *counts.iter().max().unwrap());
    assert!(most * 100 <= least * 105, "fairness: {most} / {least}");
    assert_eq!(
        allocated,
        0,
        "a hand-over allocates, of {} in all",
        TASKS * ROUNDS
    );
    assert!(pool.status().totals.acquired_after_wait > (TASKS * ROUNDS / 2) as u64);
}
