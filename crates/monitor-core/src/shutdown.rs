//! The end of a core, in steps under one deadline.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;
use std::time::Duration;

use monitor_model::MonitorId;
use monitor_operation::Cause;
use tokio::time::Instant;

use crate::shared::Shared;

/// What became of the work that was under way at shutdown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Checks that came to their own end.
    pub finished: usize,
    /// Checks that were called off and recorded as cancelled.
    pub cancelled: usize,
    /// Monitors whose check did not stop when told to.
    pub abandoned: Vec<MonitorId>,
    /// Records that the store did not take before the deadline. They are lost.
    pub uncommitted: u64,
    /// What became of each named pool: who still held its connections.
    #[cfg(feature = "pool")]
    pub pools: Vec<(String, monitor_pool::CloseReport)>,
    /// Why the store could not be closed in good order.
    pub store_error: Option<String>,
}

/// A longer grace counts as this one.
const LONGEST_GRACE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

pub(crate) async fn run(shared: &Arc<Shared>, grace: Duration) -> ShutdownReport {
    let grace = grace.min(LONGEST_GRACE);
    let deadline = Instant::now() + grace;
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        left.max(Duration::from_millis(100))
    };
    shared.shutting_down.store(true, Release);
    // Half of the time to finish, a quarter to be called off, the rest to be written.
    let mut ending = pin!(shared.scheduler.shutdown(grace * 3 / 4));
    let (ended, cancelled) = match tokio::time::timeout(grace / 2, &mut ending).await {
        Ok(ended) => (ended, 0),
        Err(_) => {
            let cancelled = call_off(shared);
            (ending.await, cancelled)
        }
    };
    let mut undelivered = shared.undelivered.subscribe();
    let _ = tokio::time::timeout_at(deadline, undelivered.wait_for(|count| *count == 0)).await;
    // After the last check, before the store: half of what is left, so that the store has its own.
    #[cfg(feature = "pool")]
    let pools = shared.pools.close(shared.own_pools(), left() / 2).await;
    shared.tasks.stop_own();
    let uncommitted = *shared.undelivered.borrow();
    shared.is_over.store(true, Release);
    shared.hub.flush(left()).await;
    let closed = tokio::time::timeout(left(), shared.store.close()).await;
    let store_error = match closed {
        Ok(closed) => closed.err().map(|error| error.to_string()),
        Err(_) => Some("store: it did not close before the deadline".to_owned()),
    };
    ShutdownReport {
        finished: ended.finished.saturating_sub(cancelled),
        cancelled,
        abandoned: ended.aborted,
        uncommitted,
        #[cfg(feature = "pool")]
        pools,
        store_error,
    }
}

/// Calls off what still looks. Each of those commits that it was cancelled.
fn call_off(shared: &Shared) -> usize {
    let running: Vec<_> = shared.running().values().cloned().collect();
    for canceller in &running {
        canceller.cancel(Cause::Shutdown);
    }
    running.len()
}
