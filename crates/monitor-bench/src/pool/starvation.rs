//! One task that always wants the only connection again, and one that waits for it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::{Guard, Pool, filled};

/// How long the connection is held.
const HOLD: Duration = Duration::from_millis(2);

/// After so many holds the waiter counts as starved.
const MOST: usize = 50;

/// How often the connection was held, and released, by the one task while the other waited.
pub(super) async fn holds<P: Pool>() -> usize {
    let pool: &'static P = filled(1).await;
    let waiting = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicBool::new(false));
    let (held, first_hold) = oneshot::channel();
    let looping = tokio::spawn({
        let (waiting, served) = (Arc::clone(&waiting), Arc::clone(&served));
        async move {
            let (mut held, mut holds) = (Some(held), 0);
            while holds < MOST && !served.load(Ordering::SeqCst) {
                let guard = pool.acquire().await;
                if let Some(held) = held.take() {
                    let _ = held.send(());
                }
                tokio::time::sleep(HOLD).await;
                let counts = waiting.load(Ordering::SeqCst) && !served.load(Ordering::SeqCst);
                guard.release().await;
                holds += usize::from(counts);
            }
            holds
        }
    });
    let waiter = tokio::spawn(async move {
        let _ = first_hold.await;
        let mut acquire = pin!(pool.acquire());
        let guard = poll_fn(|context| {
            let polled = acquire.as_mut().poll(context);
            // It is in the queue only now that it was polled.
            waiting.store(true, Ordering::SeqCst);
            polled
        })
        .await;
        served.store(true, Ordering::SeqCst);
        yield_now().await;
        guard.release().await;
    });
    let holds = looping.await.unwrap_or(MOST);
    waiter.abort();
    holds
}
