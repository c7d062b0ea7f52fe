//! A coarse clock: a thread keeps the time, a reader loads it.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

static NANOS: AtomicU64 = AtomicU64::new(0);
static STARTED: Once = Once::new();

/// Starts the clock. It ticks each millisecond from then on.
pub(crate) fn start() {
    STARTED.call_once(|| {
        let origin = Instant::now();
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_millis(1));
                let nanos = u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
                NANOS.store(nanos, Ordering::Relaxed);
            }
        });
    });
}

/// The time of the last tick: one load.
#[inline]
pub(crate) fn now() -> Duration {
    Duration::from_nanos(NANOS.load(Ordering::Relaxed))
}
