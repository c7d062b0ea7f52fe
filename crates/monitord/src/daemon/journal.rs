//! What a running daemon tells its log.

use std::sync::Arc;
use std::time::Duration;

use monitor_core::Core;
use monitor_model::{Event, EventKind, Outcome};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::Instant;

/// How long the store may refuse results before that is an error.
const STORE_GRACE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Logs every change of a status, and what else is worth a line.
pub(super) async fn keep(mut events: Receiver<Arc<Event>>) {
    loop {
        match events.recv().await {
            Ok(event) => line(&event.kind),
            Err(RecvError::Lagged(lost)) => {
                tracing::warn!(
                    lost,
                    "too busy to log: events left out here, none lost elsewhere"
                );
            }
            Err(RecvError::Closed) => return,
        }
    }
}

fn line(event: &EventKind) {
    match event {
        EventKind::Committed {
            record,
            changed_from: Some(before),
            ..
        } => {
            let monitor = record.monitor.as_str();
            let from = before.map_or("new", Outcome::as_str);
            let to = record.outcome().as_str();
            match record.fault() {
                Some(fault) => tracing::warn!(monitor, from, to, %fault, "status changed"),
                None => tracing::info!(monitor, from, to, "status changed"),
            }
        }
        EventKind::Fenced { monitor, cause } => {
            let cause = cause.as_str();
            tracing::info!(monitor = monitor.as_str(), cause, "late result refused");
        }
        EventKind::Lifecycle {
            monitor, lifecycle, ..
        } => {
            tracing::info!(monitor = monitor.as_str(), %lifecycle, "lifecycle changed");
        }
        EventKind::Defined { monitor, .. } => {
            tracing::debug!(monitor = monitor.as_str(), "defined");
        }
        EventKind::Deleted { monitor } => {
            tracing::info!(monitor = monitor.as_str(), "deleted");
        }
        EventKind::Pool { pool, change } => {
            let (change, detail) = (change.as_str(), change.detail().unwrap_or_default());
            tracing::info!(pool, change, detail, "pool");
        }
        EventKind::Pressure { source, from, to } => {
            tracing::warn!(source, from, to, "pressure");
        }
        _ => {}
    }
}

/// Logs when the store does not take results for long, and when it does again.
pub(super) async fn watch_store(core: Core) {
    let mut failing_since: Option<Instant> = None;
    let mut told = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match core.store_state() {
            Ok(()) => {
                if told {
                    tracing::info!("the store takes results again; none was lost");
                }
                (failing_since, told) = (None, false);
            }
            Err(error) => {
                let since = *failing_since.get_or_insert_with(Instant::now);
                if !told && since.elapsed() >= STORE_GRACE {
                    let waiting = core.undelivered();
                    let for_s = since.elapsed().as_secs();
                    tracing::error!(%error, for_s, waiting, "the store takes no results");
                    told = true;
                }
            }
        }
    }
}
