//! What a running daemon tells its log.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use monitor_core::Core;
use monitor_core::supervisor::{BoxError, Health, TaskHandle, TaskSpec};
use monitor_model::{Event, EventKind, Outcome};
use tokio::sync::broadcast::{Receiver, error::RecvError};

/// How many looks in a row may find that the store refuses results before that is an error.
const STORE_GRACE: NonZeroU32 = const { NonZeroU32::new(30).unwrap() };
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
        EventKind::Flapping {
            monitor,
            is_flapping,
            percent,
        } => {
            let (monitor, changes_percent) = (monitor.as_str(), percent);
            match is_flapping {
                true => tracing::warn!(monitor, changes_percent, "flapping"),
                false => tracing::info!(monitor, changes_percent, "not flapping any more"),
            }
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
        EventKind::Pressure {
            source,
            from,
            to,
            detail,
        } => {
            tracing::warn!(source, from, to, detail, "pressure");
        }
        _ => {}
    }
}

/// Looks whether the store takes results. That it does not is told, and is worth an alert when it
/// goes on for long.
pub(super) fn watch_store(core: &Core) -> Result<TaskHandle, BoxError> {
    let spec = TaskSpec::builder("store")
        .interval(LOOK_EVERY)
        .alert_after(STORE_GRACE);
    let of = core.clone();
    let task = core.supervise(spec.build()?, move |_| {
        let failing = of.store_state().err();
        async move { Health::of(failing) }
    })?;
    Ok(task)
}
