//! What a running daemon tells its log.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use monitor_core::Core;
use monitor_core::supervisor::{BoxError, Health, TaskHandle, TaskSpec};
use monitor_model::{Event, EventKind, Outcome};
use tokio::sync::Mutex;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::lasting::{Lasting, Stop};

/// How many looks in a row may find that the store refuses results before that is an error.
const STORE_GRACE: NonZeroU32 = const { NonZeroU32::new(30).unwrap() };
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Logs every change of a status, and what else is worth a line, from now on.
pub(super) fn keep(core: &Core) -> Result<Lasting, BoxError> {
    // There is one who keeps it; should he panic, the next one goes on where he was.
    let journal = Arc::new(Mutex::new(Journal::new(core.subscribe())));
    Lasting::start(core, "journal", move |stop| {
        let journal = Arc::clone(&journal);
        async move { journal.lock().await.keep(stop).await }
    })
}

pub(super) struct Journal {
    events: Receiver<Arc<Event>>,
    /// Up to this one, each event has its line, or was said to have none.
    told: u64,
}

impl Journal {
    pub(super) const fn new(events: Receiver<Arc<Event>>) -> Self {
        Self { events, told: 0 }
    }

    /// Works until it is told to stop, and all that came before is told.
    pub(super) async fn keep(&mut self, mut stop: Stop) {
        loop {
            let event = tokio::select! {
                biased;
                event = self.events.recv() => event,
                () = stop.told() => return,
            };
            match event {
                Ok(event) => self.tell(&event),
                // What is missing is seen from the next one.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn tell(&mut self, event: &Event) {
        let left_out = event.sequence.saturating_sub(self.told.saturating_add(1));
        if left_out > 0 {
            tracing::warn!(
                left_out,
                "events left out here, for the log was too slow or failed; none lost elsewhere"
            );
            self.told = self.told.saturating_add(left_out);
        }
        line(&event.kind);
        self.told = event.sequence;
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
